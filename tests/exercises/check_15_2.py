import asyncio
import re

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws.live.hub import HUB
from inventory_ws.live.stream import Stream

from .conftest import Seen, Start, asked, between, same

NUMBER = r"(-?\d+(?:\.\d+)?)"
LIMIT = " (aiohttp no abre más de cien conexiones si no se le dice otra cosa)"


async def test_avalanche_is_opened_and_timed(
    start: Start, url: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, most = client.app[HUB], 0
    join = hub.join

    def joined(stream: Stream) -> None:
        nonlocal most
        join(stream)
        most = max(most, len(hub.sockets))

    async def connected(head: bytes) -> Seen:
        if head.startswith(b"POST"):
            await asyncio.sleep(0.5)
        return lambda _: asyncio.sleep(0.3 if head.startswith(b"POST") else 0)

    monkeypatch.setattr(hub, "join", joined)
    async with between(url, connected) as proxy:
        out = (await (await start("avalancha.py", proxy, 100)).output(LIMIT)).strip()
    same(most, 100, "como número de sockets abiertos a la vez")
    found = re.fullmatch(f"100 clientes: el primero a los {NUMBER} ms, el último a los {NUMBER} ms", out)
    line = "«100 clientes: el primero a los 4.2 ms, el último a los 9.8 ms»"
    assert found, f"Se esperaba una línea como {line}; llegó «{out}»"
    first, last = float(found[1]), float(found[2])
    assert first >= 0, f"Se esperaba que el reloj se pusiera en marcha antes de enviar el POST; llegó «{out}»"
    assert not 0.5 <= first <= last < 2, (  # a slow machine takes a millisecond for the welcome
        f"Se esperaban milisegundos, y no segundos (o la hora del evento, y no de la bienvenida); llegó «{out}»"
    )
    assert first <= last < 20_000, f"Se esperaba primero <= último, en milisegundos; llegó «{out}»"
    assert first > 500, (
        f"Se esperaba la hora del evento, medio segundo tras el POST, y no de la bienvenida; llegó «{out}»"
    )
    events = [event["type"] for event in (await asked(client, "/api/eventos"))["data"]]
    same(
        events, ["PRODUCT_CREATED", "PRODUCT_DELETED"], "como eventos de avalancha.py, que crea un producto y lo borra"
    )
