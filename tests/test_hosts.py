"""In hosts as people build them: beside the companions of aiohttp, behind their middlewares, and with their users."""

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import aiohttp_cors
import aiohttp_debugtoolbar
import aiohttp_middlewares
import aiohttp_prometheus_exporter.handler
import aiohttp_prometheus_exporter.middleware
import aiohttp_remotes
import aiohttp_security
import aiohttp_session
import aiohttp_sse
import aiojobs.aiohttp
import psycopg2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from psycopg2.extensions import make_dsn

import inventory_ws

from .conftest import PRODUCT, error, receive
from .test_embedding import HERE
from .test_main import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")  # of companions

UNDER = "/inventario"
Host = Callable[[web.Application, web.Application], None]
HOSTS: dict[str, Host] = {}


def host(build: Host) -> Host:
    """Registers a host: a function that is given its application, with a route of its own, and the inventory to put into it."""
    HOSTS[build.__name__] = build
    return build


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="the shop")


async def lives_in(client: TestClient) -> None:
    """Sees that everything works in the host: page, changes, list, import, refusal, and a socket that hears it in order."""
    async with client.get("/") as resp:
        assert "the shop" in await resp.text()
    async with client.get(f"{UNDER}/") as resp:
        assert "<title>Inventario</title>" in await resp.text()
    async with client.ws_connect(f"{UNDER}/ws") as ws:
        await receive(ws, 1)
        async with client.post(f"{UNDER}/api/productos", json=PRODUCT) as resp:
            assert resp.status == 201, await resp.text()
            product = (await resp.json())["data"]
        one = f"{UNDER}/api/productos/{product['id']}"
        async with client.patch(one, json={"stock": 4}) as resp:
            assert resp.status == 200, await resp.text()
        async with client.post(f"{one}/stock", json={"delta": -5}) as resp:
            assert resp.status == 409, await resp.text()
            assert (await resp.json())["message"] == "No hay existencias suficientes"
        file = {"data": "nombre;precio\nMate;2\nPisco;3\n", "headers": {"Content-Type": "text/csv"}}
        async with client.post(f"{UNDER}/api/productos", **file) as resp:
            assert resp.status == 200, await resp.text()
        async with client.get(f"{UNDER}/api/productos") as resp:
            assert len((await resp.json())["data"]) == 3
        async with client.get(one) as resp:
            etag = resp.headers["ETag"]
        async with client.get(one, headers={"If-None-Match": etag}) as resp:
            assert resp.status == 304
        async with client.get(UNDER, allow_redirects=False) as resp:
            assert resp.status == 308
        async with client.delete(one) as resp:
            assert resp.status == 200, await resp.text()
        heard = await receive(ws, 5)
        first = heard[0]["id"]
        assert [event["id"] for event in heard] == list(range(first, first + 5))
        assert [event["type"].removeprefix("PRODUCT_") for event in heard] == [
            *("CREATED", "UPDATED", "CREATED", "CREATED", "DELETED")
        ]


class ServerStorage(aiohttp_session.AbstractStorage):
    """Sessions on the server, as RedisStorage keeps them; the cookie is the key of one."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, str] = {}

    async def load_session(self, request: web.Request) -> aiohttp_session.Session:
        key = self.load_cookie(request)
        known = key in self.stored
        return aiohttp_session.Session(
            key if known else None, data=json.loads(self.stored[key]) if known else None, new=not known
        )

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: aiohttp_session.Session
    ) -> None:
        key = session.identity or str(len(self.stored))
        self.save_cookie(response, "" if session.empty else key)
        self.stored[key] = json.dumps(self._get_session_data(session))


SESSIONS: dict[str, Callable[[], aiohttp_session.AbstractStorage]] = {
    "cookie": aiohttp_session.SimpleCookieStorage,
    "encrypted": lambda: EncryptedCookieStorage(b"k" * 32),
    "server": ServerStorage,
}


def with_sessions(app: web.Application, storage: aiohttp_session.AbstractStorage) -> None:
    async def enter(request: web.Request) -> web.Response:
        (await aiohttp_session.new_session(request))["user"] = "ana"
        return web.Response()

    async def leave(request: web.Request) -> web.Response:
        (await aiohttp_session.get_session(request)).invalidate()
        return web.Response()

    app.middlewares.append(aiohttp_session.session_middleware(storage))
    app.add_routes([web.post("/enter", enter), web.post("/leave", leave)])


async def user_of_the_session(request: web.Request) -> str | None:
    return (await aiohttp_session.get_session(request)).get("user")


class Everybody(aiohttp_security.AbstractAuthorizationPolicy):
    async def authorized_userid(self, identity: str) -> str | None:
        return identity

    async def permits(self, identity: str | None, permission: str, context: Any = None) -> bool:
        return identity is not None


def with_security(app: web.Application, storage: aiohttp_session.AbstractStorage) -> None:
    async def enter(request: web.Request) -> web.Response:
        response = web.Response()
        await aiohttp_security.remember(request, response, "ana")
        return response

    async def leave(request: web.Request) -> web.Response:
        response = web.Response()
        await aiohttp_security.forget(request, response)
        return response

    app.middlewares.append(aiohttp_session.session_middleware(storage))
    aiohttp_security.setup(app, aiohttp_security.SessionIdentityPolicy(), Everybody())
    app.add_routes([web.post("/enter", enter), web.post("/leave", leave)])


Authenticated = tuple[Callable[..., None], Callable[[web.Request], Awaitable[Any]]]
USERS: dict[str, Authenticated] = {
    "session": (with_sessions, user_of_the_session),
    "userid": (with_security, aiohttp_security.authorized_userid),
    "check": (with_security, aiohttp_security.check_authorized),  # it raises HTTPUnauthorized
}


@pytest.mark.parametrize(
    ("sessions", "users"),
    [("cookie", "session"), ("encrypted", "userid"), ("server", "session"), ("server", "userid"), ("server", "check")],
)
async def test_socket_of_a_user_who_signs_out_is_closed(
    dsn: str, aiohttp_client: Callable, caplog: pytest.LogCaptureFixture, sessions: str, users: str
) -> None:
    app, asked = web.Application(), 0
    prepare, authenticate = USERS[users]
    out: set[str] = set()

    async def counted(request: web.Request) -> Any:
        nonlocal asked
        asked += 1
        user = await authenticate(request)
        return user not in out and user

    prepare(app, SESSIONS[sessions]())
    app.add_subapp(UNDER, inventory_ws.create_app(dsn=dsn, authenticate=counted, authenticate_every=0.05))
    client = await aiohttp_client(app)
    async with client.get(f"{UNDER}/api/productos") as resp:
        assert resp.status == 401
    await client.post("/enter")
    async with client.ws_connect(f"{UNDER}/ws") as ws:
        await receive(ws, 1)
        asked = 0
        async with asyncio.timeout(5):
            while asked < 3:
                await asyncio.sleep(0.01)
        async with client.post(f"{UNDER}/api/productos", json=PRODUCT) as resp:
            assert resp.status == 201, await resp.text()
        assert (await ws.receive_json(timeout=5))["actor"] == "ana"
        await client.post("/leave")
        if sessions != "server":  # the cookie is the session, and the handshake's goes on being valid
            asked = 0
            async with asyncio.timeout(5):
                while asked < 3:
                    await asyncio.sleep(0.01)
            assert not ws.closed
            out.add("ana")  # the remedy of the README
        assert (await ws.receive(timeout=5)).data == 4401
    async with client.get(f"{UNDER}/api/productos") as resp:
        assert resp.status == 401
    assert "Traceback" not in caplog.text


async def test_page_and_socket_of_a_user_who_is_refused_by_an_exception_are_those_of_any_other(
    dsn: str, aiohttp_client: Callable
) -> None:
    """A browser cannot see why a handshake was refused: its page would try again for ever."""
    refusal: type[web.HTTPException]

    async def authenticate(request: web.Request) -> str:
        raise refusal(headers={"WWW-Authenticate": "Negotiate"})

    client = await aiohttp_client(inventory_ws.create_app(dsn=dsn, authenticate=authenticate))
    for refusal in (web.HTTPUnauthorized, web.HTTPForbidden):
        async with client.get("/") as resp:
            assert resp.status == 200
        async with client.ws_connect("/ws") as ws:
            assert (await ws.receive(timeout=5)).data == 4000 + refusal.status_code
        async with client.get("/api/productos") as resp:
            await error(resp, refusal.status_code)
            assert resp.headers["WWW-Authenticate"] == "Negotiate"


async def test_user_that_is_no_name_is_refused_at_the_first_request(
    dsn: str, aiohttp_client: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    user: Any

    async def authenticate(request: web.Request) -> Any:
        return user

    client = await aiohttp_client(inventory_ws.create_app(dsn=dsn, authenticate=authenticate))
    for user in (object(), 7, 0, b"ana", ["ana"], "Jos\udce9", "ana\0"):
        async with client.get("/") as resp:
            await error(resp, 500)
        assert f"authenticate returned {user!r}: it has to be the name of a user" in caplog.text


@host
def plain(app: web.Application, inventory: web.Application) -> None:
    app.add_subapp(UNDER, inventory)


@host
def whose_middleware_reads_every_body(app: web.Application, inventory: web.Application) -> None:
    @web.middleware
    async def audit(request: web.Request, handler: Any) -> web.StreamResponse:
        await request.read()
        return await handler(request)

    app.middlewares.append(audit)
    app.add_subapp(UNDER, inventory)


@host
def whose_middleware_compresses_every_answer(app: web.Application, inventory: web.Application) -> None:
    @web.middleware
    async def compressed(request: web.Request, handler: Any) -> web.StreamResponse:
        response = await handler(request)
        if not response.prepared:
            response.enable_compression()
        return response

    app.middlewares.append(compressed)
    app.add_subapp(UNDER, inventory)


@host
def with_remotes(app: web.Application, inventory: web.Application) -> None:
    app.middlewares.append(aiohttp_remotes.XForwardedRelaxed().middleware)
    app.add_subapp(UNDER, inventory)


@host
def with_middlewares(app: web.Application, inventory: web.Application) -> None:
    errors = aiohttp_middlewares.error_middleware()
    app.middlewares.extend([aiohttp_middlewares.cors_middleware(allow_all=True), errors])
    app.add_subapp(UNDER, inventory)


@host
def with_sse(app: web.Application, inventory: web.Application) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        async with aiohttp_sse.sse_response(request) as response:
            async for event in inventory_ws.watch(inventory):
                await response.send(event.type)
        return response

    app.add_routes([web.get("/stream", stream)])
    app.add_subapp(UNDER, inventory)


@host
def with_a_job(app: web.Application, inventory: web.Application) -> None:
    async def count() -> None:
        async for event in inventory_ws.watch(inventory):
            assert event.id

    async def start(app: web.Application) -> None:
        await aiojobs.aiohttp.get_scheduler_from_app(app).spawn(count())

    aiojobs.aiohttp.setup(app)
    app.add_subapp(UNDER, inventory)
    app.on_startup.append(start)


@host
def with_a_debug_toolbar(app: web.Application, inventory: web.Application) -> None:
    aiohttp_debugtoolbar.setup(app)
    app.add_subapp(UNDER, inventory)


@host
def with_metrics(app: web.Application, inventory: web.Application) -> None:
    app.middlewares.append(aiohttp_prometheus_exporter.middleware.prometheus_middleware_factory())
    app.add_routes([web.get("/metrics", aiohttp_prometheus_exporter.handler.metrics())])
    app.add_subapp(UNDER, inventory)


@pytest.mark.parametrize("build", HOSTS.values(), ids=HOSTS)
async def test_inventory_lives_in_the_host(
    dsn: str, aiohttp_client: Callable, caplog: pytest.LogCaptureFixture, build: Host
) -> None:
    app = web.Application()
    app.add_routes([web.get("/", hello)])
    build(app, inventory_ws.create_app(dsn=dsn))
    client = await aiohttp_client(app)
    await lives_in(client)
    await client.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_refusal_of_a_large_body_tells_the_limit_that_the_host_has_set(
    dsn: str, aiohttp_client: Callable
) -> None:
    app = web.Application(client_max_size=2048)
    app.add_subapp(UNDER, inventory_ws.create_app(dsn=dsn))
    client = await aiohttp_client(app)
    async with client.post(f"{UNDER}/api/productos", json={**PRODUCT, "descripcion": "x" * 3000}) as resp:
        assert (await error(resp, 413))["message"] == "El cuerpo pasa de 2 KiB"
    file = {"data": f"nombre;precio;descripcion\nMate;2;{'x' * 3000}\n", "headers": {"Content-Type": "text/csv"}}
    async with client.post(f"{UNDER}/api/productos", **file) as resp:
        assert resp.status == 200, await resp.text()
    file["data"] = io.BytesIO(file["data"].encode() * 6000)
    async with client.post(f"{UNDER}/api/productos", **file) as resp:
        assert (await error(resp, 413))["message"] == "El cuerpo pasa de 16 MiB"


SHOP = "https://shop.example"


async def test_cors_of_the_host_and_of_the_inventory_agree(dsn: str, aiohttp_client: Callable) -> None:
    """aiohttp_cors sets its headers when an answer is sent, and fails if they are there already."""
    app = web.Application()
    app.add_subapp(UNDER, inventory_ws.create_app(dsn=dsn, origins={SHOP}))
    allowed = aiohttp_cors.ResourceOptions(expose_headers="*", allow_headers="*", allow_methods="*")
    cors = aiohttp_cors.setup(app, defaults={SHOP: allowed})
    for route in list(app.router.routes()):
        cors.add(route)
    client = await aiohttp_client(app)
    preflight = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
    async with client.options(f"{UNDER}/api/productos", headers=preflight) as resp:
        assert resp.status in (200, 204), await resp.text()
        assert resp.headers.getall("Access-Control-Allow-Origin") == [SHOP]
    async with client.post(f"{UNDER}/api/productos", json=PRODUCT, headers={"Origin": SHOP}) as resp:
        assert resp.status == 201, await resp.text()
        assert resp.headers.getall("Access-Control-Allow-Origin") == [SHOP]
        assert "Location" in resp.headers["Access-Control-Expose-Headers"]
    await error(
        await client.post(f"{UNDER}/api/productos", json=PRODUCT, headers={"Origin": "https://evil.example"}), 403
    )


async def test_search_path_of_the_dsn_is_the_schema_of_the_inventory(empty_dsn: str, aiohttp_client: Callable) -> None:
    dsn = make_dsn(empty_dsn, options="-csearch_path=shop")
    with pytest.raises(PermissionError, match="el esquema de search_path no existe"):
        await web.AppRunner(inventory_ws.create_app(dsn=dsn)).setup()
    with closing(psycopg2.connect(empty_dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("CREATE SCHEMA shop")
    app = web.Application()
    app.add_routes([web.get("/", hello)])
    plain(app, inventory_ws.create_app(dsn=dsn))
    await lives_in(await aiohttp_client(app))
    with closing(psycopg2.connect(empty_dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*), to_regclass('public.productos') FROM shop.productos")
        assert cursor.fetchall() == [(2, None)]


def test_names_of_prepared_statements_are_the_same_in_every_process() -> None:
    """Tools that trace statements group by them."""
    code = "from inventory_ws.pg.connection import _statement; print(_statement('SELECT 1')[0])"
    names = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**HERE, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(names) == 1


@pytest.mark.slow
def test_tests_of_the_example_host_pass(dsn: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "guia" / "tienda")]
    env = {**HERE, "DATABASE_URL": dsn}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
