"""What reaches the sockets: every change, once, in the order of the log, whoever made it."""

import asyncio
import random
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from aiohttp.test_utils import TestClient, TestServer

from inventory_ws import create_app
from inventory_ws.live import eventlog
from inventory_ws.live.feed import Feed
from inventory_ws.live.hub import HUB
from inventory_ws.live.log import LOG
from inventory_ws.pg.schema import sql_file

from .conftest import create, healthy, receive, settled, silence
from .tools.service import PATIENCE


async def test_change_reaches_every_open_socket(client: TestClient, listen: Callable) -> None:
    sockets = [await listen("/"), await listen("/ws"), await listen()]
    product = await create(client)
    await client.patch("/api/productos/1", json={"stock": 3})
    await client.delete("/api/productos/1")
    for ws in sockets:
        created, updated, deleted = await receive(ws, 3)
        assert created == {"type": "PRODUCT_CREATED", "id": 1, "data": product, "timestamp": created["timestamp"]}
        assert (updated["type"], updated["data"]["stock"]) == ("PRODUCT_UPDATED", 3)
        assert deleted == {
            "type": "PRODUCT_DELETED",
            "id": 3,
            "data": {"id": 1},
            "timestamp": deleted["timestamp"],
            "antes": updated["data"],
        }


async def test_change_by_psql_reaches_the_sockets_at_once(unpolled: None, listen: Callable, psql: Callable) -> None:
    ws = await listen()
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    (created,) = await receive(ws, 1)
    assert created["data"]["nombre"] == "Mouse"


async def test_bell_during_a_read_is_not_lost(
    unpolled: None, client: TestClient, listen: Callable, connect: Callable
) -> None:
    ws, session = await listen(), connect()
    for _ in range(100):
        await create(client)
        await receive(ws, 1)
        session.cursor().execute("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
        assert (await receive(ws, 1))[0]["data"]["nombre"] == "Mouse"


async def test_change_without_a_notification_is_found_by_polling(
    attentive: None, listen: Callable, psql: Callable
) -> None:
    ws = await listen()
    psql("SET inventory_ws.bell = 'local'")
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    (created,) = await receive(ws, 1)
    assert created["data"]["nombre"] == "Mouse"


async def test_what_a_trigger_of_the_owner_does_instead_is_heard_at_once(
    unpolled: None, client: TestClient, listen: Callable, psql: Callable
) -> None:
    await create(client)
    await settled(client, 1)
    psql("""
        CREATE FUNCTION retirar() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE productos SET stock = 0 WHERE id = OLD.id; RETURN NULL; END $$;
        CREATE TRIGGER retirar BEFORE DELETE ON productos FOR EACH ROW EXECUTE FUNCTION retirar();
        """)
    ws = await listen()
    assert (await client.delete("/api/productos/1")).status == 400
    (retired,) = await receive(ws, 1)
    assert retired["data"]["stock"] == 0


async def test_full_queue_of_notify_stops_no_event(
    unpolled: None, client: TestClient, listen: Callable, psql: Callable
) -> None:
    ws = await listen()
    psql("ALTER FUNCTION pg_notify(text, text) RENAME TO real_notify")
    psql(
        "CREATE FUNCTION pg_catalog.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN RAISE 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000'; END$$"
    )
    for _ in range(2):  # the second is read after the first was to be notified
        await create(client)
        await receive(ws, 1)
    psql("DROP FUNCTION pg_notify(text, text); ALTER FUNCTION real_notify(text, text) RENAME TO pg_notify")
    for _ in range(2):  # the first may come while the last error does
        psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
        assert (await receive(ws, 1))[0]["data"]["nombre"] == "Mouse", "the feed still listens"
    assert client.app[HUB].feed.losses == 0


async def test_queue_of_notify_that_was_held_up_is_cut(
    monkeypatch: pytest.MonkeyPatch, dsn: str, psql: Callable
) -> None:
    """PostgreSQL alone does not cut a full queue when its cause is gone: findings/postgresql-full-notify-queue-*."""
    segments = "SELECT count(*) FROM pg_ls_dir('pg_notify')"
    with closing(psycopg2.connect(dsn)) as held:
        held.cursor().execute("LISTEN other")
        held.commit()
        held.cursor().execute("SELECT 1")  # within a transaction it takes nothing out of the queue
        psql("SELECT pg_notify('other', repeat('x', 7000) || number) FROM generate_series(1, 100) AS number")
        assert psql(segments) > [(1,)]
    monkeypatch.setattr("inventory_ws.live.feed.POLL", 0.05)
    async with TestClient(TestServer(create_app(dsn=dsn))), asyncio.timeout(10):
        while psql(segments) > [(1,)]:
            await asyncio.sleep(0.02)


async def test_open_transaction_blocks_no_write_and_is_published_at_commit(
    client: TestClient, listen: Callable, connect: Callable
) -> None:
    await create(client, nombre="a")
    await settled(client, 1)
    ws = await listen()
    slow = connect()
    slow.autocommit = False
    slow.cursor().execute("UPDATE productos SET stock = 77 WHERE nombre = 'a'")
    async with asyncio.timeout(1 * PATIENCE):
        await create(client, nombre="b")
    assert (await receive(ws, 1))[0]["data"]["nombre"] == "b"
    slow.commit()
    assert (await receive(ws, 1))[0]["data"]["stock"] == 77


async def test_rollback_and_change_without_effect_publish_nothing(
    client: TestClient, listen: Callable, psql: Callable, connect: Callable
) -> None:
    await create(client, stock=1)
    await settled(client, 1)
    ws = await listen()
    session = connect()
    session.autocommit = False
    session.cursor().execute("UPDATE productos SET stock = 2")
    session.rollback()
    psql("UPDATE productos SET stock = 1")
    await silence(ws, client)


async def slow_commit_beside_a_fast_one(client: TestClient, connect: Callable) -> None:
    """The slow one has drawn its event id first and commits last, when the feed waits for it or has gone past it."""
    slow, fast, watching = connect(), connect(), connect().cursor()
    slow.autocommit = False
    slow.cursor().execute("INSERT INTO productos (nombre, precio) VALUES ('slow', 1)")
    slow.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
    await asyncio.to_thread(fast.cursor().execute, "INSERT INTO productos (nombre, precio) VALUES ('fast', 1)")
    waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(10):
        while client.app[LOG].head < 2 and not (watching.execute(waiting) or watching.rowcount):
            await asyncio.sleep(0.005)
    slow.commit()


async def test_slow_commit_is_not_skipped(client: TestClient, listen: Callable, connect: Callable) -> None:
    ws = await listen()
    await slow_commit_beside_a_fast_one(client, connect)
    assert [event["data"]["nombre"] for event in await receive(ws, 2)] == ["slow", "fast"]


async def test_slow_first_commit_is_not_skipped(
    client: TestClient, listen: Callable, connect: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It draws its id after the feed was told that the log is empty: 0 is an end like any other."""
    ws, slow, fast, watching = await listen(), connect(), connect(), connect()
    slow.autocommit = False
    get_bounds, waiting = eventlog.get_bounds, "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    async def and_two_commits_begin(*args: Any, **options: Any) -> Any:
        found = await get_bounds(*args, **options)
        monkeypatch.undo()
        assert found[0] == 0
        draw = "INSERT INTO productos (nombre, precio) VALUES ('slow', 1); SET CONSTRAINTS ALL IMMEDIATE"
        await asyncio.to_thread(slow.cursor().execute, draw)
        await asyncio.to_thread(fast.cursor().execute, "INSERT INTO productos (nombre, precio) VALUES ('fast', 1)")
        return found

    monkeypatch.setattr(eventlog, "get_bounds", and_two_commits_begin)
    client.app[HUB].feed.ring()
    async with asyncio.timeout(10):
        with watching.cursor() as cursor:
            while client.app[LOG].head < 2 and not (cursor.execute(waiting) or cursor.rowcount):
                await asyncio.sleep(0.005)
    slow.commit()
    assert [event["data"]["nombre"] for event in await receive(ws, 2)] == ["slow", "fast"]


async def test_slow_commit_is_skipped_without_the_lock(
    client: TestClient, listen: Callable, connect: Callable, psql: Callable
) -> None:
    """The lock is what the test above tests: without it the same two commits lose an event."""
    lock = "PERFORM pg_advisory_xact_lock_shared(2024013002);"
    schema = sql_file("schema.sql")
    assert lock in schema
    psql(schema.replace(lock, ""))
    ws = await listen()
    await slow_commit_beside_a_fast_one(client, connect)
    assert [event["data"]["nombre"] for event in await receive(ws, 1)] == ["fast"]
    await silence(ws, client)


async def test_concurrent_writes_are_published_in_the_order_of_the_log(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    writers, changes = 8, 200

    async def write(seed: int) -> None:
        dice, mine = random.Random(seed), []
        for number in range(changes):
            if not mine or dice.random() < 0.4:
                mine.append((await create(client, nombre=f"{seed}-{number}"))["id"])
            elif dice.random() < 0.3:
                resp = await client.delete(f"/api/productos/{mine.pop()}")
                assert resp.status == 200
            else:
                resp = await client.post(f"/api/productos/{dice.choice(mine)}/stock", json={"delta": 1})
                assert resp.status == 200

    # While they write: a client that reads nothing answers no ping.
    events, *_ = await asyncio.gather(receive(ws, writers * changes), *(write(seed) for seed in range(writers)))
    heard = [event["id"] for event in events]
    logged, after = [], 0
    while page := (await (await client.get(f"/api/eventos?after={after}")).json())["data"]:
        logged += [event["id"] for event in page]
        after = logged[-1]
    assert heard == logged
    assert len(set(heard)) == writers * changes
    await silence(ws, client)


CATALOGUE = [
    ("Café de Colombia", "18.00", 39),
    ('Té "verde"', "19.00", 17),
    ("Jarabe de anís", "10.00", 13),
    ("Açaí", "22.00", 53),
    ("Gumbo <b>mix</b>", "21.35", 0),
]


async def test_catalogue_posted_one_by_one_reaches_every_socket(client: TestClient, listen: Callable) -> None:
    sockets = [await listen(), await listen()]
    for name, price, stock in CATALOGUE:
        await create(client, nombre=name, precio=float(price), stock=stock)
    first, second = [await receive(ws, len(CATALOGUE)) for ws in sockets]
    assert first == second
    assert [event["data"]["nombre"] for event in first] == [name for name, *_ in CATALOGUE]
    listed = (await (await client.get("/api/productos")).json())["data"]
    value = sum(Decimal(str(product["precio"])) * product["stock"] for product in listed)
    assert value == sum(Decimal(price) * stock for _, price, stock in CATALOGUE) == Decimal("2321.00")


async def test_transaction_of_many_changes_is_published_completely(
    client: TestClient, listen: Callable, psql: Callable
) -> None:
    ws = await listen()
    psql("INSERT INTO productos (nombre, precio) SELECT 'p' || n, n FROM generate_series(1, 2500) AS n")
    assert [event["id"] for event in await receive(ws, 2500)] == list(range(1, 2501))


async def test_second_instance_publishes_changes_of_the_first_at_once(
    unpolled: None, client: TestClient, dsn: str, aiohttp_client: Callable
) -> None:
    other = await aiohttp_client(create_app(dsn=dsn))
    ws = await other.ws_connect("/ws")
    await receive(ws, 1)
    product = await create(client)
    (created,) = await receive(ws, 1)
    assert created["data"] == product


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'inventory_ws'"


async def test_feed_continues_after_its_connection_is_cut(client: TestClient, listen: Callable, psql: Callable) -> None:
    ws = await listen()
    for number in range(1, 4):
        assert psql(CUT, psql("SELECT current_database()")[0])
        psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
        assert [event["id"] for event in await receive(ws, 1)] == [number]
    assert (await client.get("/api/salud")).status == 200


async def test_feed_reports_that_it_is_down_and_loses_nothing(
    client: TestClient, listen: Callable, psql: Callable, server: str
) -> None:
    ws = await listen()
    (name,) = psql("SELECT current_database()")[0]
    with closing(psycopg2.connect(server)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.cursor().execute(CUT, [name])
        async with asyncio.timeout(10):
            while (await (resp := await client.get("/api/salud")).json())["data"]["feed"]:
                await asyncio.sleep(0.05)
        assert resp.status == 503
        psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
        admin.cursor().execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert (await receive(ws, 1))[0]["data"]["nombre"] == "Mouse"
    assert (await client.get("/api/salud")).status == 200


async def test_truncate_makes_every_client_reload(client: TestClient, listen: Callable, psql: Callable) -> None:
    await create(client)
    await settled(client, 1)
    ws = await listen()
    psql("TRUNCATE productos")
    await ws.receive(timeout=5)
    assert ws.close_code == 1012
    again = await listen()
    product = await create(client)
    assert [event["id"] for event in await receive(again, 1)] == [2]
    events = (await (await client.get("/api/eventos")).json())["data"]
    assert [event["data"] for event in events] == [product], "the history of what the table now holds"


async def test_unfinished_commit_is_reported_by_health(
    attentive: None, client: TestClient, connect: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.live.feed.BUSY_TIMEOUT", 0.3)
    session = connect()
    session.autocommit = False
    session.cursor().execute("INSERT INTO productos (nombre, precio) VALUES ('a', 1); SET CONSTRAINTS ALL IMMEDIATE")
    async with asyncio.timeout(5):
        while (resp := await client.get("/api/salud")).status != 503:
            await asyncio.sleep(0.05)
    assert "transacción" in (await resp.json())["data"]["reason"]
    await create(client)
    session.commit()
    await healthy(client)
    await settled(client, 2)


async def test_change_that_was_answered_is_in_the_log_that_the_next_request_reads(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Feed._read

    async def late(*args: Any) -> bool:
        await asyncio.sleep(0.02)  # a feed that is busy with thousands of sockets
        return await read(*args)

    monkeypatch.setattr(Feed, "_read", late)

    async def change_and_read(number: int) -> None:
        product = await create(client, nombre=f"{number}")
        newest = (await (await client.get("/api/eventos?before=9223372036854775807&limit=100")).json())["data"]
        assert product in [event["data"] for event in newest]
        (event,) = (await (await client.get(f"/api/eventos?producto={product['id']}")).json())["data"]
        assert event["data"] == product

    await asyncio.gather(*(change_and_read(number) for number in range(30)))


async def test_positions_beyond_the_end_are_looked_for_together(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_bounds, looks = eventlog.get_bounds, 0

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.3)
        return await get_bounds(*args, **options)

    monkeypatch.setattr(eventlog, "get_bounds", counted)
    answers = await asyncio.gather(*(client.get("/api/productos?at=9000000000000000000") for _ in range(50)))
    assert {resp.status for resp in answers} == {400}
    assert looks <= 3
