from aiohttp.test_utils import TestClient

from ..conftest import create, error, settled


async def test_only_what_has_to_be_reordered_is_listed(client: TestClient) -> None:
    for stock in (9, 5, 0, 2, 6):
        await create(client, stock=stock)
    listed = (await (await client.get("/api/productos?stock_max=5")).json())["data"]
    assert [product["stock"] for product in listed] == [5, 0, 2]


async def test_it_goes_with_pages_and_search(client: TestClient) -> None:
    for nombre, stock in (("Ratón", 1), ("Teclado", 1), ("Ratón", 9), ("Ratón", 2)):
        await create(client, nombre=nombre, stock=stock)
    resp = await client.get("/api/productos", params={"stock_max": 5, "q": "ratón", "limit": 1})
    assert [product["id"] for product in (await resp.json())["data"]] == [1]
    resp = await client.get(str(resp.links["next"]["url"].relative()))
    assert [product["id"] for product in (await resp.json())["data"]] == [4]


async def test_limit_that_is_none_is_refused(client: TestClient) -> None:
    for wrong in ("pocos", "-1"):
        body = await error(await client.get(f"/api/productos?stock_max={wrong}"), 400)
        assert [fault["field"] for fault in body["errors"]] == ["stock_max"]


async def test_it_goes_with_the_past(client: TestClient) -> None:
    await create(client, stock=9)
    await create(client, stock=5)
    await client.delete("/api/productos/2")
    await settled(client, 3)
    listed = (await (await client.get("/api/productos?stock_max=5&at=2")).json())["data"]
    assert [product["id"] for product in listed] == [2]
