import asyncio
import time
from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create


async def test_question_is_answered_when_there_is_something_to_say(client: TestClient, psql: Callable) -> None:
    asking = asyncio.create_task(client.get("/api/eventos?after=0&wait=5"))
    await asyncio.sleep(0.5)
    assert not asking.done()
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)")
    began = time.monotonic()
    events = (await (await asking).json())["data"]
    assert time.monotonic() - began < 3
    assert [event["id"] for event in events] == [1]


async def test_patience_ends(client: TestClient) -> None:
    began = time.monotonic()
    resp = await client.get("/api/eventos?after=0&wait=1")
    assert (await resp.json())["data"] == []
    assert 0.9 < time.monotonic() - began < 4


async def test_what_has_happened_is_told_at_once(client: TestClient) -> None:
    began = time.monotonic()
    assert (await (await client.get("/api/eventos")).json())["data"] == []
    await create(client)
    while not (await (await client.get("/api/eventos?wait=5")).json())["data"]:
        pass
    assert time.monotonic() - began < 4


async def test_patience_has_a_limit(client: TestClient) -> None:
    for wrong in ("3600", "-1", "mucho"):
        assert (await client.get(f"/api/eventos?wait={wrong}")).status == 400
