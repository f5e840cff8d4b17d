import asyncio
import re
import time
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws.pg.database import DATABASE

from ..conftest import create
from .conftest import asked, same


async def test_question_is_answered_when_there_is_something_to_say(client: TestClient, psql: Callable) -> None:
    asking = asyncio.create_task(asked(client, "/api/eventos?after=0&wait=10"))
    await asyncio.sleep(0.5)
    assert not asking.done(), (
        "Se esperaba que wait=10 esperara al primer evento; la respuesta llegó antes de que lo hubiera"
    )
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)")
    began = time.monotonic()
    events = (await asking)["data"]
    took = time.monotonic() - began
    assert took < 5, f"Se esperaba la respuesta en cuanto llega el evento; tardó {took:.1f} s"
    same([event["id"] for event in events], [1], "como ids de los eventos que esperaba la petición")


async def test_whoever_waits_asks_the_database_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    database = client.app[DATABASE]
    fetch, asked_for = database.fetch, []

    async def counted(sql: str, *args: object, **options: object) -> object:
        if not re.search("eventos_(faltas|revisar)", sql):  # what the service itself looks at now and then
            asked_for.append(sql)
        return await fetch(sql, *args, **options)

    monkeypatch.setattr(database, "fetch", counted)
    same((await asked(client, "/api/eventos?after=0&wait=2"))["data"], [], "como data cuando se acaba wait=2")
    assert len(asked_for) <= 4, (
        f"Se esperaba que wait=2 esperara sin consultar la base de datos; la consultó {len(asked_for)} veces"
    )


async def test_patience_ends(client: TestClient) -> None:
    began = time.monotonic()
    same((await asked(client, "/api/eventos?after=0&wait=1"))["data"], [], "como data cuando se acaba wait=1")
    took = time.monotonic() - began
    assert 0.9 < took < 6, f"Se esperaba la respuesta vacía de wait=1 tras un segundo; tardó {took:.1f} s"


async def test_what_has_happened_is_told_at_once(client: TestClient) -> None:
    same((await asked(client, "/api/eventos"))["data"], [], "como data sin wait ni eventos")
    await create(client)
    began = time.monotonic()
    while not (await asked(client, "/api/eventos?wait=10"))["data"]:
        pass
    took = time.monotonic() - began
    assert took < 5, f"Se esperaba una respuesta inmediata si ya hay eventos; tardó {took:.1f} s"


async def test_patience_has_a_limit(client: TestClient) -> None:
    await create(client)  # what takes a wrong one for a right one answers at once
    for wrong in ("31", "3600", "-1", "mucho"):
        same((await client.get(f"/api/eventos?wait={wrong}")).status, 400, f"para wait={wrong}")
