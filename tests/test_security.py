from collections.abc import Callable

import pytest
from aiohttp import WSServerHandshakeError
from aiohttp.test_utils import TestClient

from inventory_ws import create_app
from inventory_ws.security import LOOPBACK

from .conftest import PRODUCT, create, error

SHOP = "https://shop.example"


@pytest.fixture
async def guarded(dsn: str, aiohttp_client: Callable) -> TestClient:
    """The service as the command line starts it, with one page of another site allowed."""
    return await aiohttp_client(create_app(dsn=dsn, hosts=LOOPBACK | {"tienda.lan"}, origins={SHOP, "null"}))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3000", "127.0.0.1:1", "[::1]:3000", "tienda.lan"])
async def test_host_of_ours_is_answered(guarded: TestClient, host: str) -> None:
    assert (await guarded.get("/api/productos", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.2", "", "[::1", "localhost@evil.example"]
)
@pytest.mark.parametrize("path", ["/", "/api/productos", "/ws", "/nada"])
async def test_host_of_somebody_else_is_refused(guarded: TestClient, host: str, path: str) -> None:
    await error(await guarded.get(path, headers={"Host": host}), 421)


async def test_host_is_the_business_of_a_host_app(client: TestClient) -> None:
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
async def test_origin_of_somebody_else_may_not_write_nor_open_a_socket(guarded: TestClient, origin: str) -> None:
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


async def test_origin_of_the_page_itself_may_write_and_open_a_socket(guarded: TestClient) -> None:
    headers = {"Host": "localhost:3000", "Origin": "http://localhost:3000"}
    assert (await guarded.post("/api/productos", json=PRODUCT, headers=headers)).status == 201
    await (await guarded.ws_connect("/", headers=headers)).close()


@pytest.mark.parametrize("origin", [SHOP, "null"])
async def test_origin_that_is_allowed_may_write_and_read_the_answer(guarded: TestClient, origin: str) -> None:
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


async def test_preflight_of_somebody_else_is_not_answered(guarded: TestClient) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    resp = await guarded.options("/api/productos", headers=headers)
    assert "Access-Control-Allow-Origin" not in resp.headers
    await error(resp, 405)


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/productos", "/nada"])
async def test_answer_carries_the_headers_that_keep_the_page_to_itself(client: TestClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
