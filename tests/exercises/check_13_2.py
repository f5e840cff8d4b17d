from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create
from .says import hear, quiet, say


async def told(ws: ClientWebSocketResponse, id: int) -> None:
    """Sees that the socket is told who edits."""
    what = f'el aviso EDITING con "data":{{"id":{id}}} y su timestamp en el socket de otro'
    message = await hear(ws, what)
    right = message["type"] == "EDITING" and message.get("data") == {"id": id} and message.get("timestamp")
    assert right, f"Se esperaba {what}; llegó {message}"


async def test_others_are_told_who_edits(client: TestClient, listen: Callable) -> None:
    juan, maria, ana = await listen(), await listen(), await listen("/ws?productos=7")
    await create(client)
    for ws in (juan, maria):
        await hear(ws, "el evento 1, como hasta ahora")
    await juan.send_json({"type": "EDITING", "id": 1})
    await told(maria, 1)
    await quiet(juan, "No se esperaba nada en el socket de quien avisa")
    await quiet(ana, "No se esperaba nada en una sala sin ese producto")
    logged = len((await (await client.get("/api/eventos")).json())["data"])
    assert logged == 1, f"Se esperaba que el aviso no fuera al registro, que tiene un evento; hay {logged}"


async def test_nonsense_is_for_nobody(client: TestClient, listen: Callable) -> None:
    juan, maria = await listen(), await listen()
    await create(client)
    for ws in (juan, maria):
        await hear(ws, "el evento 1, como hasta ahora")
    for wrong in ({}, {"id": "x"}, {"id": None}, {"id": 0}, {"id": 10**40}):
        asked = {"type": "EDITING", **wrong}
        answer = await say(juan, asked, f"un ERROR tras {asked}")
        assert answer["type"] == "ERROR", f"Se esperaba un ERROR tras {asked}; llegó {answer}"
    await juan.send_json({"type": "EDITING", "id": 1})
    await told(maria, 1)
