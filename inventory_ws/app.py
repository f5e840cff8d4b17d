"""The application factory: creates and connects all parts of the service, and has the table of routes."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from weakref import WeakSet

from aiohttp import web

from .live import eventlog, sockets
from .live.feed import FEED, Feed
from .live.sockets import COMPRESS, HANDSHAKE, MAX_SOCKETS, SOCKETS
from .live.stream import LOG_BEGAN_ANEW
from .pg.database import DATABASE, Database, HostPool, end
from .pg.files import data_folder
from .pg.schema import migrated_database
from .products.listing import LIST_CACHE
from .web import handlers, page
from .web.errors import expectation
from .web.page import PAGE
from .web.reading import MAX_BODY
from .web.security import Authenticate, security

PRODUCT = "/api/productos/{id:[1-9][0-9]{0,9}}"


def create_app(
    *,
    dsn: str | None = None,
    pool: HostPool | None = None,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
    authenticate: Authenticate | None = None,
    authenticate_every: float = 60.0,
    max_sockets: int = 10_000,
    compress: bool = False,
    title: str | None = None,
    currency: str | None = None,
    keep_days: float | None = None,
    keep_events: int | None = None,
) -> web.Application:
    """Return the inventory as an application, to run by itself or for `add_subapp` of a host application.

    - `dsn`: the connection string of PostgreSQL, in any format of libpq (`postgresql://user@host/name`).
    - `pool`: instead of `dsn`, a function that returns the host application's `aiopg.Pool` (`lambda: host[POOL]`). It is
      called after the host application has started.
    - `hosts`: allowed names in the `Host` header beside `localhost`, and networks (`10.0.0.0/8`) whose addresses are allowed.
      None: no check, because the host application checks.
    - `origins`: other origins whose pages may use the service (`https://shop.example`; `null` for a page from a file).
    - `authenticate`: returns whether a request is allowed, or the name of its user (`security.bearer(token)` for one shared
      token). Each open socket is checked again every `authenticate_every` seconds. None allows everybody.
    - `max_sockets`: further sockets get 503. `compress`: permessage-deflate for clients that offer it.
    - `title`: of the page. `currency`: of its prices, as a code of ISO 4217 (`EUR`). None: `$`.
    - `keep_days`: older events are deleted from the log. `keep_events`: all but this number of newest events are deleted.

    Start-up raises `inventory_ws.Unavailable` if PostgreSQL does not answer, PermissionError if the role can neither create the
    schema nor use an existing one, and ValueError if the schema does not fit the database.
    """
    if (dsn is None) == (pool is None):
        raise TypeError("create_app() wants dsn='postgresql://...', or pool= and a function that returns an aiopg.Pool")
    if not re.fullmatch("([A-Z]{3})?", currency or ""):
        raise ValueError(f"{currency}: una moneda tiene tres letras mayúsculas, como EUR")
    open_to_all = {page.index, page.client_file, handlers.health, sockets.websocket}
    guard = security(hosts, origins, authenticate, open_to_all)
    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app[DATABASE] = Database(dsn, pool)
    app[SOCKETS] = WeakSet()
    app[MAX_SOCKETS] = max_sockets
    app[COMPRESS] = compress
    app[HANDSHAKE] = asyncio.Lock()
    app[LIST_CACHE] = {}
    app[PAGE] = title or "", currency or ""
    app[FEED] = Feed(
        app[DATABASE],
        publish=lambda piece: sockets.publish(app[SOCKETS], piece),
        renew=lambda: sockets.renew(app[SOCKETS]),
        reset=lambda: sockets.close_all(app[SOCKETS], LOG_BEGAN_ANEW),
    )
    pruned = keep_days is not None or keep_events is not None
    app.cleanup_ctx.append(migrated_database(pruned))
    app.cleanup_ctx.append(_feed)
    if authenticate:
        app.cleanup_ctx.append(
            _background(lambda: sockets.authenticate_again(app[SOCKETS], authenticate, authenticate_every))
        )
    if pruned:
        app.cleanup_ctx.append(_background(lambda: eventlog.prune(app[DATABASE], keep_days, keep_events)))
    app.on_response_prepare.append(expectation)
    app.on_shutdown.append(sockets.shutdown)
    files = "|".join(re.escape(file.name) for file in data_folder("client").iterdir() if file.suffix != ".html")
    app.add_routes(
        [
            web.get("/api/productos", handlers.list_products),
            web.post("/api/productos", handlers.create_product),
            web.get(PRODUCT, handlers.get_product),
            web.put(PRODUCT, handlers.update_product),
            web.patch(PRODUCT, handlers.update_product),
            web.delete(PRODUCT, handlers.delete_product),
            web.post(f"{PRODUCT}/stock", handlers.move_stock),
            web.get("/api/eventos", handlers.list_events),
            web.get("/api/salud", handlers.health),
            web.get("/ws", sockets.websocket, allow_head=False),
            web.get("/", page.index),
            web.get("", page.index),
            web.get("/docs", page.client_file),
            web.get(f"/{{file:{files}}}", page.client_file),
        ]
    )
    return app


async def _feed(app: web.Application) -> AsyncIterator[None]:
    async with app[FEED]:
        yield


def _background(work: Callable[[], Coroutine[None, None, None]]) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(work())
        yield
        await end(task)

    return context
