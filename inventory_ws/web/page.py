"""The handlers of the page and its files."""

from functools import cache
from html import escape
from pathlib import Path

from aiohttp import hdrs, web

from .reading import read_tags
from .websocket import websocket

TITLE_AND_CURRENCY = web.AppKey("TITLE_AND_CURRENCY", tuple[str, str])
"""The title of the page and the currency of its prices (ISO 4217); empty texts leave the page as it is."""

PACKAGE = Path(__file__).parents[1]


@cache
def client_folder() -> Path:
    """Return the path of client/: inside the package in a wheel, beside it in a checkout."""
    return next(folder for folder in (PACKAGE / "client", PACKAGE.parent / "client") if folder.is_dir())


def file_names() -> list[str]:
    """Return the names of the files that are served by their name: all of client/ but the pages."""
    return [file.name for file in client_folder().iterdir() if file.suffix != ".html"]


async def index(request: web.Request) -> web.StreamResponse:
    """GET /: the page, or the socket when the request is an upgrade."""
    if request.method == "GET" and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return await websocket(request)
    # Without the final slash, the page's relative links would miss the prefix of a host application.
    if not request.path.endswith("/"):
        return web.Response(status=308, headers={hdrs.LOCATION: f"./{request.rel_url.raw_name}/"})
    title, currency = request.app[TITLE_AND_CURRENCY]
    if not (title or currency):
        return _file(request, "index.html")
    page = (client_folder() / "index.html").read_text("utf-8")
    page = page.replace(">Inventario<", f">{escape(title or 'Inventario')}<")
    page = page.replace('lang="es"', f'lang="es" data-currency="{currency}"', 1)
    return web.Response(text=page, content_type="text/html")


async def client_file(request: web.Request) -> web.StreamResponse:
    """GET /app.js and the other files of client/; GET /docs is docs.html"""
    return _file(request, request.match_info.get("file", "docs.html"))


def _file(request: web.Request, name: str) -> web.StreamResponse:
    path = client_folder() / name
    stat = path.stat()
    tag = f"{stat.st_mtime_ns:x}-{stat.st_size:x}"  # as FileResponse has it, which does not recognise it with a proxy's mark
    if tag in read_tags(request.if_none_match):
        return web.Response(status=304, headers={hdrs.ETAG: f'"{tag}"'})
    return web.FileResponse(path)
