"""The HTTP handlers. Each change has the same order: read the request, change, answer."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

from aiohttp import hdrs, web

from ..live import eventlog
from ..live.eventlog import EventQuery
from ..live.hub import HUB, SOCKETS
from ..live.log import LOG, Lost
from ..pg.database import DATABASE
from ..pg.errors import Unavailable
from ..pg.lanes import Lane
from ..products import csvfile, listing, repository, several
from ..products.exact_json import encode
from ..products.listing import LIST_CACHE, ListQuery
from ..products.models import INT4_MAX, NewProduct, ProductChange, Sale, StockMove
from ..products.repository import Product
from .answers import json_response, list_response, result_response
from .errors import INVALID, NOT_IMPORTED, REFUSALS, Failure
from .reading import MAX_FILE, read_body, read_cause, read_id, read_model, read_tags, read_versions, wants_csv

# A commit that waits for its synchronous standby holds back the changes after it.
HEALTHY = """
    SELECT current_setting('transaction_read_only') = 'off' AND NOT EXISTS (
        SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query_start < now() - interval '2 s'
    )
    """

PREVENTED = [{"field": "", "message": REFUSALS["42501"]}]


async def list_products(request: web.Request) -> web.Response:
    """GET /api/productos?limit=&after=&before=&q=&at="""
    query = ListQuery.model_validate(dict(request.query))
    if query.at is not None:
        return await _list_past(request, query, query.at)
    known = [] if wants_csv(request) else read_tags(request.if_none_match)
    log = request.app[LOG]
    # Read before the rows: the client may receive an event that the list already contains, but misses none.
    position, epoch = log.head, log.epoch
    products = await listing.list_products(request.app[DATABASE], query, known, request.app[LIST_CACHE])
    if products.etag in known:
        return web.Response(status=304, headers={hdrs.ETAG: f'W/"{products.etag}"'})
    response = await list_response(request, query, products, position, epoch)
    if not wants_csv(request):
        response.headers[hdrs.ETAG] = f'W/"{products.etag}"'
    return response


async def _list_past(request: web.Request, query: ListQuery, position: int) -> web.Response:
    log = request.app[LOG]
    try:
        await log.check(position, None)
        epoch = log.epoch  # read before the rows, so that a client that resumes notices a later epoch
        products = await listing.list_products_at(request.app[DATABASE], query)
    except Lost:
        products = None
    if products is None:
        raise Failure(400, INVALID, errors=[{"field": "at", "message": "no está en el registro"}])
    return await list_response(request, query, products, position, epoch)


async def get_product(request: web.Request) -> web.Response:
    """GET /api/productos/{id}"""
    product = await repository.get_product(request.app[DATABASE], read_id(request))
    if product is None:
        raise Failure(404, "Producto no encontrado")
    if product.version in read_tags(request.if_none_match):
        return web.Response(status=304, headers={hdrs.ETAG: f'"{product.version}"'})
    return result_response(product)


async def create_product(request: web.Request) -> web.Response:
    """POST /api/productos"""
    if request.content_type == "text/csv":
        # A body that a middleware of the host application has read cannot be cloned.
        return await _import(request.clone(client_max_size=MAX_FILE) if request.can_read_body else request)
    new = await read_model(request, NewProduct)
    product = await request.app[HUB].change(repository.create_product, new, await read_cause(request))
    if product is None:
        raise Failure(400, INVALID, errors=PREVENTED)
    response = result_response(product, "Producto creado exitosamente", status=201)
    response.headers[hdrs.LOCATION] = f"productos/{product.id}"  # relative: the path may be another in front of a proxy
    return response


async def _import(request: web.Request) -> web.Response:
    body = await read_body(request)
    async with request.app[several.FILES]:
        table = await asyncio.to_thread(csvfile.parse, body)
    if table.faults:
        raise Failure(400, NOT_IMPORTED, errors=table.faults)
    cause = await read_cause(request, "importación")
    done = await request.app[HUB].change(several.import_products, table.fields, table.rows, cause)
    return result_response(done, "Importación completada")


async def update_product(request: web.Request) -> web.Response:
    """PUT and PATCH /api/productos/{id}"""
    change = await read_model(request, ProductChange)
    if not change.model_fields_set:
        raise Failure(400, "No hay nada que cambiar")
    product = await request.app[HUB].change(
        repository.update_product, read_id(request), change, read_versions(request), await read_cause(request)
    )
    if product is None:
        raise await _refusal(request, 412, "Alguien cambió este producto antes", _has_version(request))
    return result_response(product, "Producto actualizado exitosamente")


async def delete_product(request: web.Request) -> web.Response:
    """DELETE /api/productos/{id}"""
    product = await request.app[HUB].change(
        repository.delete_product, read_id(request), read_versions(request), await read_cause(request)
    )
    if product is None:
        raise await _refusal(request, 412, "Alguien cambió este producto antes", _has_version(request))
    return result_response(product, "Producto eliminado exitosamente")


async def restore_product(request: web.Request) -> web.Response:
    """POST /api/productos/{id}/restaurar"""
    cause = await read_cause(request, "restauración")
    product = await request.app[HUB].change(repository.restore_product, read_id(request), cause)
    if product is None:
        missing = "El registro no guarda cómo era este producto, o la base de datos no lo permite"
        raise await _refusal(request, 409, "El producto no está eliminado", lambda _: False, missing)
    return result_response(product, "Producto restaurado exitosamente")


async def move_stock(request: web.Request) -> web.Response:
    """POST /api/productos/{id}/stock"""
    move = await read_model(request, StockMove)
    product = await request.app[HUB].change(
        repository.move_stock, read_id(request), move.delta, await read_cause(request, move.motivo)
    )
    if product is None:
        reason = "No hay existencias suficientes" if move.delta < 0 else "No caben tantas unidades"
        raise await _refusal(
            request, 409, reason, lambda current: 0 <= json.loads(current.json)["stock"] + move.delta <= INT4_MAX
        )
    return result_response(product, "Existencias actualizadas exitosamente")


async def sell(request: web.Request) -> web.Response:
    """POST /api/stock"""
    sale = await read_model(request, Sale)
    cause = await read_cause(request, sale.motivo)
    done = await request.app[HUB].change(several.move_stock, sale.movimientos, cause)
    return result_response(done, "Existencias actualizadas exitosamente")


async def list_events(request: web.Request) -> web.Response:
    """GET /api/eventos?after=&before=&limit=&producto="""
    query = EventQuery.model_validate(dict(request.query))
    log = request.app[LOG]
    with suppress(Unavailable):  # a long commit of somebody else hides the end: what is before it can be read
        await log.reached(log.asked)  # with the changes that this instance has answered
    events = await eventlog.list_events(
        request.app[DATABASE],
        after=max(query.after, log.floor),  # events at or below the floor are gone, or of a former epoch
        head=min(log.head, query.before - 1) if query.before else log.head,
        limit=query.limit,
        product_id=query.producto,
        newest=query.before is not None,
    )
    return json_response(f'{{"success":true,"data":[{",".join(event.message for event in events)}]}}')


async def health(request: web.Request) -> web.Response:
    """GET /api/salud: 200 while changes are stored and delivered, 503 otherwise."""
    state = request.app
    try:
        ((database,),) = await state[DATABASE].fetch(HEALTHY, lane=Lane.HEALTH)
    except Unavailable:
        database = False
    log = state[LOG]
    following = log.live.is_set()
    data = {"database": database, "feed": following, "sockets": len(state[SOCKETS]), "last_event_id": log.head}
    if not (database and following) or log.faults:
        data |= {"reason": "; ".join(log.faults)} if log.faults else {}
        raise Failure(503, "El servicio no atiende", data=encode(data), headers={hdrs.RETRY_AFTER: "1"})
    return json_response(f'{{"success":true,"data":{encode(data)}}}')


async def _refusal(
    request: web.Request,
    status: int,
    message: str,
    possible: Callable[[Product], bool],
    missing: str = "Producto no encontrado",
) -> Failure:
    """Return why a change had no effect: 404 if the product is gone, else `status` with the current product. If the change
    was `possible`, a trigger or a policy of the database's owner has prevented it."""
    current = await repository.get_product(request.app[DATABASE], read_id(request), repository.REFUSAL_TIMEOUT)
    if current is None:
        return Failure(404, missing)
    if possible(current):
        return Failure(400, INVALID, errors=PREVENTED)
    return Failure(status, message, data=current.json, headers={hdrs.ETAG: f'"{current.version}"'})


def _has_version(request: web.Request) -> Callable[[Product], bool]:
    """Return whether a product has a version of If-Match."""
    versions, tags = read_versions(request), read_tags(request.if_match)
    return lambda product: versions is None or product.version in tags
