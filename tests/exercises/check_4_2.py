from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create


async def clients(ws: ClientWebSocketResponse) -> int:
    message = await ws.receive_json(timeout=2)
    assert message["type"] == "CLIENTS"
    assert message["timestamp"]
    return message["clientes"]


async def test_everybody_is_told_how_many_are_listening(client: TestClient, listen: Callable) -> None:
    juan = await listen()
    assert await clients(juan) == 1
    maria = await listen()
    assert [await clients(juan), await clients(maria)] == [2, 2]
    await maria.close()
    assert await clients(juan) == 1


async def test_number_is_no_event_of_the_log(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await clients(ws)
    await create(client)
    assert (await ws.receive_json(timeout=2))["id"] == 1
    assert len((await (await client.get("/api/eventos")).json())["data"]) == 1
