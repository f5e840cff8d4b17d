"""The program: from the flags to `web.run_app`, and the exit status."""

import argparse
import asyncio
import gc
import io
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from functools import partial

from aiohttp import web

from .. import create_app
from ..live.hub import HUB, Hub
from ..pg.database import DATABASE
from ..pg.errors import Unavailable
from ..pg.schema import sql_file
from ..web.security import LOOPBACK, bearer
from . import addresses, embedded, tls
from .flags import parser
from .logs import AccessLog, is_no_client_error

ACCEPT_BATCH = 2  # connections accepted per loop iteration, so that a reconnecting crowd does not block other clients
KEEPALIVE = 20.0  # seconds for an idle connection, and for the headers of a request
TELL_EVERY = 3.0  # seconds
RESERVED_FILES = 256  # open files that are not client sockets

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Run the service until SIGTERM or Ctrl+C. Return the exit status: 2 for errors that the user can correct."""
    args = parser().parse_args(argv)
    if args.command == "schema":
        print(sql_file("schema.sql"), end="")
        return 0
    if args.command == "reset":
        name = args.base.replace("'", "''")
        print(f"BEGIN;\nSET LOCAL inventory_ws.reset = '{name}';")
        print(sql_file("reset.sql"), sql_file("demo.sql"), "COMMIT;", sep="\n")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("aiohttp.server", "asyncio"):
        logging.getLogger(name).addFilter(is_no_client_error)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until run_app installs its handlers
    try:
        if args.token == "":  # an unset variable in a script
            raise ValueError("--token está vacío: sin clave, cualquiera puede cambiar el inventario")
        if args.open_reads and not args.token:
            raise ValueError("--open-reads necesita --token: sin clave, cualquiera puede cambiar el inventario")
        if args.tls_key and not args.tls_cert:
            raise ValueError("--tls-key necesita --tls-cert")
        context = tls.context(args.tls_cert, args.tls_key) if args.tls_cert else None
        with ExitStack() as stack:
            sock = stack.enter_context(addresses.listen(args.host, args.port))
            if not (dsn := args.database_url):
                for name in [name for name in os.environ if name.startswith("PG")]:
                    del os.environ[name]  # libpq would use them, but they belong to another PostgreSQL
                dsn = stack.enter_context(embedded.postgres(args.data_dir))
            _serve(args, dsn, sock, context)
    except Unavailable as exc:
        problem = f"PostgreSQL no responde ({exc}); véase --database-url (DATABASE_URL)"
    except (embedded.EmbeddedError, OSError, ValueError) as exc:
        problem = str(exc)
    except KeyboardInterrupt:
        return 130
    else:
        return 0
    print("inventory-ws:", *problem.split(), file=sys.stderr)
    return 2


def _socket_limit(sockets: int) -> int:
    """Return how many of `sockets` fit into the limit of open files, after raising the limit if possible."""
    try:
        import resource
    except ImportError:  # Windows, whose select() takes 512 sockets
        return min(sockets, 512 - RESERVED_FILES)
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
        logger.info("the limit of open files (ulimit -n) is %d: room for %d sockets", soft, sockets)
    return sockets


def _serve(args: argparse.Namespace, dsn: str, sock: socket.socket, context: ssl.SSLContext | None) -> None:
    app = create_app(
        dsn=dsn,
        hosts=LOOPBACK | args.hosts | {args.host} | addresses.names(sock),
        origins=args.origins,
        authenticate=bearer(args.token, open_reads=args.open_reads) if args.token else None,
        max_sockets=_socket_limit(args.max_sockets),
        compress=args.compress,
        title=args.title,
        currency=args.currency,
        keep_days=args.keep_days,
        keep_events=args.keep_events,
        pool_size=args.pool_size,
        statement_timeout=args.statement_timeout,
        ping_every=args.ping_every,
    )
    if args.demo:
        app.cleanup_ctx.insert(1, _demo)  # after the database and before the feed
    if sys.stderr and sys.stderr.isatty():
        app[HUB].work.append(partial(_tell_sockets, app[HUB]))
    if context:
        tls.renew_on_sighup(app, context, args.tls_cert, args.tls_key)
    welcome = addresses.welcome(args.host, sock, args.token, args.hosts if context else None)
    welcome += "" if args.database_url else f"Datos:  {args.data_dir}\nBase:   {dsn}\n"

    def started(_: str) -> None:
        _tune()
        sock.listen(addresses.QUEUE)  # asyncio has set the length of this queue to ACCEPT_BATCH
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # for terminals without these characters
        with suppress(OSError):  # a closed pipe or a full disk
            print(f"{welcome}Para parar: Ctrl+C", flush=True)

    async def shut_down(_: web.Application) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one would make aiohttp break off
            asyncio.get_running_loop().add_signal_handler(number, lambda: None)

    app.on_shutdown.insert(0, shut_down)
    try:
        web.run_app(
            app,
            sock=sock,
            ssl_context=context,
            print=started,
            backlog=ACCEPT_BATCH,
            access_log_class=AccessLog,
            loop=_Loop(),
            keepalive_timeout=KEEPALIVE,
            shutdown_timeout=5,
        )
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # the database is already stopping


class _Loop(asyncio.SelectorEventLoop):
    """The loop that aiopg needs, on Windows too. There, too, a signal calls back, and interrupts nothing halfway."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        signal.signal(sig, lambda *_: self.call_soon_threadsafe(callback, *args))


def _tune() -> None:
    # The event loop waits so long, by default 5 ms, and many times a request, for a thread that reads a file.
    sys.setswitchinterval(0.0005)
    gc.freeze()  # the objects of the start-up stay
    # A full collection walks all open sockets, 0.3 s for 10,000, so it must be rare. Little is left to it: see _release() in
    # web/websocket.py.
    gc.set_threshold(10_000)


async def _tell_sockets(hub: Hub) -> None:
    told = 0
    while True:
        await asyncio.sleep(TELL_EVERY)
        if (now := len(hub.sockets)) != told:
            logger.info("open sockets: %d", told := now)


async def _demo(app: web.Application) -> AsyncIterator[None]:
    await app[DATABASE].fetch(sql_file("demo.sql"))
    yield
