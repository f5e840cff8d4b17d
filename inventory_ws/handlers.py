"""The HTTP handlers: read the request, call the repository, ring the bell, answer; always in this order."""

import asyncio
import hashlib
import re
from contextlib import suppress
from datetime import UTC, datetime
from html import escape
from typing import NoReturn, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel

from . import csvfile, eventlog, repository
from .database import DATABASE
from .errors import INVALID, Failure
from .feed import FEED, Lost
from .files import data_folder
from .postgresql_errors import Unavailable
from .product import EventPage, NewProduct, Page, ProductChange, StockMove, decode, encode
from .repository import Cause, Imported, Product, Products, Versions
from .security import ACTOR
from .sockets import SOCKETS, websocket

MAX_BODY = 64 * 1024  # bytes
MAX_FILE = 5 * 1024 * 1024
BODY_TIMEOUT = 10.0  # seconds
FILE_TIMEOUT = 60.0
JSON = {hdrs.CONTENT_TYPE: "application/json; charset=utf-8"}
CSV = {
    hdrs.CONTENT_TYPE: "text/csv; charset=utf-8; header=present",
    hdrs.CONTENT_DISPOSITION: 'attachment; filename="productos.csv"',
}

LIST_CACHE = web.AppKey("LIST_CACHE", dict[Page, Products])
"""The last rendered page of products; it is valid as long as the database has the same snapshot."""

PAGE = web.AppKey("PAGE", tuple[str, str])
"""The title of the page and the currency of prices (ISO 4217); empty texts leave the page as it is."""

Model = TypeVar("Model", bound=BaseModel)


async def list_products(request: web.Request) -> web.Response:
    """GET /api/productos?limit=&after=&q=&at="""
    page = Page.model_validate(dict(request.query))
    if page.at is not None:
        return await _list_past(request, page, page.at)
    known = [] if _wants_csv(request) else [tag.value for tag in request.if_none_match or ()]
    feed, cache = request.app[FEED], request.app[LIST_CACHE]
    position = feed.head, feed.epoch  # read before the rows: a client may receive a change twice, but misses none
    cached = cache.get(page)
    products = await repository.list_products(request.app[DATABASE], page, [*known, cached.etag] if cached else known)
    if products.etag in known:
        return web.Response(status=304, headers={hdrs.ETAG: f'W/"{products.etag}"'})
    if cached and cached.etag == products.etag:
        products = cached
    else:
        cache.clear()
        cache[page] = products
    response = await _page(request, page, products, *position)
    if not _wants_csv(request):
        response.headers[hdrs.ETAG] = f'W/"{products.etag}"'
    return response


async def _list_past(request: web.Request, page: Page, position: int) -> web.Response:
    feed = request.app[FEED]
    products: Products | None = None
    with suppress(Lost):
        await feed.check(position, None)
        epoch = feed.epoch  # read before the rows
        products = await repository.list_products_at(request.app[DATABASE], page)
    if products is None:
        raise Failure(400, INVALID, errors=[{"field": "at", "message": "no está en el registro"}])
    return await _page(request, page, products, position, epoch)


async def get_product(request: web.Request) -> web.Response:
    """GET /api/productos/{id}"""
    product = await repository.get_product(request.app[DATABASE], _id(request))
    if product is None:
        raise Failure(404, "Producto no encontrado")
    if any(tag.value == product.version for tag in request.if_none_match or ()):
        return web.Response(status=304, headers={hdrs.ETAG: f'"{product.version}"'})
    return _answer(product)


async def create_product(request: web.Request) -> web.Response:
    """POST /api/productos"""
    if request.content_type == "text/csv":
        return await _import(request.clone(client_max_size=MAX_FILE))
    new = await _body(request, NewProduct)
    product = await repository.create_product(request.app[DATABASE], new, await _cause(request))
    request.app[FEED].ring()
    response = _answer(product, "Producto creado exitosamente", status=201)
    response.headers[hdrs.LOCATION] = f"{request.path}/{product.id}"
    return response


async def _import(request: web.Request) -> web.Response:
    table = await asyncio.to_thread(csvfile.parse, await _read(request))
    faults = table.faults
    if not faults:
        done = await repository.import_products(
            request.app[DATABASE], table.fields, table.rows, await _cause(request, "importación")
        )
        faults = [{"row": row, "field": "id", "message": "no existe"} for row in done.missing]
    if faults:
        raise Failure(400, f"{INVALID}: no se ha importado nada", errors=faults)
    request.app[FEED].ring()
    return _answer(done, "Importación completada")


async def update_product(request: web.Request) -> web.Response:
    """PUT and PATCH /api/productos/{id}"""
    change = await _body(request, ProductChange)
    if not change.model_fields_set:
        raise Failure(400, "No hay nada que cambiar")
    product = await repository.update_product(
        request.app[DATABASE], _id(request), change, _versions(request), await _cause(request)
    ) or await _refuse(request, 412, "Alguien cambió este producto antes")
    request.app[FEED].ring()
    return _answer(product, "Producto actualizado exitosamente")


async def delete_product(request: web.Request) -> web.Response:
    """DELETE /api/productos/{id}"""
    product = await repository.delete_product(
        request.app[DATABASE], _id(request), _versions(request), await _cause(request)
    ) or await _refuse(request, 412, "Alguien cambió este producto antes")
    request.app[FEED].ring()
    return _answer(product, "Producto eliminado exitosamente")


async def move_stock(request: web.Request) -> web.Response:
    """POST /api/productos/{id}/stock"""
    move = await _body(request, StockMove)
    product = await repository.move_stock(
        request.app[DATABASE], _id(request), move.delta, await _cause(request, move.motivo)
    ) or await _refuse(request, 409, "No hay existencias suficientes" if move.delta < 0 else "No caben tantas unidades")
    request.app[FEED].ring()
    return _answer(product, "Existencias actualizadas exitosamente")


async def list_events(request: web.Request) -> web.Response:
    """GET /api/eventos?after=&before=&limit=&producto="""
    page = EventPage.model_validate(dict(request.query))
    feed = request.app[FEED]
    events = await eventlog.list_events(
        request.app[DATABASE],
        after=max(page.after, feed.floor),  # events from before a TRUNCATE belong to another history
        head=min(feed.head, page.before - 1) if page.before else feed.head,
        limit=page.limit,
        product_id=page.producto,
        newest=page.before is not None,
    )
    return _json(f'{{"success":true,"data":[{",".join(event.message for event in events)}]}}')


async def health(request: web.Request) -> web.Response:
    """GET /api/salud: 200 while changes are stored and delivered, 503 otherwise."""
    state = request.app
    try:
        ((database,),) = await state[DATABASE].fetch("SELECT current_setting('transaction_read_only') = 'off'")
    except Unavailable:
        database = False
    feed = state[FEED]
    following = feed.live.is_set()
    data = {"database": database, "feed": following, "sockets": len(state[SOCKETS]), "last_event_id": feed.head}
    if not (database and following):
        raise Failure(503, "El servicio no atiende", data=encode(data), headers={hdrs.RETRY_AFTER: "1"})
    return _json(f'{{"success":true,"data":{encode(data)}}}')


async def index(request: web.Request) -> web.StreamResponse:
    """GET /: the page, or the socket when the request is an upgrade."""
    if request.method == "GET" and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return await websocket(request)
    if not request.path.endswith(
        "/"
    ):  # the prefix of a host application without a slash breaks the page's relative links
        raise web.HTTPPermanentRedirect(f"{request.rel_url.raw_path}/")
    title, currency = request.app[PAGE]
    if not (title or currency):
        return _file("index.html")
    page = (
        (data_folder("client") / "index.html")
        .read_text("utf-8")
        .replace(">Inventario<", f">{escape(title or 'Inventario')}<")
    )
    page = page.replace('lang="es"', f'lang="es" data-currency="{currency}"', 1)
    return web.Response(text=page, content_type="text/html", headers={hdrs.CACHE_CONTROL: "no-cache"})


async def client_file(request: web.Request) -> web.FileResponse:
    """GET /app.js and the other files of the page, and /docs, which shows openapi.json and asyncapi.json"""
    return _file(request.match_info.get("file", "docs.html"))


def _file(name: str) -> web.FileResponse:
    return web.FileResponse(data_folder("client") / name, headers={hdrs.CACHE_CONTROL: "no-cache"})


def _id(request: web.Request) -> int:
    """The id in the path; the route's pattern ensures that it fits into a bigint."""
    return int(request.match_info["id"])


async def _body(request: web.Request, model: type[Model]) -> Model:
    """Parse and validate the body. Raises Failure and ValidationError."""
    if request.content_type != "application/json":
        raise Failure(415, "El cuerpo tiene que ser application/json; el de un archivo de productos, text/csv")
    try:
        value = decode(await _read(request))
    except ValueError as exc:
        raise Failure(400, "El cuerpo no es JSON válido") from exc
    return model.model_validate(value)


async def _read(request: web.Request) -> bytes:
    limit, seconds = (MAX_FILE, FILE_TIMEOUT) if request.content_type == "text/csv" else (MAX_BODY, BODY_TIMEOUT)
    try:
        async with asyncio.timeout(None if request.content.is_eof() else seconds):
            body = b"" if (request.content_length or 0) > limit else await request.read()
    except TimeoutError:
        raise Failure(408, "El cuerpo tarda demasiado", headers={hdrs.CONNECTION: "close"}) from None
    if max(len(body), request.content_length or 0) > limit:
        raise web.HTTPRequestEntityTooLarge(limit, len(body))
    return body


async def _cause(request: web.Request, reason: str = "") -> Cause:
    """The actor, the reason, and the Idempotency-Key with the fingerprint of the request. Raises Failure."""
    actor = request.get(ACTOR, "")
    if "Idempotency-Key" not in request.headers:
        return Cause(actor, reason)
    key = " ".join(request.headers.getall("Idempotency-Key"))  # two headers are invalid together
    if quoted := re.fullmatch(r'"(.*)"', key):  # a string, as RFC 9651 writes it
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    if not re.fullmatch(r"[!-~]{1,255}", key):
        raise Failure(400, "Idempotency-Key lleva de 1 a 255 caracteres ASCII visibles")
    same = f"{request.method} {request.path}\n{actor}\n".encode() + await _read(request)
    return Cause(actor, reason, key, hashlib.sha256(same).hexdigest())


def _versions(request: web.Request) -> Versions:
    """The versions in If-Match, or None if the header is missing or is `*`."""
    tags = request.if_match
    if tags is None or any(tag.value == "*" for tag in tags):
        return None
    versions = []
    for tag in tags:
        with suppress(ValueError):  # a foreign ETag matches no product
            versions.append(datetime.strptime(tag.value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC))
    return versions


async def _refuse(request: web.Request, status: int, message: str) -> NoReturn:
    """Raises the Failure that explains a refused change: 404 if the product is gone, else `status` with its current state."""
    current = await repository.get_product(request.app[DATABASE], _id(request), repository.REFUSAL_TIMEOUT)
    if current is None:
        raise Failure(404, "Producto no encontrado")
    raise Failure(status, message, data=current.json, headers={hdrs.ETAG: f'"{current.version}"'})


def _wants_csv(request: web.Request) -> bool:
    accept = request.headers.get(hdrs.ACCEPT, "").lower()
    return "text/csv" in accept and "application/json" not in accept


async def _page(request: web.Request, page: Page, products: Products, position: int, epoch: str) -> web.Response:
    if _wants_csv(request):
        body = await asyncio.to_thread(csvfile.render, products.json)
        response = web.Response(body=body, headers=CSV)
    else:
        end = f',"last_event_id":{position},"epoch":"{epoch}"}}'
        response = _json(b'{"success":true,"data":' + products.json + end.encode())
    response.headers[hdrs.VARY] = hdrs.ACCEPT
    if products.length == page.limit:
        response.headers[hdrs.LINK] = f'<{request.rel_url.update_query(after=products.last_id)}>; rel="next"'
    return response


def _answer(done: Product | Imported, message: str | None = None, *, status: int = 200) -> web.Response:
    says = f'"message":"{message}",' if message else ""
    response = _json(f'{{"success":true,{says}"data":{done.json}}}', status)
    if isinstance(done, Product):
        response.headers[hdrs.ETAG] = f'"{done.version}"'
    if done.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _json(body: str | bytes, status: int = 200) -> web.Response:
    return web.Response(body=body.encode() if isinstance(body, str) else body, status=status, headers=JSON)
