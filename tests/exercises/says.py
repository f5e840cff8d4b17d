"""Conversations by a socket; whatever is not so, is said in one line."""

import asyncio
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

from .conftest import expected, heard, same


async def say(ws: ClientWebSocketResponse, asked: dict[str, Any], kind: str) -> dict[str, Any]:
    """What is answered to a message, which should be of this type."""
    await ws.send_json(asked)
    answer = await heard(ws, f"{kind} tras {asked}")
    same(answer.get("type"), kind, f"como type de la respuesta a {asked}")
    return answer


async def silence(ws: ClientWebSocketResponse) -> None:
    """Sees that nothing comes for a moment, be it an event or not: the answer to a PING is the next message."""
    await asyncio.sleep(0.3)
    await ws.send_json({"type": "PING"})
    message = await ws.receive(timeout=5)
    assert message.type is WSMsgType.TEXT, f"{message.type.name} ({ws.close_code})"
    assert message.json()["type"] == "PONG", message.data


async def quiet(ws: ClientWebSocketResponse, what: str) -> None:
    """Sees that nothing more has come. `what`: as in "Se esperaba que no llegara nada más"."""
    with expected(what):
        await silence(ws)
