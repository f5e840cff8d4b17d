import asyncio
import re

from aiohttp.test_utils import TestClient

from inventory_ws.live.hub import SOCKETS

from .conftest import Start, asked, expected, same

NUMBER = r"(\d+(?:\.\d+)?)"


async def test_avalanche_is_opened_and_timed(start: Start, url: str, client: TestClient) -> None:
    program = await start("avalancha.py", url, 100)
    most = 0
    with expected("que avalancha.py terminara en un minuto con 100 clientes"):
        async with asyncio.timeout(60):
            while program.process.returncode is None:
                most = max(most, len(client.app[SOCKETS]))
                await asyncio.sleep(0)  # at each turn of the service's loop: all of them are there for a moment only
    out = (await program.output()).strip()
    same(most, 100, "como número de sockets abiertos a la vez")
    found = re.fullmatch(f"100 clientes: el primero a los {NUMBER} ms, el último a los {NUMBER} ms", out)
    line = "«100 clientes: el primero a los 4.2 ms, el último a los 9.8 ms»"
    assert found, f"Se esperaba una línea como {line}; llegó «{out}»"
    first, last = float(found[1]), float(found[2])
    assert 0 < first <= last < 10_000, f"Se esperaba 0 < primero <= último, en milisegundos; llegó «{out}»"
    events = [event["type"] for event in (await asked(client, "/api/eventos"))["data"]]
    same(
        events, ["PRODUCT_CREATED", "PRODUCT_DELETED"], "como eventos de avalancha.py, que crea un producto y lo borra"
    )
