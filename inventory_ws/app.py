"""The application factory: creates and connects all parts of the service, and has the table of routes."""

import json
import re
from collections.abc import Collection
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from aiohttp import web

from . import __version__
from .live import eventlog
from .live.hub import HUB, SOCKETS, Hub
from .live.log import LOG
from .live.stream import BEATS
from .live.watch import log_of
from .pg.connection import STATEMENT_TIMEOUT
from .pg.database import DATABASE, POOL_SIZE
from .pg.schema import compare, migrated_database
from .products import listing
from .products.batching import BatchingDatabase
from .products.listing import LIST_CACHE
from .web import handlers, page
from .web.answers import cors
from .web.handlers import VERSION
from .web.page import AUTHENTICATE, PAGE_DATA, TITLE
from .web.reading import MAX_BODY
from .web.security import Authenticate, bearer, security, withhold
from .web.websocket import check_logins, complete_extension, websocket

PRODUCT = "/api/productos/{id:[1-9][0-9]{0,9}}"


def create_app(
    *,
    dsn: str,
    pool_size: int = POOL_SIZE,
    statement_timeout: float = STATEMENT_TIMEOUT,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
    authenticate: Authenticate | None = None,
    authenticate_every: float = 60.0,
    login: str | None = None,
    max_sockets: int = 10_000,
    ping_every: float = 20.0,
    compress: bool = False,
    title: str | None = None,
    currency: str | None = None,
    keep_days: float | None = None,
    keep_events: int | None = None,
) -> web.Application:
    """Return the inventory as an application, to run by itself or for `add_subapp` of a host application.

    - `dsn`: the connection string of PostgreSQL, in any format of libpq (`postgresql://user@host/name`).
    - `pool_size`: how many connections to PostgreSQL changes may take, beside two for reading, one for health and one that
      listens. `statement_timeout`: seconds for a statement and its wait for a connection; then the request gets 503.
    - `hosts`: allowed names in the `Host` header beside `localhost`, and networks (`10.0.0.0/8`) whose addresses are allowed.
      None: no check, because the host application checks.
    - `origins`: other origins whose pages may use the service (`https://shop.example`; `null` for a page from a file).
    - `authenticate`: returns whether a request is allowed, or the name of its user (`security.bearer(token)` for one shared
      token). Each open socket is checked again every `authenticate_every` seconds. None allows everybody.
    - `login`: the address where users sign in. The page links to it, with its own address as `?next=`.
    - `max_sockets`: further sockets get 503. `ping_every`: seconds between pings of a socket, whose client has half of them to
      answer; many proxies cut after 30 of silence. `compress`: permessage-deflate for clients that offer it.
    - `title`: of the page. `currency`: of its prices, as a code of ISO 4217 (`EUR`). None: `$`.
    - `keep_days`: older events are deleted from the log. `keep_events`: all but this number of newest events are deleted.

    Start-up raises `inventory_ws.Unavailable` if PostgreSQL does not answer, PermissionError if the role can neither create the
    schema nor use an existing one, and ValueError if the schema does not fit the database or cannot hear of changes. An
    application starts once, and raises RuntimeError after that: another try needs another application.
    """
    if not (authenticate_every > 0 and ping_every > 0):
        raise ValueError("authenticate_every and ping_every are numbers of seconds above 0")
    if not re.fullmatch("([A-Z]{3})?", currency or ""):
        raise ValueError(f"{currency}: una moneda tiene tres letras mayúsculas, como EUR")
    guard = security(
        hosts, origins, authenticate, {page.index, page.client_file, handlers.health, handlers.alive, websocket}
    )
    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app[DATABASE] = db = BatchingDatabase(dsn, pool_size, statement_timeout)
    app[HUB] = hub = Hub(db, max_sockets=max_sockets, compress=compress)
    app[LOG] = hub.log
    app[SOCKETS] = hub.sockets
    app[LIST_CACHE] = {}
    app[VERSION] = __version__
    app[TITLE] = title or ""
    app[PAGE_DATA] = {"currency": currency} if currency else {}
    if authenticate:
        app[AUTHENTICATE] = authenticate
        asks_for_token = getattr(authenticate, "__module__", None) == bearer.__module__
        if login is not None or not asks_for_token:
            app[PAGE_DATA]["login"] = login or ""
        hub.work.append(partial(check_logins, hub, authenticate_every))
        app.on_response_prepare.append(withhold)
    hub.work.append(partial(eventlog.repeat, ping_every / BEATS, hub.beat))
    if pruned := keep_days is not None or keep_events is not None:
        hub.work.append(
            partial(eventlog.repeat, eventlog.PRUNE_EVERY, eventlog.prune_events, db, keep_days, keep_events)
        )
    hub.work.append(partial(eventlog.repeat, eventlog.LOOK_EVERY, eventlog.look_for_faults, db, hub.log.faults))
    # A task of its own: it writes, and so may wait for locks and standbys.
    hub.work.append(partial(eventlog.repeat, eventlog.LOOK_EVERY, compare, db))
    app.cleanup_ctx.append(partial(migrated_database, pruning=pruned))
    app.cleanup_ctx.append(lambda _: hub)
    app.on_shutdown.append(hub.shut_down)
    if compress:
        app.on_response_prepare.append(complete_extension)
    if origins:
        app.on_response_prepare.append(partial(cors, origins))
    files = "|".join(map(re.escape, page.FILES))
    app.add_routes(
        [
            web.get("/api/productos", handlers.list_products),
            web.post("/api/productos", handlers.create_product),
            web.post("/api/stock", handlers.sell),
            # For the "from the web" of a spreadsheet, which can send no header.
            web.get("/api/productos.csv", handlers.list_products, name="export_products"),
            web.post("/api/importaciones/{clave}/deshacer", handlers.undo_import),
            web.get(PRODUCT, handlers.get_product),
            web.put(PRODUCT, handlers.update_product),
            web.patch(PRODUCT, handlers.update_product),
            web.delete(PRODUCT, handlers.delete_product),
            web.post(f"{PRODUCT}/restaurar", handlers.restore_product),
            web.post(f"{PRODUCT}/stock", handlers.move_stock),
            web.get("/api/eventos", handlers.list_events),
            web.get("/api/salud", handlers.health),
            web.get("/api/vivo", handlers.alive),
            web.get("/ws", websocket, allow_head=False),
            web.get("/", page.index),
            web.get("", page.index),
            web.get("/docs", page.client_file),
            web.get(f"/{{file:{files}}}", page.client_file),
        ]
    )
    with suppress(ImportError):  # without the extra `metrics` there is no such path
        from .metrics import metrics

        app.add_routes([web.get("/metrics", metrics)])
    return app


class Snapshot(NamedTuple):
    """All products in the wire format, with `precio` as a Decimal, and the position from which `watch` continues. The
    first events may be contained in the products already: compare `updated_at`."""

    products: list[dict[str, Any]]
    last_event_id: int
    epoch: str


async def snapshot(app: web.Application) -> Snapshot:
    """Return all products: the state to start from, at first and after Lost. Wait until the service has started.

    `app` is what `create_app` returned. Raise Unavailable, also after the end, and RuntimeError if it does not start in time, or in
    another event loop than that of the service.
    """
    log = log_of(app)
    await log.started()
    # Read before the rows: a change in between may be in both, but is not missing from both.
    position = log.head, log.epoch
    rows = (await listing.list_products(app[DATABASE], listing.ListQuery(), (), {})).json
    return Snapshot(json.loads(rows, parse_float=Decimal), *position)
