"""The handlers of the page and its files."""

from html import escape

from aiohttp import hdrs, web

from ..pg.files import data_folder
from .websocket import websocket

PAGE = web.AppKey("PAGE", tuple[str, str])
"""The title of the page and the currency of prices (ISO 4217); empty texts leave the page as it is."""


async def index(request: web.Request) -> web.StreamResponse:
    """GET /: the page, or the socket when the request is an upgrade."""
    if request.method == "GET" and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return await websocket(request)
    # Without the final slash, the page's relative links would miss the prefix of a host application.
    if not request.path.endswith("/"):
        return web.Response(status=308, headers={hdrs.LOCATION: f"{request.rel_url.raw_path}/"})
    title, currency = request.app[PAGE]
    if not (title or currency):
        return _file("index.html")
    page = (data_folder("client") / "index.html").read_text("utf-8")
    page = page.replace(">Inventario<", f">{escape(title or 'Inventario')}<")
    page = page.replace('lang="es"', f'lang="es" data-currency="{currency}"', 1)
    return web.Response(text=page, content_type="text/html", headers={hdrs.CACHE_CONTROL: "no-cache"})


async def client_file(request: web.Request) -> web.FileResponse:
    """GET /app.js and the other files of client/; GET /docs is docs.html"""
    return _file(request.match_info.get("file", "docs.html"))


def _file(name: str) -> web.FileResponse:
    return web.FileResponse(data_folder("client") / name, headers={hdrs.CACHE_CONTROL: "no-cache"})
