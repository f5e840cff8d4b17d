"""A request that is sent again with its key is done once, and answered as the first time."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psycopg2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from inventory_ws import create_app
from inventory_ws.pg.connection import Connection
from inventory_ws.pg.database import DATABASE
from inventory_ws.products.repository import Product

from .conftest import PRODUCT, create, error, settled
from .tools.cluster import Cluster
from .tools.screen import run
from .tools.service import inventory

KEY = {"Idempotency-Key": "k1"}
COUNT = "SELECT count(*) FROM eventos"
CHANGES: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "create": ("POST", "/api/productos", PRODUCT),
    "put": ("PUT", "/api/productos/1", {"stock": 3}),
    "patch": ("PATCH", "/api/productos/1", {"precio": 7.5, "descripcion": None}),
    "delete": ("DELETE", "/api/productos/1", None),
    "stock": ("POST", "/api/productos/1/stock", {"delta": -1}),
    "sale": ("POST", "/api/stock", {"movimientos": [{"id": 1, "delta": -1}]}),
}


class Answer(NamedTuple):
    """What a client is told."""

    status: int
    etag: str | None
    location: str | None
    body: str


async def ask(
    client: TestClient, method: str, path: str, json: object = None, headers: Any = KEY
) -> tuple[Answer, bool]:
    """The answer, and whether it is an earlier one again."""
    resp = await client.request(method, path, json=json, headers=headers)
    told = Answer(resp.status, resp.headers.get("ETag"), resp.headers.get("Location"), await resp.text())
    return told, resp.headers.get("Idempotency-Replayed") == "true"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_repeated_request_gets_the_first_answer(
    client: TestClient, psql: Callable, dsn: str, aiohttp_client: Callable[..., Awaitable[TestClient]], change: Any
) -> None:
    await create(client)
    first, replayed = await ask(client, *change)
    assert (first.status < 300, replayed) == (True, False)
    ((events,),) = psql(COUNT)
    drawn = "SELECT (SELECT last_value FROM eventos_id_seq), pg_sequence_last_value(productos_secuencia())"
    ids = psql(drawn)
    assert await ask(client, *change) == (first, True)
    assert psql(drawn) == ids, "none is missing afterwards"
    psql(
        "INSERT INTO productos (nombre, precio) VALUES ('psql', 1); UPDATE productos SET stock = stock + 7, precio = 1"
    )
    psql("DELETE FROM productos")
    after = psql(COUNT)
    assert await ask(client, *change) == (first, True)
    restarted = await aiohttp_client(create_app(dsn=dsn))
    assert await ask(restarted, *change) == (first, True)
    assert psql(COUNT) == after
    assert events == 2
    assert psql("SELECT count(*) FROM eventos WHERE clave = 'k1'") == [(1,)]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_twenty_concurrent_requests_on_two_instances_are_done_once(
    client: TestClient, psql: Callable, dsn: str, aiohttp_client: Callable[..., Awaitable[TestClient]], change: Any
) -> None:
    await create(client)
    other = await aiohttp_client(create_app(dsn=dsn))
    answers = await asyncio.gather(*(ask(each, *change) for _ in range(10) for each in (client, other)))
    assert {answer for answer, _ in answers} == {answers[0][0]}
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 19
    assert psql(COUNT) == [(2,)]


@pytest.mark.parametrize("name", CHANGES)
async def test_second_of_two_requests_waiting_for_the_table_gets_the_first_answer(
    client: TestClient,
    psql: Callable,
    connect: Callable,
    name: str,
    dsn: str,
    aiohttp_client: Callable[..., Awaitable[TestClient]],
) -> None:
    await create(client)
    other_instance = await aiohttp_client(create_app(dsn=dsn))  # where it waits alone: on one, it would be in a batch
    session = connect()
    session.cursor().execute("BEGIN; LOCK TABLE productos IN SHARE MODE")
    asking = [asyncio.create_task(ask(each, *CHANGES[name])) for each in (client, other_instance)]
    async with asyncio.timeout(10):
        while psql("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted") != [(2,)]:
            await asyncio.sleep(0.01)
    session.cursor().execute("ROLLBACK")
    (first, one), (second, other) = await asyncio.gather(*asking)
    assert first == second
    assert {one, other} == {False, True}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_key_of_another_request_is_422_and_nothing_is_done(
    client: TestClient, psql: Callable, change: Any
) -> None:
    await create(client)
    await create(client)
    await ask(client, "POST", "/api/productos/2/stock", {"delta": 1})
    before = psql("SELECT * FROM productos ORDER BY id")
    method, path, body = change
    await error(await client.request(method, path, json=body, headers=KEY), 422)
    assert psql("SELECT * FROM productos ORDER BY id") == before


async def test_same_body_to_another_path_is_another_request(client: TestClient, psql: Callable) -> None:
    await create(client)
    await create(client)
    assert (await ask(client, "PUT", "/api/productos/1", {"stock": 1}))[0].status == 200
    for method, path in (("PATCH", "/api/productos/1"), ("PUT", "/api/productos/2")):
        assert (await ask(client, method, path, {"stock": 1}))[0].status == 422
    assert (await ask(client, "PUT", "/api/productos/1", {"stock": 2}))[0].status == 422
    assert psql("SELECT id, stock FROM productos ORDER BY id") == [(1, 1), (2, 10)]


async def test_key_of_another_user_is_422(
    dsn: str, psql: Callable, aiohttp_client: Callable[..., Awaitable[TestClient]]
) -> None:
    async def named(request: web.Request) -> str:
        return request.headers["X-Who"]

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=named))
    headers = [{**KEY, "X-Who": who} for who in ("maria", "juan", "maria")]
    answers = [await ask(client, *CHANGES["create"], headers=each) for each in headers]
    assert [(answer.status, replayed) for answer, replayed in answers] == [(201, False), (422, False), (201, True)]


async def test_key_may_stand_in_quotes(client: TestClient, psql: Callable) -> None:
    keys = ["k", '"k"', 'a"b', r'"a\"b"', "x" * 255, '"' + "x" * 255 + '"']
    answers = [await ask(client, *CHANGES["create"], headers={"Idempotency-Key": key}) for key in keys]
    assert [replayed for _, replayed in answers] == [False, True] * 3
    assert psql("SELECT clave FROM eventos ORDER BY id") == [("k",), ('a"b',), ("x" * 255,)]


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a b", '"a b"', "ñ", "a\tb"])
async def test_invalid_key_is_400(client: TestClient, psql: Callable, key: str) -> None:
    for method, path, body in CHANGES.values():
        resp = await client.request(method, path, json=body, headers={"Idempotency-Key": key})
        assert "Idempotency-Key" in (await error(resp, 400))["message"]
    assert psql("SELECT count(*) FROM productos") == [(0,)]


async def test_two_keys_are_400(client: TestClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    await error(await client.post("/api/productos", json=PRODUCT, headers=headers), 400)


async def test_refused_request_is_executed_again(client: TestClient, psql: Callable) -> None:
    sale = ("POST", "/api/productos/1/stock", {"delta": -3})
    assert (await ask(client, *sale))[0].status == 404
    await create(client, stock=2)
    assert (await ask(client, *sale))[0].status == 409
    psql("UPDATE productos SET stock = 5")
    sold = await ask(client, *sale)
    assert (sold[0].status, sold[1]) == (200, False)
    assert await ask(client, *sale) == (sold[0], True)
    assert psql("SELECT stock FROM productos") == [(2,)]
    assert (await ask(client, "POST", "/api/productos", {"nombre": ""}, {"Idempotency-Key": "k2"}))[0].status == 400
    assert (await ask(client, "POST", "/api/productos", PRODUCT, {"Idempotency-Key": "k2"}))[0].status == 201


async def test_repeated_conditional_change_gets_the_first_answer(client: TestClient) -> None:
    product = await create(client)
    headers = {**KEY, "If-Match": f'"{product["updated_at"]}"'}
    done = await ask(client, "PATCH", "/api/productos/1", {"stock": 1}, headers)
    assert done[0].status == 200
    assert await ask(client, "PATCH", "/api/productos/1", {"stock": 1}, headers) == (done[0], True)
    assert (await ask(client, "PATCH", "/api/productos/1", {"stock": 1}, {**headers, "Idempotency-Key": "k2"}))[
        0
    ].status == 412


async def test_change_without_effect_has_no_event_and_no_key(client: TestClient, psql: Callable) -> None:
    product = await create(client)
    same = ("PATCH", "/api/productos/1", {"stock": product["stock"]})
    first, replayed = await ask(client, *same)
    assert (first.status, first.etag, replayed) == (200, f'"{product["updated_at"]}"', False)
    assert psql(COUNT) == [(1,)]
    psql("UPDATE productos SET stock = 1")
    assert (await ask(client, *same))[1] is False, "it is done now, for the first time"
    assert psql("SELECT stock FROM productos") == [(product["stock"],)]


async def test_repetition_refused_by_a_constraint_gets_the_first_answer(client: TestClient, psql: Callable) -> None:
    psql("CREATE UNIQUE INDEX ON productos (nombre)")
    first, _ = await ask(client, *CHANGES["create"])
    assert await ask(client, *CHANGES["create"]) == (first, True)
    assert (await ask(client, *CHANGES["create"], headers={"Idempotency-Key": "k2"}))[0].status == 400


async def test_key_is_known_as_long_as_its_event(client: TestClient, psql: Callable) -> None:
    await ask(client, *CHANGES["create"])
    psql("SELECT eventos_podar(1, 0)")
    second, replayed = await ask(client, *CHANGES["create"])
    assert (second.location, replayed) == ("productos/2", False)


async def test_explicit_id_inserted_meanwhile_does_not_hide_the_first_answer(
    client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await ask(client, *CHANGES["create"])
    psql("SELECT setval(productos_secuencia(), 1, false)")  # the next id drawn is one that exists
    assert await ask(client, *CHANGES["create"]) == (first, True)


async def test_all_statements_of_a_keyed_request_share_one_time_limit(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Connection.run

    async def slow(conn: Connection, *args: object) -> object:
        await asyncio.sleep(0.4)
        return await run(conn, *args)

    monkeypatch.setattr(Connection, "run", slow)
    monkeypatch.setattr(client.app[DATABASE], "timeout", 0.6)
    await error(await client.post("/api/productos", json=PRODUCT, headers=KEY), 503)
    assert (await client.post("/api/productos", json=PRODUCT)).status == 201


async def test_request_without_a_key_leaves_none(client: TestClient, psql: Callable) -> None:
    await ask(client, *CHANGES["create"])
    for _ in range(9):  # on every connection of the pool, also the one that has had a key
        await create(client)
    assert psql("SELECT count(clave), count(huella), count(*) FROM eventos") == [(1, 1, 10)]


def test_new_product_is_not_marked_as_replayed() -> None:
    assert Product(1, "{}").replayed is False


SALE = ("/api/productos/1/stock", {"delta": -1})


async def sell(url: str) -> tuple[int, str | None, int]:
    """Asks until it is answered: status, whether it is an earlier answer again, the stock then."""
    async with aiohttp.ClientSession(headers=KEY) as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.post(url + SALE[0], json=SALE[1]) as resp:
                    if resp.status != 503:
                        body = await resp.json()
                        return resp.status, resp.headers.get("Idempotency-Replayed"), body["data"]["stock"]
            await asyncio.sleep(0.1)


def commit(dsn: str, number: int) -> None:
    """Commits something; also where its server is killed meanwhile."""
    with suppress(psycopg2.OperationalError):
        run(dsn, f"CREATE TABLE probe_{number} ()")


async def waiting(dsn: str, words: str, asking: asyncio.Future[Any]) -> bool:
    """Waits until the commit of a statement with these words waits for a standby, perhaps beside others of the service; False
    where it is through."""
    sql = f"SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%{words}%'"
    async with asyncio.timeout(20):
        while not run(dsn, sql):
            if asking.done():
                return False
            await asyncio.sleep(0.01)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["service", "PostgreSQL"])
async def test_kill_between_commit_and_answer_is_done_once(folder: Path, victim: str) -> None:
    with Cluster(folder / f"once-{victim}") as cluster:
        cluster.create()
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(inventory(cluster.dsn))
            run(cluster.dsn, "INSERT INTO productos (nombre, precio, stock) VALUES ('a', 1, 5)")
            # A commit is written, and not answered before a standby has it too, which is not there.
            run(cluster.dsn, "ALTER SYSTEM SET synchronous_standby_names = 'nadie'", "SELECT pg_reload_conf()")
            for number in count():  # until that is in force
                probe = asyncio.ensure_future(asyncio.to_thread(commit, cluster.dsn, number))
                if await waiting(cluster.dsn, f"probe_{number} ", probe):
                    break
            asking = asyncio.create_task(sell(service.url))
            assert await waiting(cluster.dsn, KEY["Idempotency-Key"], asking)
            if victim == "service":
                service.process.kill()
                asking.cancel()
                run(cluster.dsn, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
                service = await stack.enter_async_context(inventory(cluster.dsn))
                asking = asyncio.create_task(sell(service.url))
            else:
                cluster.stop(signal.SIGQUIT)
                (cluster.folder / "cluster" / "postgresql.auto.conf").write_text("")
                cluster.start()
            async with asyncio.timeout(20):
                assert await asking == (200, "true", 4)
            assert run(cluster.dsn, "SELECT stock, (SELECT count(*) FROM eventos) FROM productos") == [(4, 2)]
            await probe


async def test_events_of_one_product(client: TestClient) -> None:
    for _ in range(3):
        await create(client)
    await client.patch("/api/productos/2", json={"stock": 1})
    await client.delete("/api/productos/2")
    await settled(client, 5)

    async def ids(query: str) -> list[int]:
        return [event["id"] for event in (await (await client.get(f"/api/eventos?{query}")).json())["data"]]

    assert await ids("producto=2") == [2, 4, 5]
    assert await ids("producto=2&after=2&limit=1") == [4]
    assert await ids("producto=4000000000") == []
    for wrong in ("0", "x", "-1", "99999999999999999999"):
        await error(await client.get(f"/api/eventos?producto={wrong}"), 400)


async def test_events_of_one_product_are_found_by_the_index(client: TestClient, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'p', 1 FROM generate_series(1, 5000)")
    psql("ANALYZE eventos")
    plan = psql(
        "EXPLAIN SELECT * FROM eventos WHERE producto_id = 7::bigint AND id > 0 AND id <= 5000 ORDER BY id LIMIT 9"
    )
    assert "eventos_producto" in str(plan)
