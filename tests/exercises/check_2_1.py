import asyncio
import re
import time
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws.live.log import LOG
from inventory_ws.pg.database import DATABASE

from ..conftest import create
from .conftest import asked, expected, same


async def test_question_is_answered_when_there_is_something_to_say(client: TestClient, psql: Callable) -> None:
    asking = asyncio.create_task(asked(client, "/api/eventos?after=0&wait=30"))
    await asyncio.sleep(0.5)
    assert not asking.done(), (
        "Se esperaba que wait=30 esperara al primer evento; la respuesta llegó antes de que lo hubiera"
    )
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)")
    with expected("la respuesta de wait=30 en cuanto llega el evento, sin agotar el plazo"):
        async with asyncio.timeout(3):
            events = (await asking)["data"]
    same([event["id"] for event in events], [1], "como ids de los eventos que esperaba la petición")


async def test_event_between_the_look_and_the_wait_is_not_missed(
    unpolled: None, client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, log = client.app[DATABASE], client.app[LOG]
    fetch = database.fetch
    await create(client)

    async def and_then_it_happens(sql: str, *args: object, **options: object) -> object:
        rows = await fetch(sql, *args, **options)
        if "mensaje" in sql and not rows and log.head == 1:
            psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)")
            while log.head == 1:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # until the feed has said everything about it
        return rows

    monkeypatch.setattr(database, "fetch", and_then_it_happens)
    with expected("la respuesta de wait=30 aunque el evento llegue entre la lectura del registro y la espera"):
        async with asyncio.timeout(3):
            await asked(client, "/api/eventos?after=0&producto=2&wait=30")


async def test_whoever_waits_asks_the_database_nothing_and_waits_to_the_end(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = client.app[DATABASE]
    fetch, asked_for = database.fetch, []

    async def counted(sql: str, *args: object, **options: object) -> object:
        if not re.search("eventos_(faltas|revisar)", sql):  # what the service itself looks at now and then
            asked_for.append(sql)
        return await fetch(sql, *args, **options)

    monkeypatch.setattr(database, "fetch", counted)
    log, looks = client.app[LOG], 0
    began = time.monotonic()
    asking = asyncio.create_task(asked(client, "/api/eventos?after=0&wait=1"))
    while not asking.done() and time.monotonic() - began < 6:
        await asyncio.wait([asking], timeout=0.4)
        log.moved.set()  # as the feed does every two seconds, whether there is an event or not
        log.moved = asyncio.Event()
        looks += 1
    took = time.monotonic() - began
    if not asking.done():
        asking.cancel()
    assert not asking.cancelling(), (
        "Se esperaba la respuesta vacía de wait=1 tras un segundo, también si el lector mira mientras tanto; no llegó a tiempo"
    )
    same((await asking)["data"], [], "como data cuando se acaba wait=1")
    assert len(asked_for) <= 4 + looks, (
        f"Se esperaba que wait=1 esperara sin consultar la base de datos; la consultó {len(asked_for)} veces"
    )
    assert took > 0.9, (
        f"Se esperaba que wait=1 esperara un segundo, aunque el lector mire y no haya nada; esperó {took:.1f} s"
    )


async def test_what_has_happened_is_told_at_once(client: TestClient) -> None:
    same((await asked(client, "/api/eventos"))["data"], [], "como data sin wait ni eventos")
    await create(client)
    with expected("una respuesta inmediata de wait=30 si ya hay eventos"):
        async with asyncio.timeout(3):
            while not (await asked(client, "/api/eventos?wait=30"))["data"]:
                pass
    for wrong in ("31", "3600", "-1", "1.5", "mucho"):
        same((await client.get(f"/api/eventos?wait={wrong}")).status, 400, f"para wait={wrong}")
