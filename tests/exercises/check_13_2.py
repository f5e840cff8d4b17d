from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import asked, heard, same
from .says import quiet, say


async def told(ws: ClientWebSocketResponse) -> None:
    """Sees that the socket is told who edits the product 1."""
    message = await heard(ws, "un aviso EDITING a los demás tras un EDITING")
    same(message.get("type"), "EDITING", "como type del aviso a los demás")
    same(message.get("data"), {"id": 1}, "como data del aviso a los demás")
    assert message.get("timestamp"), f"Se esperaba un timestamp en el aviso a los demás; llegó {message}"


async def test_others_are_told_who_edits(client: TestClient, listen: Callable) -> None:
    juan, maria, ana = await listen(), await listen(), await listen("/ws?productos=7")
    await create(client)
    for ws in (juan, maria):
        await heard(ws, "el evento 1, como hasta ahora,")
    await juan.send_json({"type": "EDITING", "id": 1})
    await told(maria)
    await quiet(juan, "que a quien avisa no le llegara nada")
    await quiet(ana, "que en una sala sin ese producto no llegara nada")
    logged = [event["type"] for event in (await asked(client, "/api/eventos"))["data"]]
    same(logged, ["PRODUCT_CREATED"], "como tipos de los eventos del registro, sin el aviso")


async def test_nonsense_is_for_nobody(client: TestClient, listen: Callable) -> None:
    juan, maria = await listen(), await listen()
    await create(client)
    for ws in (juan, maria):
        await heard(ws, "el evento 1, como hasta ahora,")
    for wrong in ({}, {"id": "x"}, {"id": None}, {"id": 0}, {"id": 10**40}, {"id": "1"}, {"id": True}):
        await say(juan, {"type": "EDITING", **wrong}, "ERROR")
    await juan.send_json({"type": "EDITING", "id": 1})
    await told(maria)
