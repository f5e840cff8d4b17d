import asyncio
import re

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Seen, Start, asked, between, expected, same


async def test_event_is_timed_although_the_answer_is_late(start: Start, url: str) -> None:
    def connected(head: bytes) -> Seen:
        """Holds back what is no socket."""
        late = 0 if b"upgrade: websocket" in head.lower() else 0.5
        return lambda _: asyncio.sleep(late)

    async with between(url, connected) as proxy:
        out = await (await start("latencia.py", proxy)).output()
    answer, event = map(float, re.findall(r"\d+\.\d", out))
    assert event < answer - 200, (
        f"Se esperaba un evento anterior a la respuesta cuando esta tarda medio segundo más; llegó {out!r}"
    )


async def test_way_from_the_request_to_the_event_is_timed(start: Start, url: str, client: TestClient) -> None:
    await create(client)
    out = await (await start("latencia.py", url)).output()
    found = re.fullmatch(r"respuesta: (\d+\.\d) ms\nevento: (\d+\.\d) ms\s*", out)
    assert found, f"Se esperaban las líneas «respuesta: 3.1 ms» y «evento: 3.9 ms»; llegó {out!r}"
    for number in found.groups():
        assert 0 < float(number) < 10_000, f"Se esperaban milisegundos, más de 0; llegó {number}"
    with expected("que latencia.py creara un producto y lo borrara"):
        await settled(client, 3)
    types = [event["type"] for event in (await asked(client, "/api/eventos?after=1"))["data"]]
    same(types, ["PRODUCT_CREATED", "PRODUCT_DELETED"], "como eventos de latencia.py")
    ids = [product["id"] for product in (await asked(client, "/api/productos"))["data"]]
    same(ids, [1], "como ids de los productos que quedan, sin el de latencia.py")
