"""The handlers of the page and its files."""

from functools import cache
from html import escape
from pathlib import Path

from aiohttp import hdrs, web

from .websocket import websocket

TITLE = web.AppKey("TITLE", str)
"""The title of the page; an empty text leaves the page as it is."""
PAGE_DATA = web.AppKey("PAGE_DATA", dict[str, str])
"""The data attributes of the page: `currency` (ISO 4217), and `login`, the address where users sign in."""

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
        return web.Response(status=308, headers={hdrs.LOCATION: f"{request.rel_url.raw_path}/"})
    title, data = request.app[TITLE], request.app[PAGE_DATA]
    if not (title or data):
        return _file("index.html")
    page = (client_folder() / "index.html").read_text("utf-8")
    page = page.replace(">Inventario<", f">{escape(title or 'Inventario')}<")
    attributes = "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())
    page = page.replace('lang="es"', f'lang="es"{attributes}', 1)
    return web.Response(text=page, content_type="text/html", headers={hdrs.CACHE_CONTROL: "no-cache"})


async def client_file(request: web.Request) -> web.FileResponse:
    """GET /app.js and the other files of client/; GET /docs is docs.html"""
    return _file(request.match_info.get("file", "docs.html"))


def _file(name: str) -> web.FileResponse:
    return web.FileResponse(client_folder() / name, headers={hdrs.CACHE_CONTROL: "no-cache"})
