"""The list as it was: what the log tells of a moment, exactly, or nothing."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws.live.eventlog import prune_events
from inventory_ws.pg.database import DATABASE
from inventory_ws.products.listing import ListQuery, list_products_at

from .conftest import create, error, settled

CHANGES = (
    "INSERT INTO productos (nombre, precio, stock) SELECT 'Ñandú ' || n, n, n FROM generate_series(1, %(n)s) AS n",
    "UPDATE productos SET precio = precio + 0.5, descripcion = nullif(descripcion, 'x') WHERE id %% 3 = %(n)s %% 3",
    "UPDATE productos SET descripcion = 'x', stock = %(n)s WHERE id %% 4 = %(n)s %% 4",
    "DELETE FROM productos WHERE id %% 11 = %(n)s",
    """
    INSERT INTO productos (id, nombre, precio) OVERRIDING SYSTEM VALUE SELECT %(n)s, 'otra vez', 1
    FROM productos_id_seq WHERE last_value > %(n)s ON CONFLICT DO NOTHING
    """,
)


def live(connect: Callable, number: int, seed: int) -> None:
    """A history of so many transactions, a fifth of them rolled back."""
    chance, conn = random.Random(seed), connect()
    conn.autocommit = False
    for _ in range(number):
        with conn.cursor() as cursor:
            for change in chance.choices(CHANGES, k=chance.randint(1, 3)):
                cursor.execute(change, {"n": chance.randint(1, 5)})
        if chance.random() < 0.2:
            conn.rollback()
        else:
            conn.commit()


async def past(client: TestClient, at: int, **query: Any) -> list[dict[str, Any]]:
    resp = await client.get("/api/productos", params={"at": at, **query})
    assert resp.status == 200, await resp.text()
    answer = await resp.json()
    assert answer["last_event_id"] == at
    return answer["data"]


async def log(client: TestClient, after: int = 0) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while page := (await (await client.get(f"/api/eventos?after={after}")).json())["data"]:
        events += page
        after = page[-1]["id"]
    return events


def happen(products: dict[int, Any], event: dict[str, Any]) -> None:
    """One step of the fold."""
    products.pop(event["data"]["id"], None)
    if event["type"] != "PRODUCT_DELETED":
        products[event["data"]["id"]] = event["data"]


async def head(client: TestClient, psql: Callable) -> int:
    ((last,),) = psql("SELECT max(id) FROM eventos")
    await settled(client, last)
    return last


@pytest.mark.parametrize("seed", range(4))
async def test_list_at_each_event_is_the_fold_of_the_log_so_far(
    client: TestClient, connect: Callable, psql: Callable, seed: int
) -> None:
    live(connect, 80, seed)
    await head(client, psql)
    events, products = await log(client), {}
    assert len(events) > 100
    assert await past(client, 0) == []
    for event in events:
        happen(products, event)
        assert await past(client, event["id"]) == [products[key] for key in sorted(products)]
    assert await past(client, events[-1]["id"]) == (await (await client.get("/api/productos")).json())["data"]


async def test_past_list_is_searched_and_paged_like_the_current_one(
    client: TestClient, connect: Callable, psql: Callable
) -> None:
    live(connect, 20, 9)
    last = await head(client, psql)
    everything = (await (await client.get("/api/productos")).json())["data"]
    psql("DELETE FROM productos")
    await settled(client, last + len(everything))
    assert await past(client, last) == everything
    assert await past(client, last, q="ÑANDÚ 2") == [row for row in everything if row["nombre"] == "Ñandú 2"] != []
    found, url = [], f"/api/productos?at={last}&limit=2"
    while url:
        resp = await client.get(url)
        found += (await resp.json())["data"]
        url = resp.links["next"]["url"].path_qs if resp.links else None
    assert found == everything


async def test_position_outside_the_log_is_refused(client: TestClient, psql: Callable) -> None:
    await create(client, nombre="Teclado")
    for number in range(1, 10):
        await client.patch("/api/productos/1", json={"stock": number})
    await create(client, nombre="Ratón")
    await settled(client, 11)
    for beyond in (12, 9_223_372_036_854_775_807):
        body = await error(await client.get("/api/productos", params={"at": beyond}), 400)
        assert body["errors"] == [{"field": "at", "message": "no está en el registro"}]
    await error(await client.get("/api/productos?at=-1"), 400)
    await error(await client.get("/api/productos?at=ayer"), 400)
    await prune_events(client.app[DATABASE], None, 3)  # 9, 10, 11 stay
    await error(await client.get("/api/productos?at=7"), 400)
    await error(await client.get("/api/productos?at=8"), 400)  # what it was before 9 is gone, and 9 does not tell
    assert [(row["nombre"], row["stock"]) for row in await past(client, 9)] == [("Teclado", 8)]
    assert [row["nombre"] for row in await past(client, 11)] == ["Teclado", "Ratón"]


async def test_products_older_than_the_log_are_in_past_lists_while_unchanged(
    client: TestClient, psql: Callable
) -> None:
    psql("ALTER TABLE productos DISABLE TRIGGER USER")
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 1), ('Ratón', 1)")
    psql("ALTER TABLE productos ENABLE TRIGGER USER")
    await create(client, nombre="Monitor")
    await client.delete("/api/productos/2")
    await create(client, nombre="Cable")
    await settled(client, 3)
    assert [row["nombre"] for row in await past(client, 2)] == ["Teclado", "Monitor"]
    await error(await client.get("/api/productos?at=1"), 400)  # who knows what 2 was


async def test_truncate_ends_the_readable_past(client: TestClient, psql: Callable) -> None:
    await create(client)
    psql("TRUNCATE productos RESTART IDENTITY")
    await create(client, nombre="Ratón")
    await settled(client, 2)
    # Also where it came after the feed's look.
    assert await list_products_at(client.app[DATABASE], ListQuery(at=0)) is None
    await error(await client.get("/api/productos?at=0"), 400)
    assert await past(client, 1) == []
    assert [row["nombre"] for row in await past(client, 2)] == ["Ratón"]
