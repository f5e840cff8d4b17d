"""Access control: Host, Origin, CORS, authentication, and the security headers of responses."""

import hmac
import re
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Collection
from functools import lru_cache
from ipaddress import ip_address, ip_network

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ..products.models import NOT_STORED
from .errors import Failure, error_response

Authenticate = Callable[[web.Request], Awaitable[bool | str | None]]
"""A function that returns True or the name of the user if a request is allowed, else False, None or an empty text. It may
raise HTTPUnauthorized or HTTPForbidden instead."""

ACTOR = web.RequestKey("ACTOR", str)
REFUSED = web.RequestKey("REFUSED", int)
"""401 or 403, of a request that a handler of `open_to_all` is given although it is not allowed."""

AGAIN = web.RequestKey("AGAIN", bool)
"""In a copy of the request of an open socket: whether it is allowed is all that is asked. The answer has the status ALLOWED, or
that of REFUSED."""
ALLOWED = 204

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+?)\.?)(?::[0-9]*)?")  # [::1]:3000, localhost.:3000
ORIGIN = re.compile(r"null|https?://[^/\s]+")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A cache in front asks for every answer: one that it kept would be wrong from the next change on.
    "Cache-Control": "no-cache",
    "Vary": "Accept, Accept-Encoding, Origin",
}
PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PUT, PATCH, DELETE",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match",
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
}


def security(
    hosts: Collection[str] | None,
    origins: Collection[str],
    authenticate: Authenticate | None,
    open_to_all: Collection[Handler],
) -> Middleware:
    """Return the middleware that checks every request, and turns every exception into a response.

    `hosts`, `origins`, `authenticate`: as create_app() has them. `open_to_all`: handlers that need no authentication, or check
    `REFUSED in request` themselves.
    """
    if isinstance(hosts, str) or isinstance(origins, str):
        raise TypeError("hosts and origins are collections of names, not one text")
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ValueError(f"origins={origin}: an origin is https://shop.example, or null")
    if authenticate and not hasattr(web.Application, "_handle"):  # else sockets would never be closed
        raise RuntimeError("ask_again() needs Application._handle, which this version of aiohttp does not have")
    is_ours = None if hosts is None else _host_check(hosts)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN, "")
        preflight = request.method == "OPTIONS" and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        response: web.StreamResponse
        try:
            _check_host_and_origin(request, origin, is_ours, origins)
            if preflight and origin in origins:
                response = web.Response(status=204, headers=PREFLIGHT)
            else:
                if authenticate:
                    await _identify(request, authenticate, open_to_all)
                response = await handler(request)
        except Exception as exc:  # noqa: BLE001 - error_response() logs what it does not know
            response = error_response(exc, request)
        if not response.prepared:  # a WebSocket's response was sent at the handshake
            response.headers.update(HEADERS)
            if isinstance(response, web.Response) and response.body is None:
                response.body = b""  # a middleware that compresses every answer would break on None
        return response

    return guard


def _check_host_and_origin(
    request: web.Request, origin: str, is_ours: Callable[[str], bool] | None, origins: Collection[str]
) -> None:
    """Raise Failure for a foreign `Host`, and for a change or a socket of a page of a foreign origin."""
    host = request.headers.get(hdrs.HOST, "")
    # DNS rebinding: if the name of a foreign page resolves to 127.0.0.1, browsers treat the page as same-origin. They always send
    # a Host; checks of load balancers (HTTP/1.0) may send none.
    if is_ours and hdrs.HOST in request.headers and not is_ours(host):
        raise Failure("host_no_permitido")
    foreign = origin and origin not in origins and origin.partition("://")[2].lower() != host.lower()
    if foreign and (request.method not in SAFE_METHODS or hdrs.UPGRADE in request.headers):
        raise Failure("origen_no_permitido")


async def _identify(request: web.Request, authenticate: Authenticate, open_to_all: Collection[Handler]) -> None:
    """Store the name of the user under ACTOR. Raise Failure if the request is not allowed."""
    try:
        user = await user_of(authenticate, request)
        if isinstance(user, str):
            request[ACTOR] = user
        if not user:
            raise Failure("sin_identificar", headers={hdrs.WWW_AUTHENTICATE: 'Bearer realm="inventario"'})
    except (Failure, web.HTTPUnauthorized, web.HTTPForbidden) as exc:
        request[REFUSED] = 403 if isinstance(exc, web.HTTPForbidden) else 401
        if request.match_info.handler not in open_to_all:
            raise


async def user_of(authenticate: Authenticate, request: web.Request) -> bool | str:
    """Return what `authenticate` returns. Raise TypeError if it is no name that PostgreSQL can store."""
    user = await authenticate(request)
    if not isinstance(user, bool | str | None) or (isinstance(user, str) and NOT_STORED.search(user)):
        raise TypeError(f"authenticate returned {user!r}: it has to be the name of a user, True or False")
    return user or False


def _host_check(hosts: Collection[str]) -> Callable[[str], bool]:
    names = {host.lower().removesuffix(".") for host in hosts if "/" not in host}
    networks = [ip_network(host, strict=False) for host in hosts if "/" in host]
    for name in names:
        if re.search("[:*]", name):
            ip_address(name)  # raises ValueError: no request could have this name

    @lru_cache(maxsize=256)
    def is_ours(authority: str) -> bool:
        if not (found := AUTHORITY.fullmatch(authority.lower())):
            return False
        name = found[1] or found[2]
        if name in names or f".{name}".endswith(".localhost"):  # RFC 6761: nobody can register a name in .localhost
            return True
        try:
            return any(ip_address(name) in network for network in networks)
        except ValueError:
            return False

    return is_ours


async def withhold(request: web.Request, response: web.StreamResponse) -> None:
    """Raise an answer to a copy of ask_again() before it is sent: the connection is that of the open socket."""
    if AGAIN in request:
        answer = web.HTTPException()
        answer.set_status(response.status)
        raise answer


async def ask_again(request: web.Request) -> int:
    """Have the request of an open socket checked again, by the middlewares of the host application too. Return 401 or 403, or 0
    if it is still allowed.

    They are given a copy in which nothing is cached: a session is loaded again, so that a user who has signed out is noticed.
    401, 403 and a redirect are a no. Raise what else fails, and RuntimeError for any other answer.
    """
    try:
        again = request.clone()
    except RuntimeError:  # a handshake with a body, which a middleware has read, cannot be asked about again
        return 401
    again.clear()
    again[AGAIN] = True
    try:
        response = await request.match_info.apps[0]._handle(again)  # private in aiohttp 3.14
    except web.HTTPException as exc:
        response = exc
    if response.status not in (ALLOWED, 401, 403) and response.status // 100 != 3:
        raise RuntimeError(f"the host application answered {response.status}")
    return {ALLOWED: 0, 403: 403}.get(response.status, 401)


def bearer(token: str, *, open_reads: bool = False) -> Authenticate:
    """Return an authentication by one shared token, sent as `Authorization: Bearer <token>`. A browser's WebSocket, which
    cannot send that header, offers the subprotocol `bearer.<token in base64url>`. `open_reads`: reading needs none."""
    if not token:
        raise ValueError("the token is empty: everybody could send it")
    expected = token.encode()

    async def authenticate(request: web.Request) -> bool:
        scheme, _, text = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        tokens = [text.strip().encode(errors="surrogateescape")] if scheme.lower() == "bearer" else []
        offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")
        tokens += [_decoded(name.strip()[7:]) for name in offered if name.strip().startswith("bearer.")]
        if not tokens:
            return open_reads and request.method in SAFE_METHODS
        return any(hmac.compare_digest(token, expected) for token in tokens)

    return authenticate


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
