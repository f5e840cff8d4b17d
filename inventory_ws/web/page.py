"""The handlers of the page and its files."""

import gzip
import hashlib
import mimetypes
from functools import lru_cache
from html import escape

from aiohttp import hdrs, web

from ..pg.schema import package_folder
from .answers import IN_GZIP, Gzipped
from .reading import read_tags, wants_gzip
from .security import ACTOR, REFUSED, Authenticate, user_of
from .websocket import websocket

TITLE = web.AppKey("TITLE", str)
"""The title of the page; an empty text leaves the page as it is."""
PAGE_DATA = web.AppKey("PAGE_DATA", dict[str, str])
"""The data attributes of the page: `currency` (ISO 4217), and `login`, the address where users sign in. The page has its `user`
beside them, and `reader` if that user may only read."""

AUTHENTICATE: web.AppKey[Authenticate] = web.AppKey("AUTHENTICATE")

TYPES = mimetypes.MimeTypes()  # those of Python: the registry of a Windows may have text/plain for .js
CLIENT = package_folder("client")
FILES = [file.name for file in CLIENT.iterdir() if file.suffix != ".html"]  # that are served by their name


async def index(request: web.Request) -> web.StreamResponse:
    """GET /: the page, or the socket when the request is an upgrade."""
    if request.method == "GET" and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return await websocket(request)
    # Without the final slash, the page's relative links would miss the prefix of a host application.
    if not request.path.endswith("/"):
        return web.Response(status=308, headers={hdrs.LOCATION: f"./{request.rel_url.raw_name}/"})
    data = request.app[PAGE_DATA] | ({"user": request[ACTOR]} if ACTOR in request else {})
    if await _only_reads(request):
        data["reader"] = ""
    return _file(request, "index.html", request.app[TITLE], data)


async def _only_reads(request: web.Request) -> bool:
    """Return whether a change by whoever asks for the page would be refused: `authenticate` is asked about a POST."""
    authenticate = request.app.get(AUTHENTICATE)
    if not authenticate or REFUSED in request or request.body_exists:
        return False
    try:
        return not await user_of(authenticate, request.clone(method="POST"))
    except (web.HTTPUnauthorized, web.HTTPForbidden):
        return True


async def client_file(request: web.Request) -> web.Response:
    """GET /app.js and the other files of client/; GET /docs is docs.html"""
    return _file(request, request.match_info.get("file", "docs.html"), "", {})


def _file(request: web.Request, name: str, title: str, data: dict[str, str]) -> web.Response:
    body = (CLIENT / name).read_bytes()
    if title:
        body = body.replace(b">Inventario<", f">{escape(title)}<".encode())
    attributes = "".join(f' data-{key}="{escape(value)}"' for key, value in data.items())
    body = body.replace(b'lang="es"', f'lang="es"{attributes}'.encode(), 1)
    etag, compressed = _compressed(body)
    headers = {hdrs.ETAG: f'W/"{etag}"', hdrs.CONTENT_TYPE: TYPES.guess_type(name)[0] or "application/octet-stream"}
    if etag in read_tags(request.if_none_match):
        return web.Response(status=304, headers=headers)
    if wants_gzip(request):
        return Gzipped(body=compressed, headers=headers | IN_GZIP)
    return web.Response(body=body, headers=headers)


@lru_cache(maxsize=64)
def _compressed(body: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(body).hexdigest(), gzip.compress(body, mtime=0)
