from typing import Any

from aiohttp.test_utils import TestClient

from ..conftest import create


async def summary(client: TestClient) -> dict[str, Any]:
    resp = await client.get("/api/resumen")
    assert resp.status == 200, await resp.text()
    body = await resp.json()
    assert body["success"] is True
    return body["data"]


async def test_summary_counts_products_and_units_and_what_they_are_worth(client: TestClient) -> None:
    await create(client, precio=64.9, stock=3)
    await create(client, precio=0.1, stock=3)
    await create(client, precio=999, stock=0)
    assert await summary(client) == {"productos": 3, "unidades": 6, "valor": 195.0}
    await client.delete("/api/productos/1")
    assert await summary(client) == {"productos": 2, "unidades": 3, "valor": 0.3}


async def test_summary_of_nothing_is_zeros(client: TestClient) -> None:
    assert await summary(client) == {"productos": 0, "unidades": 0, "valor": 0}


async def test_summary_of_very_much_does_not_overflow(client: TestClient) -> None:
    for _ in range(2):
        await create(client, precio=1000, stock=2_147_483_647)
    assert (await summary(client))["unidades"] == 4_294_967_294
