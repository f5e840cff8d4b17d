import asyncio
import re
from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Seen, Start, asked, between, expected, same

LINES = r"respuesta: (\d+\.\d) ms\nevento: (\d+\.\d) ms\s*"


async def test_event_is_timed_although_the_answer_is_late(start: Start, url: str, psql: Callable) -> None:
    async def connected(head: bytes) -> Seen:
        """Holds back a request for a second, and its answer for half a second; somebody else is faster."""
        if b"upgrade: websocket" in head.lower():
            return lambda _: asyncio.sleep(0)
        psql("INSERT INTO productos (nombre, precio) VALUES ('De otro', 1)")
        await asyncio.sleep(1)
        return lambda _: asyncio.sleep(0.5)

    async with between(url, connected) as proxy:
        out = await (await start("latencia.py", proxy)).output()
    found = re.fullmatch(LINES, out)
    assert found, f"Se esperaban las líneas «respuesta: 3.1 ms» y «evento: 3.9 ms»; llegó {out!r}"
    answer, event = map(float, found.groups())
    assert answer > 10, f"Se esperaban milisegundos, y no segundos; llegó {out!r}"
    assert event > 1000, f"Se esperaba la hora del evento propio, y no la del de otro, que llega antes; llegó {out!r}"
    assert event < answer - 200, (
        f"Se esperaba un evento anterior a la respuesta cuando esta tarda medio segundo más; llegó {out!r}"
    )


async def test_way_from_the_request_to_the_event_is_timed(start: Start, url: str, client: TestClient) -> None:
    async def connected(_: bytes) -> Seen:
        """Holds back the event, which must not be waited for before the answer is timed."""
        return lambda data: asyncio.sleep(0.4 if b"PRODUCT_CREATED" in data else 0)

    await create(client)
    async with between(url, connected) as proxy:
        out = await (await start("latencia.py", proxy)).output()
    found = re.fullmatch(LINES, out)
    assert found, f"Se esperaban las líneas «respuesta: 3.1 ms» y «evento: 3.9 ms»; llegó {out!r}"
    answer, event = map(float, found.groups())
    assert answer < event - 200, f"Se esperaba la hora de la respuesta, sin esperar antes al evento; llegó {out!r}"
    for number in found.groups():
        assert 0 < float(number) < 10_000, f"Se esperaban milisegundos, más de 0; llegó {number}"
    with expected("que latencia.py creara un producto y lo borrara"):
        async with asyncio.timeout(3):
            await settled(client, 3)
    types = [event["type"] for event in (await asked(client, "/api/eventos?after=1"))["data"]]
    same(types, ["PRODUCT_CREATED", "PRODUCT_DELETED"], "como eventos de latencia.py")
    ids = [product["id"] for product in (await asked(client, "/api/productos"))["data"]]
    same(ids, [1], "como ids de los productos que quedan, sin el de latencia.py")
