import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from aiohttp.test_utils import TestClient

from inventory_ws.live.hub import HUB

from ..conftest import create
from .conftest import Start, asked, expected, same


async def stocks(client: TestClient, after: int, number: int, what: str) -> list[Any]:
    """The stocks that the events above `after` tell, as soon as there are so many."""
    with expected(what):
        async with asyncio.timeout(10):
            while len(found := (await asked(client, f"/api/eventos?after={after}"))["data"]) < number:
                await asyncio.sleep(0.05)
    return [event["data"]["stock"] for event in found]


async def test_what_runs_out_is_reordered(start: Start, url: str, client: TestClient, connect: Callable) -> None:
    await create(client, stock=10)
    program = await start("reponer.py", url)
    await program.says("Reponiendo", "cuando está conectado")
    await client.app[HUB].renew()
    for stock in (5, 4):
        await client.patch("/api/productos/1", json={"stock": stock})
        await asyncio.sleep(0.3)  # for who reorders at 5
    found = await stocks(client, 1, 3, "que reponer.py sumara 20 unidades a un stock de 4")
    same(found, [5, 4, 24], "como stocks: con 5 no se repone, con 4 sí")
    await program.says("1: de 4 a 24", "al reponer")
    await sell_twice(client, connect)
    await program.says("2: de 3 a 23", "al reponer tras la segunda venta")
    await sell_many(client)


async def sell_twice(client: TestClient, connect: Callable) -> None:
    """A sale that is made meanwhile is not overwritten. It is not committed when the program hears of the one before;
    whatever the program then does waits for it."""
    await create(client, stock=5)
    sale = "UPDATE productos SET stock = stock - 1 WHERE id = 2"
    with connect().cursor() as cursor:
        cursor.execute(f"BEGIN; {sale}; COMMIT; BEGIN; {sale}")
        await asyncio.sleep(0.5)
        cursor.execute("COMMIT")
    await stocks(client, 5, 3, "que hubiera dos ventas y una reposición")
    await asyncio.sleep(0.3)
    found = await stocks(client, 5, 3, "que hubiera dos ventas y una reposición")
    same(found, [4, 3, 23], "como stocks, si de 5 se venden dos muy seguidas")


async def sell_many(client: TestClient) -> None:
    """What somebody else was first with is left alone: however quickly the stock moves, nothing is reordered twice and no
    sale is overwritten."""
    await create(client, stock=30)
    for _ in range(29):
        same((await client.post("/api/productos/3/stock", json={"delta": -1})).status, 200, "de cada venta")
        await asyncio.sleep(0.005)
    await stocks(client, 8, 31, "una reposición después de 29 ventas de 30 unidades")
    await asyncio.sleep(0.3)
    found = await stocks(client, 8, 31, "una reposición después de 29 ventas de 30 unidades")
    moves = Counter(after - before for before, after in pairwise(found))
    same(moves, Counter({-1: 29, 20: 1}), "como movimientos: 29 ventas de una unidad y una reposición de 20")
