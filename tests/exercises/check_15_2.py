import asyncio
import re

from aiohttp.test_utils import TestClient

from inventory_ws.sockets import SOCKETS

from .conftest import Start
from .says import expecting, written

NUMBER = r"(\d+(?:\.\d+)?)"


async def test_avalanche_is_opened_and_timed(start: Start, url: str, client: TestClient) -> None:
    written("avalancha.py")
    program = await start("avalancha.py", url, 100)
    most = 0
    with expecting("Se esperaba que avalancha.py terminara con 100 clientes; a los 60 segundos sigue en marcha"):
        async with asyncio.timeout(60):
            while program.process.returncode is None:
                most = max(most, len(client.app[SOCKETS]))
                await asyncio.sleep(0)  # at each turn of the service's loop: all of them are there for a moment only
    with expecting("Se esperaba que avalancha.py terminara bien; su error está debajo"):
        out = (await program.output()).strip()
    assert most == 100, f"Se esperaban 100 sockets abiertos a la vez; hubo {most} como mucho"
    found = re.fullmatch(f"100 clientes: el primero a los {NUMBER} ms, el último a los {NUMBER} ms", out)
    right = "100 clientes: el primero a los 4.2 ms, el último a los 9.8 ms"
    assert found, f"Se esperaba una línea como «{right}»; salió «{out}»"
    first, last = float(found[1]), float(found[2])
    assert 0 < first <= last < 5000, f"Se esperaba un primero mayor que 0 y no mayor que el último; salió «{out}»"
    events = [event["type"] for event in (await (await client.get("/api/eventos")).json())["data"]]
    assert events == ["PRODUCT_CREATED", "PRODUCT_DELETED"], (
        f"Se esperaba que creara un producto y lo borrara; los eventos son {events}"
    )
