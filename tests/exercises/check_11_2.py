from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create, receive, silence


async def say(ws: ClientWebSocketResponse, **message: object) -> dict:
    await ws.send_json(message)
    return await ws.receive_json(timeout=2)


async def test_products_join_the_room_and_leave_it(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    for asked, productos in (
        ({"type": "JOIN", "productos": [2]}, [2]),
        ({"type": "JOIN", "productos": [3, 1]}, [1, 2, 3]),
        ({"type": "LEAVE", "productos": [2, 9]}, [1, 3]),
    ):
        answer = await say(ws, **asked)
        assert answer["type"] == "SUBSCRIBED"
        assert answer["productos"] == productos
    for _ in range(4):
        await create(client)
    assert [event["data"]["id"] for event in await receive(ws, 2)] == [1, 3]
    await silence(ws)


async def test_the_rest_of_the_room_stays(client: TestClient, listen: Callable) -> None:
    ws = await listen("/ws?eventos=PRODUCT_DELETED")
    answer = await say(ws, type="JOIN", productos=[2])
    assert [answer.get("eventos"), answer.get("productos")] == [["PRODUCT_DELETED"], [2]]
    assert (await say(ws, type="LEAVE", productos=[2]))["productos"] == []
    await create(client)
    await silence(ws)
    answer = await say(ws, type="UNSUBSCRIBE")
    assert "productos" not in answer


async def test_nonsense_is_answered_and_changes_nothing(listen: Callable) -> None:
    ws = await listen()
    await say(ws, type="JOIN", productos=[7])
    for wrong in ({}, {"productos": 5}, {"productos": ["x"]}, {"productos": None}):
        assert (await say(ws, type="JOIN", **wrong))["type"] == "ERROR"
    assert (await say(ws, type="JOIN", productos=[8]))["productos"] == [7, 8]
