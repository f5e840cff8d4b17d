"""The HTTP handlers. Each change has the same order: read the request, change, answer."""

import asyncio
import json
from contextlib import suppress

from aiohttp import hdrs, web

from ..files import importing, reader, undoing
from ..files.importing import MAX_FAULTS, NotImported
from ..files.reader import FileQuery, NotInstalled
from ..live import eventlog
from ..live.eventlog import EventQuery
from ..live.hub import HUB, SOCKETS
from ..live.log import LOG, Lost
from ..pg.database import DATABASE
from ..pg.errors import Unavailable
from ..pg.schema import find_hindrance
from ..products import listing, repository, sales
from ..products.exact_json import encode
from ..products.listing import LIST_CACHE, ListQuery
from ..products.models import INT4_MAX, NewProduct, ProductChange, Sale, StockMove
from .answers import change_product, has_version, json_response, list_response, result_response
from .errors import PREVENTED, Failure
from .reading import MAX_FILE, is_file, read_body, read_cause, read_id, read_model, read_tags, read_versions, wants_csv

VERSION = web.AppKey("VERSION", str)
NOT_FOLLOWING = (
    "el registro no se puede leer hasta el final: falta PostgreSQL, o una transacción no acaba de confirmarse"
)
ENDED = "una tarea del servicio ha fallado: hay que reiniciarlo"
NOT_IMPORTED = "Datos inválidos: no se ha importado nada"


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
        raise Failure("fuera_del_registro", errors=[{"field": "at", "message": "no está en el registro"}])
    return await list_response(request, query, products, position, epoch)


async def get_product(request: web.Request) -> web.Response:
    """GET /api/productos/{id}"""
    product = await repository.get_product(request.app[DATABASE], read_id(request))
    if product is None:
        raise Failure("producto_no_encontrado")
    if product.version in read_tags(request.if_none_match):
        return web.Response(status=304, headers={hdrs.ETAG: f'"{product.version}"'})
    return result_response(product)


async def create_product(request: web.Request) -> web.Response:
    """POST /api/productos"""
    query = FileQuery.model_validate(dict(request.query))
    if is_file(request):
        # Only a clone can have a larger limit. Of a body that a middleware of the host has read there is none.
        return await _import(request.clone(client_max_size=MAX_FILE) if request.can_read_body else request, query)
    new = await read_model(request, NewProduct)
    product = await request.app[HUB].change(repository.create_product, new, await read_cause(request))
    if product is None:
        raise Failure("rechazado_por_la_base", errors=PREVENTED)
    response = result_response(product, "Producto creado exitosamente", status=201)
    response.headers[hdrs.LOCATION] = f"productos/{product.id}"  # relative: the path may be another in front of a proxy
    return response


async def _import(request: web.Request, query: FileQuery) -> web.Response:
    body = await read_body(request)
    try:
        table = await asyncio.get_running_loop().run_in_executor(request.app[HUB].file_thread, reader.read, body, query)
        if query.ensayo:
            position = request.app[LOG].head  # read before the rows, as for a list
            counts, rows = await importing.try_file(request.app[DATABASE], table, query)
            about = encode(table.about | {"desde": position})
            return json_response(f'{{"success":true,"data":{{{about[1:-1]},{counts[1:-1]},"filas":{rows}}}}}')
        cause = await read_cause(request, "importación")
        if table.unusable or (table.faults and query.filas == "todas"):
            raise NotImported(table.faults)
        done = await request.app[HUB].change(importing.import_products, table, query, cause)
    except NotInstalled:
        raise Failure("sin_lector_de_hojas") from None
    except NotImported as exc:
        raise Failure("datos_invalidos", NOT_IMPORTED, errors=exc.args[0][:MAX_FAULTS]) from None
    return result_response(done, "Importación completada")


async def undo_import(request: web.Request) -> web.Response:
    """POST /api/importaciones/{clave}/deshacer"""
    cause = await read_cause(request, "deshacer importación")
    try:
        done = await request.app[HUB].change(undoing.undo_import, request.match_info["clave"], cause)
    except NotImported:
        raise Failure("importacion_no_encontrada") from None
    return result_response(done, "Importación deshecha")


async def update_product(request: web.Request) -> web.Response:
    """PUT and PATCH /api/productos/{id}"""
    change = await read_model(request, ProductChange)
    if "id" in change.model_fields_set and change.id != read_id(request):
        raise Failure("datos_invalidos", errors=[{"field": "id", "message": "no es el de la ruta"}])
    if not change.model_dump(exclude_unset=True):
        raise Failure("sin_cambios")
    versions, cause = read_versions(request), await read_cause(request)
    product = await change_product(
        request, "producto_cambiado", has_version(versions), repository.update_product, change, versions, cause
    )
    return result_response(product, "Producto actualizado exitosamente")


async def delete_product(request: web.Request) -> web.Response:
    """DELETE /api/productos/{id}"""
    versions, cause = read_versions(request), await read_cause(request)
    product = await change_product(
        request, "producto_cambiado", has_version(versions), repository.delete_product, versions, cause
    )
    return result_response(product, "Producto eliminado exitosamente")


async def restore_product(request: web.Request) -> web.Response:
    """POST /api/productos/{id}/restaurar"""
    cause, missing = await read_cause(request, "restauración"), "producto_irrecuperable"
    product = await change_product(
        request, "producto_existente", lambda _: False, repository.restore_product, cause, missing=missing
    )
    return result_response(product, "Producto restaurado exitosamente")


async def move_stock(request: web.Request) -> web.Response:
    """POST /api/productos/{id}/stock"""
    move = await read_model(request, StockMove)
    code, cause = "stock_insuficiente" if move.delta < 0 else "stock_excesivo", await read_cause(request, move.motivo)

    def possible(current: repository.Product) -> bool:
        stock: int = json.loads(current.json)["stock"]
        return 0 <= stock + move.delta <= INT4_MAX

    product = await change_product(request, code, possible, repository.move_stock, move.delta, cause)
    return result_response(product, "Existencias actualizadas exitosamente")


async def sell(request: web.Request) -> web.Response:
    """POST /api/stock"""
    sale = await read_model(request, Sale)
    cause = await read_cause(request, sale.motivo)
    done = await request.app[HUB].change(sales.sell, sale.movimientos, cause)
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
    hub = request.app[HUB]
    hindrance = await find_hindrance(request.app[DATABASE])
    following = hub.log.live.is_set()
    reasons = [hindrance, "" if following else ENDED if hub.ended else NOT_FOLLOWING, *hub.log.faults]
    data: dict[str, object] = {
        "database": not hindrance,
        "feed": following,
        "sockets": len(request.app[SOCKETS]),
        "behind": hub.behind,
        "last_event_id": hub.log.head,
        "version": request.app[VERSION],
    }
    if any(reasons):
        data["reason"] = "; ".join(filter(None, reasons))
        raise Failure("sin_servicio", data=encode(data), headers={hdrs.RETRY_AFTER: "1"})
    return json_response(f'{{"success":true,"data":{encode(data)}}}')


async def alive(request: web.Request) -> web.Response:
    """GET /api/vivo: 200 whatever becomes of PostgreSQL; 503 if only a restart helps."""
    if request.app[HUB].ended:
        raise Failure("sin_servicio", ENDED)
    return json_response('{"success":true}')
