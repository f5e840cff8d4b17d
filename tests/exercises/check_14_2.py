from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, error, settled


async def history(client: TestClient, product: int) -> list[dict]:
    resp = await client.get(f"/api/productos/{product}/eventos")
    assert resp.status == 200, await resp.text()
    return (await resp.json())["data"]


async def test_history_of_a_product_is_told_from_its_beginning(client: TestClient, psql: Callable) -> None:
    await create(client)
    await create(client)
    psql("UPDATE productos SET stock = 1 WHERE id = 1")
    await settled(client, 3)
    assert [event["id"] for event in await history(client, 1)] == [1, 3]
    every = (await (await client.get("/api/eventos")).json())["data"]
    assert await history(client, 1) == [every[0], every[2]]


async def test_deleted_product_still_has_a_history(client: TestClient) -> None:
    await create(client)
    await client.delete("/api/productos/1")
    await settled(client, 2)
    assert [event["type"] for event in await history(client, 1)] == ["PRODUCT_CREATED", "PRODUCT_DELETED"]


async def test_product_that_never_was_has_none(client: TestClient) -> None:
    assert await history(client, 7) == []
    await error(await client.get("/api/productos/x/eventos"), 404)
