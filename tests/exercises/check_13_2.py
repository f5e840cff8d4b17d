from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, receive, silence


async def test_others_are_told_who_edits(client: TestClient, listen: Callable) -> None:
    juan, maria, ana = await listen(), await listen(), await listen("/ws?productos=7")
    await create(client)
    await receive(juan, 1), await receive(maria, 1)
    await juan.send_json({"type": "EDITING", "id": 1})
    told = await maria.receive_json(timeout=2)
    assert told["type"] == "EDITING"
    assert told["data"] == {"id": 1}
    assert told["timestamp"]
    await silence(juan)  # who says it is not told
    await silence(ana)  # nor who does not listen to this product
    assert len((await (await client.get("/api/eventos")).json())["data"]) == 1


async def test_nonsense_is_for_nobody(listen: Callable) -> None:
    juan, maria = await listen(), await listen()
    for wrong in ({}, {"id": "x"}, {"id": None}, {"id": 0}, {"id": 10**40}):
        await juan.send_json({"type": "EDITING", **wrong})
        assert (await juan.receive_json(timeout=2))["type"] == "ERROR"
    await juan.send_json({"type": "EDITING", "id": 2})
    assert (await maria.receive_json(timeout=2))["data"] == {"id": 2}
