"""TLS: the certificate of the service, and a renewed one without a restart."""

import asyncio
import logging
import signal
import ssl
import sys

from aiohttp import web

logger = logging.getLogger(__name__)


def context(cert: str, key: str | None) -> ssl.SSLContext:
    """Return a context with the certificate and its key, which may be in one file. Raise ValueError."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(cert, key, password="")  # an encrypted key is an error, and no question on the terminal
    except (OSError, ValueError) as exc:
        files = " ".join(filter(None, (cert, key)))
        raise ValueError(f"no se puede usar el certificado {files} (--tls-cert, --tls-key): {exc}") from None
    return made


def renew_on_sighup(app: web.Application, current: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Read the files again on SIGHUP: new connections get the renewed certificate, and open ones go on."""
    terminal = bool(sys.stdin and sys.stdin.isatty())

    def renew() -> None:
        if terminal and not sys.stdin.isatty():  # its window was closed
            return signal.raise_signal(signal.SIGTERM)
        try:
            context(cert, key)  # files that do not fit together must not get into the current context
            current.load_cert_chain(cert, key)
        except ValueError as exc:
            logger.error("the certificate stays as it was: %s", exc)
        else:
            logger.info("the certificate was read again")

    async def listen(_: web.Application) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, renew)

    if hasattr(signal, "SIGHUP"):  # not on Windows
        app.on_startup.append(listen)
