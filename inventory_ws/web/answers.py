"""What is answered: products and lists of them, as JSON or CSV, in gzip where it is asked for."""

import asyncio
import gzip

from aiohttp import hdrs, web

from ..files import csvfile
from ..files.importing import FILES, Imported
from ..products.listing import ListQuery, Products
from ..products.repository import Product
from .reading import wants_csv, wants_gzip

JSON = {hdrs.CONTENT_TYPE: "application/json; charset=utf-8"}
CSV = {
    hdrs.CONTENT_TYPE: "text/csv; charset=utf-8; header=present",
    hdrs.CONTENT_DISPOSITION: 'attachment; filename="productos.csv"',
}
GZIP = {hdrs.CONTENT_ENCODING: "gzip"}
START = b'{"success":true,"data":'
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
        async with request.app[FILES]:
            body = await asyncio.to_thread(csvfile.render, products.json)
        response = web.Response(body=body, headers=CSV)
        if compress:
            response = Gzipped(body=await asyncio.to_thread(gzip.compress, body, 6), headers=CSV | GZIP)
    else:
        end = f',"last_event_id":{position},"epoch":"{epoch}"}}'.encode()
        if compress:
            response = Gzipped(body=await products.gzipped(START, end), headers=JSON | GZIP)
        else:
            response = json_response(START + products.json + end)
    if products.length == query.limit:
        following = {"before" if query.before else "after": products.last_id}
        response.headers[hdrs.LINK] = f'<?{request.rel_url.update_query(following).raw_query_string}>; rel="next"'
    return response


def result_response(done: Product | Imported, message: str | None = None, *, status: int = 200) -> web.Response:
    """Return what was read or done: the product with its version, or the result of an import."""
    says = f'"message":"{message}",' if message else ""
    response = json_response(f'{{"success":true,{says}"data":{done.json}}}', status)
    if isinstance(done, Product):
        response.headers[hdrs.ETAG] = f'"{done.version}"'
    if done.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def json_response(body: str | bytes, status: int = 200) -> web.Response:
    """Return a body of JSON."""
    return web.Response(body=body.encode() if isinstance(body, str) else body, status=status, headers=JSON)
