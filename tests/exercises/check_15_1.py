from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..test_feed import slow_commit_beside_a_fast_one
from .says import hear, quiet


async def test_event_is_lost(client: TestClient, listen: Callable, connect: Callable) -> None:
    """Two commits at once: the first to draw its number is the last to become visible. It is in the log, and whoever
    listens has gone past it."""
    ws = await listen()
    await slow_commit_beside_a_fast_one(connect)
    event = await hear(ws, "el evento del cambio rápido")
    name = event.get("data", {}).get("nombre")
    assert name == "fast", f"Se esperaba que el evento «slow» se perdiera y llegara solo «fast»; llegó antes «{name}»"
    await quiet(ws, "Se esperaba que el evento «slow» no llegara nunca")
    logged = [event["id"] for event in (await (await client.get("/api/eventos")).json())["data"]]
    assert logged == [1, 2], f"Se esperaban los eventos [1, 2] en el registro; están {logged}"
