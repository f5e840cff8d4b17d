"""Pruebas de la tienda con pytest-aiohttp (`asyncio_mode = auto`): cada una, con una aplicación nueva."""

import json
import os
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient
from tienda import shop

pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")  # de aiohttp_session
PRODUCT = {"nombre": "Mate", "precio": 2, "stock": 5}


@pytest.fixture
async def client(aiohttp_client: Callable) -> TestClient:
    return await aiohttp_client(shop(os.environ["DATABASE_URL"], authenticate_every=0.1))


async def enter(client: TestClient, password: str = "secreta", back: str = "/inventario/") -> str:
    form = {"user": "ana", "password": password}
    async with client.post("/entrar", params={"next": back}, data=form, allow_redirects=False) as resp:
        return resp.headers.get("Location", "")


async def test_only_who_has_entered_sees_the_products(client: TestClient) -> None:
    async with client.get("/inventario/api/productos") as resp:
        assert resp.status == 401
    async with client.get("/inventario/") as resp:
        assert 'data-login="/entrar"' in await resp.text()
    assert await enter(client, "mal") == ""
    assert await enter(client, back="//evil.example/") == "/"
    assert await enter(client) == "/inventario/"
    async with client.get("/inventario/api/productos") as resp:
        assert resp.status == 200


async def test_change_carries_the_name_and_low_stock_is_told(client: TestClient) -> None:
    await enter(client)
    async with client.get("/avisos") as told:
        await told.content.readuntil(b"\n\n")
        async with client.post("/inventario/api/productos", json=PRODUCT) as resp:
            product = (await resp.json())["data"]
        async with client.post(f"/inventario/api/productos/{product['id']}/stock", json={"delta": -4}) as resp:
            assert resp.status == 200
        low: list[list[object]] = []
        while ["Mate", 1] not in low:
            low = json.loads((await told.content.readuntil(b"\n\n")).removeprefix(b"data: "))
    async with client.get(f"/inventario/api/eventos?producto={product['id']}") as resp:
        assert {event["actor"] for event in (await resp.json())["data"]} == {"ana"}


async def test_who_leaves_hears_no_more(client: TestClient) -> None:
    await enter(client)
    async with client.ws_connect("/inventario/ws") as ws:
        assert (await ws.receive_json(timeout=5))["type"] == "CONNECTION_ESTABLISHED"
        await client.post("/salir")
        assert (await ws.receive(timeout=5)).data == 4401
