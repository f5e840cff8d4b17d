"""Who may speak to a server on localhost: Host, Origin, CORS, and the headers that keep the page to itself."""

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from .errors import Failure

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PUT, PATCH, DELETE",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, If-Match, If-None-Match",
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
}


def security(hosts: Collection[str] | None, origins: Collection[str]) -> Middleware:
    """The guard before every handler. `hosts`: names this server goes by (None: not checked); `origins`: pages of
    other sites that may use it, as browsers write them (`https://shop.example`, or `null` for a page from a file)."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN, "")
        response = _refusal(request, origin)
        if response is None and origin in origins and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            response = web.Response(status=204, headers=PREFLIGHT)
        if response is None:
            response = await handler(request)
        if not response.prepared:  # a socket's answer has gone out long ago
            response.headers.update(HEADERS)
            if origins:
                response.headers[hdrs.VARY] = hdrs.ORIGIN
            if origin in origins:
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
                response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = "ETag, Link, Location, Retry-After"
        return response

    def _refusal(request: web.Request, origin: str) -> web.StreamResponse | None:
        host = request.headers.get(hdrs.HOST, "")
        # A page of an attacker whose name resolves to 127.0.0.1 is same-origin to the browser; its Host tells.
        if hosts is not None and _name(host) not in hosts:
            return Failure(421, "Este servidor no atiende ese nombre (Host); véase --hosts").response
        guarded = request.method not in SAFE_METHODS or hdrs.UPGRADE in request.headers
        if guarded and origin and origin not in origins and origin.partition("://")[2].lower() != host.lower():
            return Failure(403, "Ese origen (Origin) no está permitido; véase --origins").response
        return None

    return guard


def _name(authority: str) -> str | None:
    """The name in `name:port` or `[::1]:port`, in lower case; None where it is neither."""
    try:
        return urlsplit(f"//{authority}").hostname
    except ValueError:
        return None
