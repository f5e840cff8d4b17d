import asyncio
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable

import pytest
from aiohttp import WSServerHandshakeError, web
from aiohttp.test_utils import TestClient

from inventory_ws import create_app
from inventory_ws.web.security import LOOPBACK, bearer

from .conftest import PRODUCT, create, error

SHOP = "https://shop.example"


@pytest.fixture
async def guarded(dsn: str, aiohttp_client: Callable) -> TestClient:
    """The service as the command line starts it, with one page of another site allowed."""
    return await aiohttp_client(create_app(dsn=dsn, hosts=LOOPBACK | {"tienda.lan"}, origins={SHOP, "null"}))


NAMES = ["localhost", "LOCALHOST:3000", "localhost.", "localhost.:3000", "tienda.LOCALHOST:3000", "a.b.localhost."]


@pytest.mark.parametrize("host", [*NAMES, "127.0.0.1:1", "127.0.0.1.", "[::1]:3000", "tienda.lan", "tienda.lan.:80"])
async def test_own_host_is_accepted(guarded: TestClient, host: str) -> None:
    assert (await guarded.get("/api/productos", headers={"Host": host})).status == 200


STRANGE = [
    "",
    "[::1",
    "::1",
    ":3000",
    ".",
    "localhost@evil.example",
    "localhost..",
    "localhost:80:80",
    "[::1%25lo]:3000",
]
THEIRS = ["evil.example", "localhost.evil.example", "evil-localhost", "tienda.lan.evil.example.", "localhost.lan"]
LITERAL = ["127.0.0.2", "0.0.0.0:3000", "192.168.1.10:3000", "[fd00::2]:3000", "[::]", "[::ffff:127.0.0.1]:3000"]
SHORT = ["127.1", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "2130706433"]  # which browsers write as 127.0.0.1


@pytest.mark.parametrize("host", [*STRANGE, *THEIRS, *LITERAL, *SHORT])
@pytest.mark.parametrize("path", ["/", "/api/productos", "/ws", "/nada"])
async def test_foreign_host_is_refused(guarded: TestClient, host: str, path: str) -> None:
    await error(await guarded.get(path, headers={"Host": host}), 421)


@pytest.mark.parametrize(
    ("request_line", "origin", "status"),
    [("GET /api/salud", "", 200), ("DELETE /api/productos/1", "Origin: http://evil.example\r\n", 403)],
)
async def test_check_of_a_load_balancer_needs_no_host(
    guarded: TestClient, request_line: str, origin: str, status: int
) -> None:
    """HAProxy's `option httpchk` sends none; browsers always do."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    writer.write(f"{request_line} HTTP/1.0\r\n{origin}\r\n".encode())
    assert (await reader.readline()).split()[1] == b"%d" % status
    writer.close()


async def test_network_in_hosts_admits_its_addresses_and_no_name(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, hosts={"10.0.0.0/8", "192.168.1.10/24", "FD00::/8"}))

    async def statuses(hosts: list[str]) -> set[int]:
        return {(await client.get("/", headers={"Host": host})).status for host in hosts}

    assert await statuses(["10.1.2.3", "10.1.2.3.:3000", "192.168.1.77", "[fd00::2]:3000", "[FD00:0::2]", *NAMES]) == {
        200
    }
    elsewhere = ["11.0.0.1", "192.168.2.1", "[fe80::1]", "[::ffff:10.1.2.3]", "10.0.0.0/8", "10", "127.0.0.1", "[::1]"]
    names = ["10.1.2.3.evil.example", "10.1.2.3.4", "0xa.1.2.3", "10.1", "010.1.2.3", "10.1.2.03", "167838211"]
    assert await statuses([*elsewhere, *names, *STRANGE, *THEIRS]) == {421}


async def test_all_networks_admit_every_address_and_no_name(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, hosts={"0.0.0.0/0", "::/0"}))
    for host in (*LITERAL, "[::1]:3000", "[fe80::1]:3000", "255.255.255.255"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert (await client.post("/api/productos", json=PRODUCT, headers=headers)).status == 201, host
        headers["Origin"] = "http://192.168.1.66:3000"
        await error(await client.post("/api/productos", json=PRODUCT, headers=headers), 403)
    for host in (*STRANGE, *THEIRS, *SHORT, "192.168.1.10.evil.example"):
        await error(await client.get("/", headers={"Host": host}), 421)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("hosts", wrong) for wrong in ("10.0.0.0/33", "shop.example:8080", "https://shop.example", "*.example")),
        *(("origins", wrong) for wrong in ("shop.example", "https://shop.example/", "*")),
    ],
)
def test_name_that_no_request_could_have_is_refused_at_once(name: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wrong)):
        create_app(dsn="", **{name: {wrong}})


def test_empty_token_is_refused_at_once() -> None:
    """As that of a variable that is not set: a header with nothing in it would have been enough."""
    with pytest.raises(ValueError, match="token"):
        bearer("")


async def test_host_is_not_checked_inside_a_host_application(client: TestClient) -> None:
    assert (await client.get("/api/productos", headers={"Host": "any.example"})).status == 200


FOREIGN = [
    "https://evil.example",
    "http://localhost:1",
    "https://shop.example.evil",
    "http://shop.example",
    "x",
    "http://[",
]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_origin_may_not_write_or_open_a_socket(guarded: TestClient, origin: str) -> None:
    await create(guarded)
    headers = {"Origin": origin}
    await error(await guarded.post("/api/productos", json=PRODUCT, headers=headers), 403)
    await error(await guarded.put("/api/productos/1", json=PRODUCT, headers=headers), 403)
    await error(await guarded.patch("/api/productos/1", json=PRODUCT, headers=headers), 403)
    await error(await guarded.delete("/api/productos/1", headers=headers), 403)
    await error(await guarded.post("/api/productos/1/stock", json={"delta": 1}, headers=headers), 403)
    for path in ("/", "/ws"):
        with pytest.raises(WSServerHandshakeError) as caught:
            await guarded.ws_connect(path, headers=headers)
        assert caught.value.status == 403
    resp = await guarded.get("/api/productos", headers=headers)
    assert "Access-Control-Allow-Origin" not in resp.headers
    assert len((await resp.json())["data"]) == 1


async def test_own_origin_may_write_and_open_a_socket(guarded: TestClient) -> None:
    headers = {"Host": "localhost:3000", "Origin": "http://localhost:3000"}
    assert (await guarded.post("/api/productos", json=PRODUCT, headers=headers)).status == 201
    await (await guarded.ws_connect("/", headers=headers)).close()


@pytest.mark.parametrize("origin", [SHOP, "null"])
async def test_allowed_origin_may_write_and_read_the_answer(guarded: TestClient, origin: str) -> None:
    headers = {"Origin": origin}
    preflight = await guarded.options(
        "/api/productos",
        headers={**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"},
    )
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in preflight.headers["Access-Control-Allow-Headers"]
    created = await guarded.post("/api/productos", json=PRODUCT, headers=headers)
    assert created.status == 201
    assert created.headers["Access-Control-Allow-Origin"] == origin
    refused = await guarded.post("/api/productos", json={}, headers=headers)
    assert refused.status == 400
    assert refused.headers["Access-Control-Allow-Origin"] == origin
    await (await guarded.ws_connect("/", headers=headers)).close()


async def test_foreign_preflight_is_not_answered(guarded: TestClient) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    resp = await guarded.options("/api/productos", headers=headers)
    assert "Access-Control-Allow-Origin" not in resp.headers
    await error(resp, 405)


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/productos", "/nada"])
async def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_text_instead_of_a_collection_of_names_is_refused(dsn: str) -> None:
    """`"shop" in "https://shop.example"` would be true."""
    for wrong in ({"origins": "https://shop.example"}, {"hosts": "localhost,127.0.0.1"}):
        with pytest.raises(TypeError):
            create_app(dsn=dsn, **wrong)


async def test_host_is_compared_without_case_and_trailing_dot(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, hosts={"Tienda.LAN", "aula."}))
    for host in ("tienda.lan:3000", "aula", "Aula.:3000"):
        assert (await client.get("/", headers={"Host": host})).status == 200
    for host in ("evil@tienda.lan", "tienda.lan/evil", "tienda.lan:80:80"):
        await error(await client.get("/", headers={"Host": host}), 421)


async def test_preflight_header_does_not_exempt_a_write(guarded: TestClient) -> None:
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
    assert (await guarded.post("/api/productos", json=PRODUCT, headers=headers)).status == 201


TOKEN = "clave ñ/+ secreta"


@pytest.fixture
async def locked(dsn: str, aiohttp_client: Callable) -> TestClient:
    """The service with a token."""
    return await aiohttp_client(create_app(dsn=dsn, authenticate=bearer(TOKEN), origins={SHOP}))


def subprotocol(token: str) -> str:
    return "bearer." + urlsafe_b64encode(token.encode()).decode().rstrip("=")


REQUESTS = [
    ("GET", "/api/productos"),
    ("POST", "/api/productos"),
    ("GET", "/api/productos/1"),
    ("PUT", "/api/productos/1"),
    ("PATCH", "/api/productos/1"),
    ("DELETE", "/api/productos/1"),
    ("POST", "/api/productos/1/restaurar"),
    ("POST", "/api/productos/1/stock"),
    ("GET", "/api/eventos"),
    ("GET", "/nada"),
]


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "Basic " + TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"])
async def test_wrong_token_is_401_on_every_protected_route(
    locked: TestClient, psql: Callable, given: str | None
) -> None:
    headers = {"Authorization": given} if given else {}
    for method, path in REQUESTS:
        for upgrade in ({}, {"Upgrade": "websocket", "Connection": "Upgrade"}):
            resp = await locked.request(method, path, json=PRODUCT, headers={**headers, **upgrade})
            await error(resp, 401)
            assert resp.headers["WWW-Authenticate"].startswith("Bearer")
    assert psql("SELECT * FROM productos") == []


async def test_right_token_is_accepted(locked: TestClient) -> None:
    headers = {"Authorization": f"bearer {TOKEN}"}
    assert (await locked.post("/api/productos", json=PRODUCT, headers=headers)).status == 201
    assert (await locked.get("/api/productos", headers=headers)).status == 200
    ws = await locked.ws_connect("/ws", headers=headers)
    assert (await ws.receive_json(timeout=5))["type"] == "CONNECTION_ESTABLISHED"


async def test_page_and_health_need_no_token(locked: TestClient) -> None:
    for path in ("/", "/app.js", "/api/salud", "/api/vivo", "/docs", "/openapi.json", "/asyncapi.json"):
        assert (await locked.get(path)).status == 200, path


async def test_socket_sends_its_token_as_a_subprotocol_and_it_is_not_echoed(locked: TestClient) -> None:
    ws = await locked.ws_connect("/ws", protocols=("inventario.v1", subprotocol(TOKEN)))
    assert ws.protocol == "inventario.v1"
    assert TOKEN not in str(ws._response.headers)
    assert (await ws.receive_json(timeout=5))["type"] == "CONNECTION_ESTABLISHED"


async def test_reads_may_be_open_while_changes_need_the_token(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, authenticate=bearer(TOKEN, open_reads=True)))
    ours, other = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": "Bearer otra"}
    basic = {"Authorization": "Basic YTpi"}  # a proxy's
    for headers, status in (({}, 401), (basic, 401), (other, 401), (ours, 201)):
        resp = await client.post("/api/productos", json=PRODUCT, headers=headers)
        assert resp.status == status
        assert (resp.headers.get("WWW-Authenticate") is None) == (status == 201)
    for headers, status in (({}, 200), (basic, 200), (other, 401), (ours, 200)):
        assert (await client.get("/api/productos", headers=headers)).status == status
        page = await (await client.get("/", headers=headers)).text()
        assert ("data-reader" in page) == (status == 200 and headers is not ours)
    for protocols, heard in (((), "CONNECTION_ESTABLISHED"), (("inventario.v1", subprotocol("otra")), None)):
        async with client.ws_connect("/ws", protocols=protocols) as ws:
            message = await ws.receive(timeout=5)
            assert (message.json()["type"] if heard else message.data) == (heard or 4401)


@pytest.mark.parametrize("protocols", [(), ("inventario.v1",), ("inventario.v1", subprotocol("wrong"), "bearer.%%")])
async def test_socket_without_the_token_is_closed_with_4401_after_the_handshake(
    locked: TestClient, protocols: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/", "/ws"):
        ws = await locked.ws_connect(path, protocols=protocols)
        await ws.receive(timeout=5)
        assert ws.close_code == 4401


async def test_token_without_the_protocol_is_refused_and_not_logged(
    locked: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(WSServerHandshakeError):
        await locked.ws_connect("/ws", protocols=(subprotocol(TOKEN),))
    assert subprotocol(TOKEN) not in caplog.text


async def test_authenticate_of_a_host_application_replaces_the_token(dsn: str, aiohttp_client: Callable) -> None:
    async def check(request: web.Request) -> bool:
        return request.headers.get("X-User") == "juan"

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=check))
    await error(await client.get("/api/productos"), 401)
    assert (await client.get("/api/productos", headers={"X-User": "juan"})).status == 200
