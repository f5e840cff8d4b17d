import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import Start


async def events(client: TestClient, after: int, number: int) -> list[dict[str, Any]]:
    """The events above `after`, as soon as there are so many."""
    async with asyncio.timeout(5):
        while len(found := (await (await client.get(f"/api/eventos?after={after}")).json())["data"]) < number:
            await asyncio.sleep(0.05)
    return found


async def test_what_runs_out_is_reordered(start: Start, url: str, client: TestClient) -> None:
    await create(client, stock=10)
    await create(client, stock=10)
    program = await start("reponer.py", url)
    assert await program.line() == "Reponiendo"
    for stock in (5, 4):
        await client.patch("/api/productos/1", json={"stock": stock})
    assert [event["data"]["stock"] for event in await events(client, 2, 3)] == [5, 4, 24]
    assert await program.line() == "1: de 4 a 24"


async def test_what_somebody_else_was_first_with_is_left_alone(start: Start, url: str, client: TestClient) -> None:
    """However quickly the stock moves, nothing is reordered twice and no sale is overwritten."""
    await create(client, stock=30)
    program = await start("reponer.py", url)
    assert await program.line() == "Reponiendo"
    for _ in range(29):
        assert (await client.post("/api/productos/1/stock", json={"delta": -1})).status == 200
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.3)
    stocks = [event["data"]["stock"] for event in await events(client, 0, 31)]
    assert Counter(after - before for before, after in pairwise(stocks)) == {-1: 29, 20: 1}
