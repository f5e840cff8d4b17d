"""What is answered: products and lists of them, as JSON or CSV, in gzip where it is asked for; a change of one product, and why it
had no effect; and the headers of CORS."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime

from aiohttp import hdrs, web

from ..files import csvfile
from ..live.hub import HUB
from ..pg.database import DATABASE
from ..pg.schema import may_prevent
from ..products.listing import ListQuery, Products
from ..products.repository import REFUSAL_TIMEOUT, Product, Result, Versions, get_product
from .errors import PREVENTED, Failure
from .reading import read_id, wants_csv, wants_gzip

JSON = {hdrs.CONTENT_TYPE: "application/json; charset=utf-8"}
CSV = {
    hdrs.CONTENT_TYPE: "text/csv; charset=utf-8; header=present",
    hdrs.CONTENT_DISPOSITION: 'attachment; filename="productos.csv"',
}
IN_GZIP = {hdrs.CONTENT_ENCODING: "gzip"}
EXPOSED = "ETag, Idempotency-Replayed, Link, Location, Retry-After"
START = b'{"success":true,"data":'
ATTEMPTS = 3  # to make a change that others make possible and impossible meanwhile
COMPRESS_FROM = 1024  # bytes; what is shorter fits into one packet as it is


class Gzipped(web.Response):
    """A response whose body is in gzip already. A host's middleware that compresses every answer leaves it as it is."""

    def enable_compression(self, *_: object, **__: object) -> None:
        """Do nothing: aiohttp would compress the body once more."""


async def list_response(
    request: web.Request, query: ListQuery, products: Products, position: int, epoch: str
) -> web.Response:
    """Return the products as JSON or CSV, with the position of the log that they contain, and a link to what follows."""
    compress = len(products.json) > COMPRESS_FROM and wants_gzip(request)
    if wants_csv(request):
        loop, thread = asyncio.get_running_loop(), request.app[HUB].file_thread
        body = await loop.run_in_executor(thread, csvfile.render, products.json)
        response = web.Response(body=body, headers=CSV)
        if compress:
            response = Gzipped(body=await loop.run_in_executor(thread, gzip.compress, body, 6), headers=CSV | IN_GZIP)
    else:
        end = f',"last_event_id":{position},"epoch":"{epoch}"}}'.encode()
        if compress:
            response = Gzipped(body=await products.gzipped(START, end), headers=JSON | IN_GZIP)
        else:
            response = json_response(START + products.json + end)
    if products.length == query.limit:
        following = {"before" if query.before else "after": products.last_id}
        response.headers[hdrs.LINK] = f'<?{request.rel_url.update_query(following).raw_query_string}>; rel="next"'
    return response


def result_response(done: Product | Result, message: str | None = None, *, status: int = 200) -> web.Response:
    """Return what was read or done: the product with its version, or the result of an import or a sale."""
    says = f'"message":"{message}",' if message else ""
    response = json_response(f'{{"success":true,{says}"data":{done.json}}}', status)
    if isinstance(done, Product):
        response.headers[hdrs.ETAG] = f'"{done.version}"'
    if done.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def json_response(body: str | bytes, status: int = 200) -> web.Response:
    return web.Response(body=body.encode() if isinstance(body, str) else body, status=status, headers=JSON)


async def change_product(
    request: web.Request,
    code: str,
    possible: Callable[[Product], bool],
    change: Callable[..., Awaitable[Product | None]],
    *args: object,
    missing: str = "producto_no_encontrado",
) -> Product:
    """Change the product of the path and return it. Raise Failure if the change has no effect: `missing` if the product is gone,
    else `code` with the current product. If the change is `possible`, a trigger or a policy of the database's owner has
    prevented it; or the product has become what it had to be since, and the change is made again."""
    db = request.app[DATABASE]
    for _ in range(ATTEMPTS):
        product = await request.app[HUB].change(change, read_id(request), *args)
        if product is not None:
            return product
        current = await get_product(db, read_id(request), REFUSAL_TIMEOUT)
        if current is None:
            raise Failure(missing)
        if not possible(current):
            raise Failure(code, data=current.json, headers={hdrs.ETAG: f'"{current.version}"'})
        if await may_prevent(db, REFUSAL_TIMEOUT):  # it may have done something instead, and that once
            break
    raise Failure("rechazado_por_la_base", errors=PREVENTED)


def has_version(versions: Versions) -> Callable[[Product], bool]:
    return lambda product: versions is None or datetime.fromisoformat(product.version) in versions


async def cors(origins: Collection[str], request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of CORS when a response is sent: those that the host application has set by then stay."""
    if (origin := request.headers.get(hdrs.ORIGIN, "")) in origins:
        response.headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, origin)
        response.headers.setdefault(hdrs.ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)
