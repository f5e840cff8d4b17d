import asyncio
import re

from aiohttp.test_utils import TestClient

from inventory_ws.sockets import SOCKETS

from .conftest import Start


async def test_avalanche_is_opened_and_timed(start: Start, url: str, client: TestClient) -> None:
    program = await start("avalancha.py", url, 100)
    most = 0
    while program.process.returncode is None:
        most = max(most, len(client.app[SOCKETS]))
        await asyncio.sleep(0)  # at each turn of the service's loop: all of them are there for a moment only
    assert most == 100
    found = re.fullmatch(
        r"100 clientes: el primero a los (\d+\.\d) ms, el último a los (\d+\.\d) ms\n", await program.output()
    )
    assert found
    assert 0 < float(found[1]) <= float(found[2]) < 5000
    assert len((await (await client.get("/api/eventos")).json())["data"]) >= 1
