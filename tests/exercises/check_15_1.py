from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import receive, silence
from ..test_feed import slow_commit_beside_a_fast_one


async def test_event_is_lost(client: TestClient, listen: Callable, connect: Callable) -> None:
    """Two commits at once: the first to draw its number is the last to become visible. It is in the log, and whoever
    listens has gone past it."""
    ws = await listen()
    await slow_commit_beside_a_fast_one(connect)
    assert [event["data"]["nombre"] for event in await receive(ws, 1)] == ["fast"]
    await silence(ws)
    assert [event["id"] for event in (await (await client.get("/api/eventos")).json())["data"]] == [1, 2]
