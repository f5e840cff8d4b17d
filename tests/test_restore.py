"""A deleted product comes back with its id, its history and its values, from what the log says of it."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp.test_utils import TestClient

from inventory_ws import create_app
from inventory_ws.live.eventlog import prune_events
from inventory_ws.pg.database import DATABASE

from .conftest import create, error, settled, waits

RESTORE = "/api/productos/1/restaurar"


async def deleted(client: TestClient) -> dict:
    """Creates and changes a product, deletes it, and returns what it was."""
    await create(client, precio=59.9, stock=3)
    await client.post("/api/productos/1/stock", json={"delta": 4})
    return (await (await client.delete("/api/productos/1")).json())["data"]


async def events(client: TestClient, number: int) -> list[dict]:
    await settled(client, number)
    return (await (await client.get("/api/eventos?producto=1")).json())["data"]


async def test_restored_product_has_its_id_its_values_and_its_history(client: TestClient, psql: Callable) -> None:
    was = await deleted(client)
    key = {"Idempotency-Key": "k1"}
    resp = await client.post(RESTORE, headers=key)
    body = await resp.json()
    assert (resp.status, body["message"]) == (200, "Producto restaurado exitosamente"), body
    now = body["data"]
    assert now == was | {"updated_at": now["updated_at"]}
    assert resp.headers["ETag"] == f'"{now["updated_at"]}"'
    assert await (await client.get("/api/productos/1")).json() == {"success": True, "data": now}
    *_, event = await events(client, 4)
    assert (event["type"], event["data"], event["motivo"]) == ("PRODUCT_CREATED", now, "restauración")
    await client.delete("/api/productos/1")
    assert await (await client.post(RESTORE, headers=key)).json() == body, "the first answer; nothing is done"
    assert psql("SELECT count(*) FROM productos") == [(0,)]
    assert (await client.post(RESTORE)).status == 200
    assert (await create(client))["id"] == 2
    await settled(client, 7)
    assert (await (await client.get("/api/productos?at=4")).json())["data"] == [now]
    assert (await (await client.get("/api/productos?at=5")).json())["data"] == []


async def test_product_is_restored_once_by_two(
    client: TestClient,
    dsn: str,
    aiohttp_client: Callable[..., Awaitable[TestClient]],
    connect: Callable,
    psql: Callable,
) -> None:
    await deleted(client)
    other = await aiohttp_client(create_app(dsn=dsn))
    session = connect()
    session.cursor().execute("BEGIN; LOCK TABLE productos IN SHARE MODE")
    asking = [asyncio.create_task(each.post(RESTORE)) for each in (client, other)]
    await waits(psql, "relation", 2)
    session.cursor().execute("ROLLBACK")
    answers = sorted([await asked for asked in asking], key=lambda resp: resp.status)
    assert [resp.status for resp in answers] == [200, 409]
    assert (await error(answers[1], 409))["data"] == (await answers[0].json())["data"]
    assert [event["type"] for event in await events(client, 4)][3:] == ["PRODUCT_CREATED"]


async def test_what_is_there_or_is_not_in_the_log_is_not_restored(client: TestClient, psql: Callable) -> None:
    await create(client)
    product = (await (await client.patch("/api/productos/1", json={"stock": 1})).json())["data"]
    assert (await error(await client.post(RESTORE), 409))["data"] == product
    for missing in ("2", "2147483648"):
        await error(await client.post(f"/api/productos/{missing}/restaurar"), 404)
    await client.delete("/api/productos/1")
    psql("UPDATE eventos SET mensaje = (mensaje::jsonb - 'antes')::json")  # as 0.1.0 wrote it
    assert "registro" in (await error(await client.post(RESTORE), 404))["message"]
    await create(client)
    await client.delete("/api/productos/2")
    await create(client)
    await prune_events(client.app[DATABASE], None, 1)
    await error(await client.post("/api/productos/2/restaurar"), 404)
    await client.delete("/api/productos/3")
    psql(
        "ALTER TABLE productos DISABLE TRIGGER eventos_registrar;"
        " INSERT INTO productos (id, nombre, precio) OVERRIDING SYSTEM VALUE VALUES (3, 'unseen by the log', 1);"
        " ALTER TABLE productos ENABLE TRIGGER eventos_registrar"
    )
    await error(await client.post("/api/productos/3/restaurar"), 409)
    psql("TRUNCATE productos RESTART IDENTITY")
    await error(await client.post("/api/productos/3/restaurar"), 404)
    assert psql("SELECT * FROM productos") == []
