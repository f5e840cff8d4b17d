"""Several stock moves in one request: all of them or none, their events next to one another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws import create_app

from .conftest import create, error, settled, waits

KEY = {"Idempotency-Key": "venta-1042"}


@pytest.fixture
async def shop(client: TestClient) -> TestClient:
    """Five products, with 1 to 5 units."""
    for units in range(1, 6):
        await create(client, nombre=f"P{units}", stock=units)
    return client


async def sell(client: TestClient, *lines: tuple[int, int], key: dict[str, str] | None = None) -> Any:
    moves = [{"id": number, "delta": delta} for number, delta in lines]
    return await client.post("/api/stock", json={"movimientos": moves, "motivo": " venta 1042 "}, headers=key)


async def stocks(client: TestClient) -> list[int]:
    return [row["stock"] for row in (await (await client.get("/api/productos")).json())["data"]]


async def events(client: TestClient, last: int) -> list[dict[str, Any]]:
    await settled(client, last)
    return (await (await client.get("/api/eventos?after=5")).json())["data"]


async def test_lines_are_moved_together(shop: TestClient) -> None:
    resp = await sell(shop, (4, -1), (2, -2), (4, -2), (1, 7))
    assert resp.status == 200, await resp.text()
    body = await resp.json()
    assert (body["success"], body["message"]) == (True, "Existencias actualizadas exitosamente")
    assert [(product["id"], product["stock"]) for product in body["data"]] == [(4, 1), (2, 0), (1, 8)], "each once"
    told = await events(shop, 8)
    assert [event["id"] for event in told] == [6, 7, 8]
    assert {event["motivo"] for event in told} == {"venta 1042"}
    assert {event["id"]: event for event in body["data"]} == {event["data"]["id"]: event["data"] for event in told}
    assert {event["data"]["id"]: event["antes"]["stock"] for event in told} == {1: 1, 2: 2, 4: 4}


async def test_no_line_is_moved_if_one_does_not_fit(shop: TestClient, psql: Callable) -> None:
    body = await error(await sell(shop, (1, -1), (2, -2), (3, -2), (3, -2), (5, 2**31 - 1)), 409)
    assert body["errors"] == [
        {"field": "movimientos.2.delta", "message": "hay 3"},
        {"field": "movimientos.3.delta", "message": "hay 3"},
        {"field": "movimientos.4.delta", "message": "hay 5"},
    ]
    assert [(product["id"], product["stock"]) for product in body["data"]] == [(3, 3), (5, 5)]
    body = await error(await sell(shop, (8, -1), (1, -1), (2, -9), (8, 2)), 404)
    assert body["errors"] == [
        {"field": "movimientos.0.id", "message": "no existe"},
        {"field": "movimientos.2.delta", "message": "hay 2"},
        {"field": "movimientos.3.id", "message": "no existe"},
    ]
    assert await stocks(shop) == [1, 2, 3, 4, 5]
    assert psql("SELECT count(*), max(id) FROM eventos") == [(5, 5)]


async def test_invalid_line_is_named(client: TestClient) -> None:
    for lines, field in (
        (None, "movimientos"),
        ([], "movimientos"),
        ([{"id": 1, "delta": -1}] * 201, "movimientos"),
        ([{"id": 1, "delta": -1}, {"id": 2, "delta": 3}, {"id": 1, "delta": 1}], "movimientos"),
        ([{"id": 1, "delta": -1}, {"id": 2, "delta": 0}], "movimientos.1.delta"),
        ([{"id": 2**31, "delta": 1}], "movimientos.0.id"),
        ([{"id": 1, "delta": 1, "precio": 1}], "movimientos.0.precio"),
        ([1], "movimientos"),
    ):
        body = await error(await client.post("/api/stock", json={"movimientos": lines}), 400)
        assert [fault["field"] for fault in body["errors"]] == [field]


async def test_two_hundred_lines_are_one_sale(shop: TestClient, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'p', 1, 1 FROM generate_series(6, 200)")
    resp = await sell(shop, *((number, -1) for number in range(200, 0, -1)), key=KEY)
    assert [product["id"] for product in (await resp.json())["data"]] == list(range(200, 0, -1))
    assert psql("SELECT sum(stock), count(*) FROM productos") == [(10, 200)]
    again = await sell(shop, *((number, -1) for number in range(200, 0, -1)), key=KEY)
    assert (await again.text(), again.headers["Idempotency-Replayed"]) == (await resp.text(), "true")


async def test_repeated_sale_gets_the_first_answer_from_the_log(
    shop: TestClient, psql: Callable, dsn: str, aiohttp_client: Callable[..., Awaitable[TestClient]]
) -> None:
    lines = ((5, -2), (3, -3), (5, -1))
    resp = await sell(shop, *lines, key=KEY)
    first = await resp.text()
    psql("UPDATE productos SET stock = stock + 7, precio = 1")
    psql("DELETE FROM productos WHERE id = 3")
    for client in (shop, await aiohttp_client(create_app(dsn=dsn))):
        again = await sell(client, *lines, key=KEY)
        assert (await again.text(), again.headers.get("Idempotency-Replayed")) == (first, "true")
    await error(await sell(shop, *lines[:2], key=KEY), 422)
    assert psql("SELECT stock FROM productos WHERE id = 5") == [(9,)]


async def test_refused_sale_leaves_its_key(shop: TestClient) -> None:
    await error(await sell(shop, (1, -2), (2, -1), key=KEY), 409)
    await shop.post("/api/productos/1/stock", json={"delta": 1})
    resp = await sell(shop, (1, -2), (2, -1), key=KEY)
    assert (resp.status, resp.headers.get("Idempotency-Replayed")) == (200, None)


async def test_last_units_are_sold_once_to_twenty_buyers(shop: TestClient, psql: Callable) -> None:
    """A request that is repeated meanwhile is told of its own sale, and not that there is nothing left."""
    keys = [{"Idempotency-Key": f"k{n % 10}"} for n in range(20)]
    answers = await asyncio.gather(*(sell(shop, (5, -2), (4, -1), key=key) for key in keys))
    sold = [key["Idempotency-Key"] for key, resp in zip(keys, answers, strict=True) if resp.status == 200]
    assert {resp.status for resp in answers} == {200, 409}
    assert sorted(sold) == sorted(2 * list(set(sold)))
    assert len(sold) == 4
    assert psql("SELECT stock FROM productos WHERE id IN (4, 5) ORDER BY id") == [(2,), (1,)]


async def test_no_event_of_somebody_else_comes_between(shop: TestClient, psql: Callable) -> None:
    psql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.mensaje ->> 'motivo' = 'venta 1042' THEN PERFORM pg_sleep(0.03); END IF; RETURN NEW; END $$"
    )
    psql("CREATE TRIGGER slow BEFORE INSERT ON eventos FOR EACH ROW EXECUTE FUNCTION slow()")
    sold = asyncio.Event()

    async def change(number: int) -> None:
        while not sold.is_set():
            await shop.post(f"/api/productos/{number}/stock", json={"delta": 1})

    others = [asyncio.create_task(change(number)) for number in (4, 5)]
    await settled(shop, 7)
    await asyncio.gather(sell(shop, (1, 3), (2, 3), (3, 3)), sell(shop, (3, 2), (1, 2), (2, 2)))
    sold.set()
    await asyncio.gather(*others)
    ((last,),) = psql("SELECT max(id) FROM eventos")
    told = await events(shop, last)
    order = [event["data"]["stock"] - event["antes"]["stock"] for event in told]
    runs = [delta for before, delta in zip([0, *order], order, strict=False) if before != delta and delta > 1]
    assert sorted(order).count(1) > 2
    assert sorted(runs) == [2, 3], order


async def test_sales_of_the_same_products_do_not_wait_for_each_other(
    shop: TestClient, psql: Callable, connect: Callable
) -> None:
    session = connect()
    session.cursor().execute("BEGIN; UPDATE productos SET precio = 2 WHERE id = 3")
    asking = [asyncio.create_task(sell(shop, *lines)) for lines in (((1, 1), (3, 1), (2, 1)), ((2, 1), (3, 1), (1, 1)))]
    await waits(psql, "Lock", 2)
    session.cursor().execute("COMMIT")
    assert [(await task).status for task in asking] == [200, 200]
    assert await stocks(shop) == [3, 4, 5, 4, 5]
    assert psql("SELECT precio FROM productos WHERE id = 3") == [(2,)], "both have seen what came before them"


async def test_sale_is_refused_for_what_is_there_after_a_wait(
    shop: TestClient, psql: Callable, connect: Callable
) -> None:
    session = connect()
    session.cursor().execute("BEGIN; UPDATE productos SET stock = 1 WHERE id = 3; DELETE FROM productos WHERE id = 4")
    asking = [asyncio.create_task(sell(shop, (2, -1), (3, -2))), asyncio.create_task(sell(shop, (4, -1), (2, -1)))]
    await waits(psql, "Lock", 2)
    session.cursor().execute("COMMIT")
    assert (await error(await asking[0], 409))["errors"] == [{"field": "movimientos.1.delta", "message": "hay 1"}]
    assert (await error(await asking[1], 404))["errors"] == [{"field": "movimientos.0.id", "message": "no existe"}]
    assert await stocks(shop) == [1, 2, 1, 5]


async def test_what_the_owner_prevents_undoes_the_other_lines(shop: TestClient, psql: Callable) -> None:
    psql(
        "CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.id = 2 THEN RETURN NULL; ELSIF NEW.id = 3 THEN RAISE 'el P3 no se vende'; END IF; RETURN NEW; END $$"
    )
    psql("CREATE TRIGGER frozen BEFORE UPDATE ON productos FOR EACH ROW EXECUTE FUNCTION frozen()")
    for product, reason in ((2, "no es un valor permitido"), (3, "el P3 no se vende")):
        body = await error(await sell(shop, (1, -1), (product, -1), (4, -1)), 400)
        assert body["errors"] == [{"field": "", "message": reason}]
    assert await stocks(shop) == [1, 2, 3, 4, 5]
