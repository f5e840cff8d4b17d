from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..test_feed import slow_commit_beside_a_fast_one
from .conftest import asked, expected, heard, same
from .says import quiet


async def test_event_is_lost(client: TestClient, listen: Callable, connect: Callable, psql: Callable) -> None:
    """Two commits at once: the first to draw its number is the last to become visible. It is in the log, and whoever
    listens has gone past it."""
    ws = await listen()
    psql("DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET lock_timeout = 3000'; END $$")
    with expected("que «fast» confirmara mientras «slow» sigue sin confirmar"):
        await slow_commit_beside_a_fast_one(client, connect)
    event = await heard(ws, "el evento del cambio rápido, «fast»,")
    name = event.get("data", {}).get("nombre")
    same(name, "fast", "como nombre en el único evento que llega, y que «slow» se perdiera")
    await quiet(ws, "que el evento de «slow» no llegara nunca")
    logged = [event["id"] for event in (await asked(client, "/api/eventos"))["data"]]
    same(logged, [1, 2], "como ids de los eventos del registro, que tiene los dos")
