from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create


async def say(ws: ClientWebSocketResponse, **message: object) -> dict:
    await ws.send_json(message)
    return await ws.receive_json(timeout=2)


async def test_product_is_asked_for_over_the_socket(client: TestClient, listen: Callable) -> None:
    product = await create(client)
    ws = await listen("/ws?eventos=PRODUCT_DELETED")
    answer = await say(ws, type="GET", id=1)
    assert answer["type"] == "PRODUCT"
    assert answer["data"] == product
    assert (await say(ws, type="PING"))["type"] == "PONG"


async def test_product_that_is_not_there_is_an_error(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    answer = await say(ws, type="GET", id=7)
    assert answer["type"] == "ERROR"
    assert "no encontrado" in answer["message"]


async def test_nonsense_is_an_error_and_the_socket_stays(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    for wrong in ({}, {"id": "x"}, {"id": None}, {"id": [1]}, {"id": 10**40}, {"id": -1}, {"id": 1.5}):
        assert (await say(ws, type="GET", **wrong))["type"] == "ERROR"
    await create(client)
    assert (await ws.receive_json(timeout=2))["id"] == 1
    assert (await say(ws, type="GET", id=1))["type"] == "PRODUCT"
