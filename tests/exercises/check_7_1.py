from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, receive, silence


async def set_stock(client: TestClient, *stocks: int) -> None:
    for stock in stocks:
        resp = await client.patch("/api/productos/1", json={"stock": stock})
        assert resp.status == 200, await resp.text()


async def test_stock_that_becomes_low_is_told_after_the_change(client: TestClient, listen: Callable) -> None:
    await create(client, nombre="Teclado", stock=10)
    ws = await listen("/ws?last_event_id=1")
    await set_stock(client, 5, 4)
    _, updated, low = [await ws.receive_json(timeout=2) for _ in range(3)]
    assert [updated["type"], low["type"]] == ["PRODUCT_UPDATED", "STOCK_LOW"]
    assert low["id"] == updated["id"] + 1
    assert low["data"] == {"id": 1, "nombre": "Teclado", "stock": 4}
    assert low["timestamp"]
    assert (await (await client.get(f"/api/eventos?after={updated['id']}")).json())["data"] == [low]


async def test_it_is_told_once_each_time(client: TestClient, listen: Callable) -> None:
    await create(client, stock=10)
    ws = await listen("/ws?last_event_id=1&eventos=STOCK_LOW")
    await set_stock(client, 4, 3, 0, 5, 2)
    assert [event["data"]["stock"] for event in await receive(ws, 2)] == [4, 2]
    await silence(ws)
