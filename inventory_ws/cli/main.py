"""The command line: flags and environment, then `web.run_app`."""

import argparse
import asyncio
import gc
import io
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from .. import __version__, create_app
from ..pg.database import DATABASE
from ..pg.errors import Unavailable
from ..pg.files import sql_file
from ..web.security import LOOPBACK, bearer
from . import addresses, embedded

ACCEPT_BATCH = 2  # connections accepted per loop iteration, so that a reconnecting crowd does not block other clients
KEEPALIVE = 20.0  # seconds for an idle connection, and for the headers of a request
GC_INTERVAL = (
    60.0  # seconds between full collections; automatic ones are rare (_serve), but closed connections leave cycles
)
RESERVED_FILES = 256  # open files that are not client sockets

log = logging.getLogger(__name__)


class AccessLog(AbstractAccessLogger):
    """Writes one line per request to stderr; that of a socket when it closes. The query string is left out, as it may be private.

    It bypasses `logging`, whose records took a fifth of the time of a GET.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time_taken: float) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        path = request.rel_url.raw_path or "-"
        line = f"{now} {request.remote} {request.method} {path} {response.status} {time_taken * 1000:.1f} ms"
        if not (line.isascii() and line.isprintable()):  # control characters could send commands to a terminal
            line = ascii(line)[1:-1]
        with suppress(OSError, AttributeError):  # a full disk, a closed pipe, or no stderr
            sys.stderr.write(f"{line}\n")


class ClientErrorFilter(logging.Filter):
    """Drops aiohttp's tracebacks of client errors; the access log has a line for each."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        return not isinstance(exc, HttpProcessingError | web.RequestPayloadError)


def _words(text: str) -> frozenset[str]:
    return frozenset(filter(None, map(str.strip, text.split(","))))


def _number(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text}: no puede ser menor que 0")
    return number


def _days(text: str) -> float:
    if not 0 <= (days := float(text)) < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: no es un número de días")
    return days


def parser() -> argparse.ArgumentParser:
    """The flags. Each has an environment variable, except --demo; the flag wins."""

    def flag(name: str, text: str, default: object = None, variable: str = "", **options: Any) -> None:
        variable = variable or f"INVENTORY_WS_{name.upper().replace('-', '_')}"
        # An empty variable counts as unset; an empty HOST would mean all interfaces.
        value = os.environ.get(variable) or default
        if "action" in options:
            value = value not in (False, "0", "no", "false")
        flags.add_argument(f"--{name}", default=value, help=f"{text} ({variable})", **options)

    flags = argparse.ArgumentParser("inventory-ws", description="Un inventario cuyos cambios llegan a toda pantalla.")
    flags.add_argument("command", nargs="?", choices=["schema"], help="schema: escribe el esquema SQL y termina")
    flag("host", "dirección en la que escucha, %(default)s; 0.0.0.0: todas, para otras máquinas", "127.0.0.1", "HOST")
    flag("port", "puerto, %(default)s", "3000", "PORT", type=int)
    url = "PostgreSQL, como postgresql://usuario@servidor/base; sin ella, el PostgreSQL incluido"
    flag("database-url", url, variable="DATABASE_URL")
    data = embedded.default_data_dir()
    flag("data-dir", "carpeta del PostgreSQL incluido, %(default)s", data, "INVENTORY_WS_DATA", type=Path)
    flag("origins", "páginas de otros sitios, separadas por comas; null: las de un archivo", "", type=_words)
    flag("hosts", "otros nombres por los que se le llama, o redes como 10.0.0.0/8, con comas", "", type=_words)
    flag("max-sockets", "clientes conectados a la vez, %(default)s", "10000", type=_number)
    flag("token", "clave que se pide a los clientes")
    flag("compress", "permessage-deflate: menos bytes, algo más de trabajo", False, action="store_true")
    flag("keep-days", "borra del registro los eventos de más días; sin él, ninguno", type=_days)
    flag("keep-events", "borra del registro los eventos que pasen de tantos; sin él, ninguno", type=_number)
    flag("title", "título de la página; sin él, Inventario")
    flag("currency", "moneda de los precios, como EUR; sin ella, $")
    flags.add_argument("--demo", action="store_true", help="pone un catálogo de muestra si el inventario está vacío")
    flags.add_argument("--version", action="version", version=__version__)
    return flags


def main(argv: list[str] | None = None) -> int:
    """Run the service until SIGTERM or Ctrl+C. Returns the exit status: 2 for errors that the user can correct."""
    args = parser().parse_args(argv)
    if args.command == "schema":
        print(sql_file("schema.sql"), end="")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("aiohttp.server", "asyncio"):
        logging.getLogger(name).addFilter(ClientErrorFilter())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until run_app installs its handlers
    try:
        with ExitStack() as stack:
            sock = stack.enter_context(addresses.listen(args.host, args.port))
            if not (dsn := args.database_url):
                for name in [name for name in os.environ if name.startswith("PG")]:
                    del os.environ[name]  # libpq would use them, but they belong to another PostgreSQL
                dsn = stack.enter_context(embedded.postgres(args.data_dir))
            _serve(args, dsn, sock)
    except Unavailable as exc:
        _complain(f"PostgreSQL no responde ({exc}); véase --database-url (DATABASE_URL)")
    except (embedded.EmbeddedError, OSError, ValueError) as exc:
        _complain(str(exc))
    except KeyboardInterrupt:
        return 130
    else:
        return 0
    return 2


def _socket_limit(sockets: int) -> int:
    """Return how many of `sockets` fit into the limit of open files, after raising the limit if possible."""
    files, (soft, hard) = sockets + RESERVED_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:  # which is -1 on Linux
        return sockets
    if soft < files:
        more = files if hard == resource.RLIM_INFINITY else min(files, hard)
        with suppress(OSError, ValueError, OverflowError):  # macOS and containers may allow less than the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    if soft < files:
        sockets = min(sockets, soft - min(RESERVED_FILES, soft // 2))
        log.info("the limit of open files (ulimit -n) is %d: room for %d sockets", soft, sockets)
    return sockets


def _serve(args: argparse.Namespace, dsn: str, sock: socket.socket) -> None:
    app = create_app(
        dsn=dsn,
        hosts=LOOPBACK | args.hosts | {args.host} | addresses.names(sock),
        origins=args.origins,
        authenticate=bearer(args.token) if args.token else None,
        max_sockets=_socket_limit(args.max_sockets),
        compress=args.compress,
        title=args.title,
        currency=args.currency,
        keep_days=args.keep_days,
        keep_events=args.keep_events,
    )
    if args.demo:
        app.cleanup_ctx.insert(1, _demo)  # after the database and before the feed
    welcome = addresses.welcome(args.host, sock, args.token)
    welcome += "" if args.database_url else f"Datos:  {args.data_dir}\nBase:   {dsn}\n"

    def started(_: str) -> None:
        _tune_gc()
        sock.listen(addresses.QUEUE)  # asyncio has set the length of this queue to ACCEPT_BATCH
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # for terminals without these characters
        with suppress(OSError):  # a closed pipe or a full disk
            print(f"{welcome}Para parar: Ctrl+C", flush=True)

    try:
        web.run_app(
            app,
            sock=sock,
            print=started,
            backlog=ACCEPT_BATCH,
            access_log_class=AccessLog,
            keepalive_timeout=KEEPALIVE,
            shutdown_timeout=5,
        )
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # the database is already stopping


def _tune_gc() -> None:
    gc.freeze()  # the objects of the start-up stay; a full collection over thousands of sockets would pause the service
    gc.set_threshold(10_000, 100, 100)
    asyncio.get_running_loop().call_later(GC_INTERVAL, _collect)


def _collect() -> None:
    gc.collect()
    asyncio.get_running_loop().call_later(GC_INTERVAL, _collect)


async def _demo(app: web.Application) -> AsyncIterator[None]:
    await app[DATABASE].fetch(sql_file("demo.sql"))
    yield


def _complain(text: str) -> None:
    print("inventory-ws:", *text.split(), file=sys.stderr)
