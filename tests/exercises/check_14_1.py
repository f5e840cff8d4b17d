import asyncio
from collections.abc import Callable
from pathlib import Path

from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import Start


async def test_every_event_is_processed_once(start: Start, url: str, client: TestClient, tmp_path: Path) -> None:
    position = tmp_path / "posicion"
    for _ in range(3):
        await create(client)
    first = await start("consumidor.py", url, position)
    assert [await first.line() for _ in range(3)] == [f"{n} PRODUCT_CREATED" for n in (1, 2, 3)]
    await create(client)
    assert await first.line() == "4 PRODUCT_CREATED"
    await asyncio.sleep(0.5)  # it has to keep the position after it has processed the event
    first.process.terminate()
    await first.process.wait()
    await client.delete("/api/productos/1")
    second = await start("consumidor.py", url, position)
    await create(client)
    assert [await second.line() for _ in range(2)] == ["5 PRODUCT_DELETED", "6 PRODUCT_CREATED"]


async def test_position_of_another_log_is_worth_nothing(
    start: Start, url: str, client: TestClient, psql: Callable, tmp_path: Path
) -> None:
    """After a TRUNCATE the events begin anew: the program stops and says so, instead of going on as if nothing were."""
    await create(client)
    first = await start("consumidor.py", url, tmp_path / "posicion")
    assert await first.line() == "1 PRODUCT_CREATED"
    await asyncio.sleep(0.5)
    first.process.terminate()
    await first.process.wait()
    psql("TRUNCATE productos")
    second = await start("consumidor.py", url, tmp_path / "posicion")
    await second.line()
    assert await second.process.wait() == 1
