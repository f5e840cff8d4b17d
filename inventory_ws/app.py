"""The application factory: all parts of the service, and all its routes."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from weakref import WeakSet

from aiohttp import web

from . import eventlog, handlers, page, sockets
from .database import DATABASE, Database, HostPool, end
from .errors import errors, expectation
from .feed import FEED, Feed
from .files import data_folder
from .listing import LIST_CACHE
from .page import PAGE
from .requests import MAX_BODY
from .schema import database
from .security import Authenticate, security
from .sockets import COMPRESS, HANDSHAKE, MAX_SOCKETS, SOCKETS
from .stream import LOG_BEGAN_ANEW


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

    `dsn`: PostgreSQL, as libpq takes it (`postgresql://user@host/name`). `pool`: instead of `dsn`, a function that returns
    the host's `aiopg.Pool`; it is called after the host has started (`lambda: host[POOL]`).
    `hosts`: allowed names in `Host` beside `localhost`, and networks (`10.0.0.0/8`) whose addresses are allowed (None: no
    check, as inside a host). `origins`: other origins whose pages may use the service (`https://shop.example`, `null` for
    a page from a file). `authenticate`: returns whether a request is allowed, or the name of its user
    (`security.bearer(token)` for one shared token; None allows everybody). Each open socket is checked again every
    `authenticate_every` seconds. `max_sockets`: further sockets get 503. `compress`: permessage-deflate for clients that
    offer it. `title`: the page's title. `currency`: of prices on the page (ISO 4217, as `EUR`; None: `$`). `keep_days`,
    `keep_events`: events older than this, and those beyond this number, are deleted from the log (None: never).

    Start-up raises `inventory_ws.Unavailable` if PostgreSQL does not answer, and PermissionError if the role can neither
    create the schema nor use an existing one.
    """
    if (dsn is None) == (pool is None):
        raise TypeError("create_app() wants dsn='postgresql://...', or pool= and a function that returns an aiopg.Pool")
    if not re.fullmatch("([A-Z]{3})?", currency or ""):
        raise ValueError(f"{currency}: una moneda tiene tres letras mayúsculas, como EUR")
    open_to_all = {page.index, page.client_file, handlers.health, sockets.websocket}
    guard = security(hosts, origins, authenticate, open_to_all)
    app = web.Application(middlewares=[guard, errors], client_max_size=MAX_BODY)
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
    app.cleanup_ctx.append(database(pruned))
    app.cleanup_ctx.append(_feed)
    if authenticate:
        app.cleanup_ctx.append(
            _beside(lambda: sockets.authenticate_again(app[SOCKETS], authenticate, authenticate_every))
        )
    if pruned:
        app.cleanup_ctx.append(_beside(lambda: eventlog.prune(app[DATABASE], keep_days, keep_events)))
    app.on_response_prepare.append(expectation)
    app.on_shutdown.append(sockets.shutdown)
    files = "|".join(re.escape(file.name) for file in data_folder("client").iterdir() if file.suffix != ".html")
    app.add_routes(
        [
            web.get("/api/productos", handlers.list_products),
            web.post("/api/productos", handlers.create_product),
            web.get("/api/productos/{id:[1-9][0-9]{0,9}}", handlers.get_product),
            web.put("/api/productos/{id:[1-9][0-9]{0,9}}", handlers.update_product),
            web.patch("/api/productos/{id:[1-9][0-9]{0,9}}", handlers.update_product),
            web.delete("/api/productos/{id:[1-9][0-9]{0,9}}", handlers.delete_product),
            web.post("/api/productos/{id:[1-9][0-9]{0,9}}/stock", handlers.move_stock),
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


def _beside(work: Callable[[], Coroutine[None, None, None]]) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(work())
        yield
        await end(task)

    return context
