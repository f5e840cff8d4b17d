"""The table of contents: what the service is made of, and every route it answers."""

from collections.abc import AsyncIterator, Collection
from weakref import WeakSet

from aiohttp import web

from . import handlers, sockets
from .database import DATABASE, Database, sql_file
from .errors import errors
from .feed import FEED, Feed
from .security import security
from .sockets import MAX_SOCKETS, SOCKETS


def create_app(
    *,
    dsn: str,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
    max_sockets: int = 10_000,
) -> web.Application:
    """The inventory as an application of its own, or for `add_subapp` of another.

    `dsn`: PostgreSQL, as libpq takes it (`postgresql://user@host/name`). `hosts`: the names in `Host` it answers to
    (None: any; inside a host application they are the host's business). `origins`: pages of other sites that may
    use it (`https://shop.example`, `null` for a page opened from a file). `max_sockets`: more are refused with 503.
    Start-up raises `database.Unavailable` where PostgreSQL does not answer, PermissionError where the schema is
    not there and the role may not create it.
    """
    app = web.Application(middlewares=[security(hosts, origins), errors], client_max_size=handlers.MAX_BODY)
    app[DATABASE] = Database(dsn)
    app[SOCKETS] = WeakSet()
    app[MAX_SOCKETS] = max_sockets
    app[FEED] = Feed(
        app[DATABASE],
        publish=lambda event: sockets.publish(app[SOCKETS], event),
        reset=lambda: sockets.close_all(app[SOCKETS], 1012),
    )
    app.cleanup_ctx.append(_database)
    app.cleanup_ctx.append(_feed)
    app.on_shutdown.append(sockets.shutdown)
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
            web.get("/ws", sockets.websocket),
            web.get("/", handlers.index),
            web.get("/{file:app.js|inventario.js|style.css|favicon.svg}", handlers.client_file),
        ]
    )
    return app


async def _database(app: web.Application) -> AsyncIterator[None]:
    await app[DATABASE].apply(sql_file("schema.sql"), unless_works="SELECT epoca FROM eventos_epoca")
    async with app[DATABASE]:
        yield


async def _feed(app: web.Application) -> AsyncIterator[None]:
    async with app[FEED]:
        yield
