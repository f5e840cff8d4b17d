"""What a check says, in one line of Spanish, where a solution does not yet do what its exercise asks."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

FOLDER = Path(__file__).parents[2] / "ejercicios"


def written(name: str) -> None:
    """Sees that the program of the exercise is there."""
    __tracebackhide__ = True
    assert (FOLDER / name).exists(), f"Se esperaba el programa ejercicios/{name}, que no existe todavía"


@contextmanager
def expecting(line: str) -> Iterator[None]:
    """Says the line in place of whatever goes wrong inside: what does not come in time, and what comes otherwise."""
    __tracebackhide__ = True
    try:
        yield
    except Exception:  # noqa: BLE001: a student's program can go wrong in any way
        raise AssertionError(line) from None


async def hear(ws: ClientWebSocketResponse, what: str, seconds: float = 5) -> dict[str, Any]:
    """The next message of the socket, which should be `what`: it completes the sentence "Se esperaba …"."""
    __tracebackhide__ = True
    try:
        received = await ws.receive(timeout=seconds)
    except TimeoutError:
        raise AssertionError(f"Se esperaba {what}; en {seconds:g} segundos no llegó nada") from None
    assert received.type is WSMsgType.TEXT, f"Se esperaba {what}; el socket se cerró con el código {ws.close_code}"
    with expecting(f"Se esperaba {what}; llegó {received.data!r}, que no es un objeto JSON con su type"):
        message = received.json()
        message["type"]
    return message


async def say(ws: ClientWebSocketResponse, asked: dict[str, Any], what: str, seconds: float = 5) -> dict[str, Any]:
    """What the socket answers to a message, which should be `what`."""
    __tracebackhide__ = True
    await ws.send_json(asked)
    return await hear(ws, what, seconds)


async def quiet(ws: ClientWebSocketResponse, line: str) -> None:
    """Sees that nothing has been sent to the socket: the answer to a PING is its next message."""
    __tracebackhide__ = True
    await asyncio.sleep(0.3)
    message = await say(ws, {"type": "PING"}, "el PONG que contesta a un PING")
    assert message["type"] == "PONG", f"{line}; llegó {message}"
