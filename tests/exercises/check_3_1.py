from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, error


async def test_sku_goes_down_to_the_table_and_comes_back(client: TestClient, psql: Callable) -> None:
    created = await create(client, sku="TEC-01")
    assert created["sku"] == "TEC-01"
    assert psql("SELECT sku FROM productos") == [("TEC-01",)]
    assert (await (await client.get("/api/productos")).json())["data"][0]["sku"] == "TEC-01"
    resp = await client.patch("/api/productos/1", json={"sku": "TEC-02"})
    assert resp.status == 200, await resp.text()
    data = (await resp.json())["data"]
    assert data["sku"] == "TEC-02"
    assert resp.headers["ETag"] == f'"{data["updated_at"]}"'


async def test_sku_is_in_the_event(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await create(client, sku="TEC-01")
    assert (await ws.receive_json(timeout=2))["data"].get("sku") == "TEC-01"


async def test_product_needs_no_sku(client: TestClient) -> None:
    assert (await create(client)).get("sku", "missing") is None


async def test_sku_is_checked(client: TestClient) -> None:
    for sku in (7, "", "x" * 41):
        body = await error(await client.post("/api/productos", json={"nombre": "A", "precio": 1, "sku": sku}), 400)
        assert [fault["field"] for fault in body["errors"]] == ["sku"]
        assert "no es un campo" not in body["errors"][0]["message"]
