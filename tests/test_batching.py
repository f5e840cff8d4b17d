"""Changes that arrive together are committed together, and nobody can tell."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg2
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from inventory_ws import create_app
from inventory_ws.pg.connection import Connection
from inventory_ws.pg.database import DATABASE
from inventory_ws.pg.errors import Unavailable
from inventory_ws.products import batching, repository
from inventory_ws.products.batching import BatchingDatabase
from inventory_ws.products.models import NewProduct
from inventory_ws.products.repository import Cause

from .conftest import PRODUCT, create, error, waits

Request = tuple[str, str, dict[str, Any] | None, dict[str, str]]
Serve = Callable[..., Awaitable[TestClient]]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Changes wait for the one under way as long as it takes. Returns how long they wait else."""
    seconds = batching.PATIENCE
    monkeypatch.setattr(batching, "PATIENCE", 60)
    return seconds


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The changes that are made alone after a batch: the seconds that each has left."""
    changes: list[float] = []
    make = BatchingDatabase.make

    async def recorded(db: Any, change: Any, alone: Any) -> Any:
        async def after_batch(seconds: float | None) -> Any:
            if seconds is not None:
                changes.append(seconds)
            return await alone(seconds)

        return await make(db, change, after_batch)

    monkeypatch.setattr(BatchingDatabase, "make", recorded)
    return changes


async def together(client: TestClient, *requests: Request) -> list[asyncio.Task[ClientResponse]]:
    """Sends the requests one by one while a change is under way, so that they are one batch."""
    db: Any = client.app[DATABASE]
    turn = db._begin_turn()
    asking: list[asyncio.Task[ClientResponse]] = []
    for method, path, body, headers in requests:
        asking.append(asyncio.ensure_future(client.request(method, path, json=body, headers=headers)))
        async with asyncio.timeout(10):
            while len(db._waiting) < len(asking):
                await asyncio.sleep(0)
    db._end_turn(turn, company=False)
    return asking


async def statuses(asking: list[asyncio.Task[ClientResponse]]) -> list[int]:
    return [resp.status for resp in await asyncio.gather(*asking)]


def move(product: int, delta: int = 1, **headers: str) -> Request:
    return "POST", f"/api/productos/{product}/stock", {"delta": delta}, headers


def post(key: str = "", **fields: Any) -> Request:
    return "POST", "/api/productos", {**PRODUCT, **fields}, {"Idempotency-Key": key} if key else {}


# What an owner may have added: constraints, and triggers that refuse, skip, or change other products, some at the commit.
OWNERS = """
CREATE UNIQUE INDEX ON productos (nombre);
CREATE FUNCTION mandar() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.precio = 13 THEN
        RAISE EXCEPTION 'trae mala suerte';
    ELSIF NEW.precio = 14 THEN
        RETURN NULL;
    ELSIF NEW.precio = 15 THEN
        UPDATE productos SET stock = stock + 100 WHERE id = (
            SELECT min(id) FROM productos WHERE id <> NEW.id AND precio = 16 AND left(nombre, 9) = left(NEW.nombre, 9)
        );
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mandar BEFORE INSERT OR UPDATE OF precio ON productos FOR EACH ROW EXECUTE FUNCTION mandar();
CREATE FUNCTION barato() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE productos SET descripcion = 'barato' WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER barato AFTER UPDATE OF precio ON productos FOR EACH ROW WHEN (NEW.precio = 12) EXECUTE FUNCTION barato();
CREATE TABLE cantidades AS SELECT stock FROM generate_series(0, 9999) AS stock WHERE stock <> 5;
ALTER TABLE cantidades ADD PRIMARY KEY (stock);
ALTER TABLE productos ADD FOREIGN KEY (stock) REFERENCES cantidades DEFERRABLE INITIALLY DEFERRED
"""
CHANGES = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("POST"), st.just(None), st.fixed_dictionaries({"nombre": st.sampled_from("abc")})),
            st.tuples(st.just("PATCH"), st.integers(0, 2), st.fixed_dictionaries({"precio": st.integers(12, 16)})),
            st.tuples(st.just("PUT"), st.integers(0, 2), st.fixed_dictionaries({"stock": st.integers(2, 5)})),
            st.tuples(st.just("DELETE"), st.integers(0, 2), st.none()),
            st.tuples(st.just("POST"), st.integers(0, 2), st.none()),  # brings it back
            st.tuples(
                st.just("POST"), st.integers(0, 2), st.fixed_dictionaries({"delta": st.sampled_from([-2, -1, 3])})
            ),
        ),
        st.sampled_from([None, None, "k1", "k2"]),  # Idempotency-Key
        st.sampled_from([None, None, None, "old", "current"]),  # If-Match
    ),
    min_size=2,
    max_size=9,
)


RUNS = count()


class Shop:
    """Three products of a run, and what is asked of them; what is compared tells nothing of the run."""

    def __init__(self, client: TestClient, psql: Callable, name: str) -> None:
        self.client, self.psql, self.name = client, psql, name
        self.products: list[dict[str, Any]] = []

    async def open(self, changes: list[Any]) -> list[Request]:
        """The products, and the requests that the changes are."""
        ((self.start,),) = self.psql("SELECT coalesce(max(id), 0) FROM eventos")
        for price in (1, 16, 16):
            self.products.append(
                await create(self.client, nombre=f"{self.name}{len(self.products)}", precio=price, stock=2)
            )
        return [self._request(number, *change) for number, change in enumerate(changes)]

    def _request(self, number: int, change: Any, key: str | None, version: str | None) -> Request:
        method, product, body = change
        headers = {"X-Who": f"user {number}"} if number % 2 else {}
        if key:
            headers = {"Idempotency-Key": f"{self.name}{key}"}
        path = "/api/productos"
        if product is not None:
            path += f"/{self.products[product]['id']}"
            if method == "POST" and body is None:
                path += "/restaurar"
            if version and method != "POST":
                tag = "2024-01-30T10:00:00.000Z" if version == "old" else self.products[product]["updated_at"]
                headers["If-Match"] = f'"{tag}"'
        if body and "nombre" in body:
            body = {**PRODUCT, "nombre": self.name + body["nombre"]}
        elif body and "delta" in body:
            path += "/stock"
            body = {**body, "motivo": f"reason {number}"} if number % 3 else body
        return method, path, body, headers

    def _told(self, text: str, ids: dict[int, int]) -> Any:
        told = json.loads(re.sub(r"\d{4}-[-\d]+T[:.\d]+Z", "then", text.replace(self.name, "")))
        for data in (told.get("data"), told.get("antes")):
            if data and "id" in data:
                data["id"] = ids.setdefault(data["id"], len(ids))
        told.pop("id", None)
        return told

    async def compared(self, answers: list[ClientResponse]) -> Any:
        """The log, the table and the answers. The product in a refusal may be read later than it was refused."""
        ids: dict[int, int] = {}
        log = "SELECT mensaje::text, clave FROM eventos WHERE id > %s ORDER BY id"
        events = [
            (self._told(text, ids), key and key.replace(self.name, "")) for text, key in self.psql(log, [self.start])
        ]
        table = "SELECT id, nombre, descripcion, precio, stock, updated_at > created_at FROM productos WHERE left(nombre, 9) = %s"
        rows = [
            (ids[number], name.replace(self.name, ""), *row) for number, name, *row in self.psql(table, [self.name])
        ]
        told = []
        for resp in answers:
            body = self._told(text := await resp.text(), ids)
            if resp.status < 300:
                assert f'"updated_at":{resp.headers["ETag"]}' in text
            else:
                body.pop("data", None)
            told.append((resp.status, body, resp.headers.get("Idempotency-Replayed"), "Location" in resp.headers))
        return events, sorted(rows), told


@pytest.fixture
async def owned(dsn: str, psql: Callable, aiohttp_client: Serve) -> TestClient:
    """A client of a service whose database has an owner, and whose users have names."""

    async def named(request: web.Request) -> bool | str:
        return request.headers.get("X-Who", True)

    psql(OWNERS)
    return await aiohttp_client(create_app(dsn=dsn, authenticate=named))


@settings(max_examples=40, deadline=None, database=None, phases=[Phase.generate])
@given(changes=CHANGES)
async def test_alone_or_together_nobody_can_tell(owned: TestClient, psql: Callable, changes: list[Any]) -> None:
    """Requests sent together, and the same ones sent one by one: first those that the batch made, then those it left."""
    shop = Shop(owned, psql, f"{next(RUNS):08}-")
    requests = await shop.open(changes)
    answered: dict[int, ClientResponse] = {}
    left: list[int] = []
    asked, in_turn, make = iter(range(len(requests))), asyncio.Lock(), BatchingDatabase.make

    async def recorded(db: Any, change: Any, alone: Any) -> Any:
        number = next(asked)

        async def after_batch(seconds: float | None) -> Any:
            await in_turn.acquire()  # until its answer has come: a refusal reads the product
            left.append(number)
            return await alone(seconds)

        return await make(db, change, after_batch)

    async def answer(number: int, asking: asyncio.Task[ClientResponse]) -> None:
        answered[number] = await asking
        if number in left:
            in_turn.release()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchingDatabase, "make", recorded)
        asking = await together(owned, *requests)
        await asyncio.gather(*(answer(*each) for each in enumerate(asking)))
    order = [number for number in range(len(requests)) if number not in left] + left
    at_once = await shop.compared([answered[number] for number in order])
    other = Shop(owned, psql, f"{next(RUNS):08}-")
    requests = await other.open(changes)
    one_by_one = []
    for number in order:
        method, path, body, headers = requests[number]
        one_by_one.append(await owned.request(method, path, json=body, headers=headers))
    assert at_once == await other.compared(one_by_one)


async def test_changes_of_a_batch_are_one_transaction(client: TestClient, psql: Callable, left: list[float]) -> None:
    await create(client)
    other = await create(client)
    changes = [
        post(),
        post("k1"),
        move(1),
        move(1, 1, **{"Idempotency-Key": "k2"}),
        ("PATCH", "/api/productos/1", {"stock": 1}, {}),
        ("PUT", "/api/productos/2", {"stock": 7}, {"If-Match": f'"{other["updated_at"]}"'}),
        ("DELETE", "/api/productos/2", None, {}),
    ]
    assert await statuses(await together(client, *changes)) == [201, 201, 200, 200, 200, 200, 200]
    created = psql("SELECT created_at FROM productos WHERE id > 2")
    assert created[0] == created[1], "now() is that of the transaction"
    assert left == []


async def test_batch_has_no_more_subtransactions_than_postgresql_keeps_in_memory(
    client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "BATCH_TIMEOUT", 30)
    assert set(await statuses(await together(client, *[post()] * 70))) == {201}
    batches = "SELECT count(DISTINCT xmin::text) FROM productos GROUP BY created_at ORDER BY 1"
    assert psql(batches) == [(10,), (60,)]


async def test_refusal_and_failure_in_a_batch_are_their_own(
    client: TestClient, psql: Callable, left: list[float]
) -> None:
    await create(client, stock=1)
    psql("CREATE UNIQUE INDEX ON productos (nombre)")
    asking = await together(client, move(1, -2), post(), move(9), post(nombre="b"), move(1, -1))
    assert await statuses(asking) == [409, 400, 404, 201, 200]
    assert len(left) == 3


async def test_trigger_that_does_something_instead_does_it_once(
    client: TestClient, psql: Callable, left: list[float]
) -> None:
    for _ in range(3):
        await create(client)
    psql("""
        CREATE TABLE propuestas (producto integer);
        CREATE FUNCTION proponer() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO propuestas VALUES (NEW.id);
            RETURN NULL;
        END $$;
        CREATE TRIGGER proponer BEFORE UPDATE ON productos FOR EACH ROW EXECUTE FUNCTION proponer()
        """)
    assert await statuses(await together(client, *map(move, (1, 2, 3)))) == [400, 400, 400]
    assert psql("SELECT producto FROM propuestas ORDER BY 1") == [(1,), (2,), (3,)]
    assert len(left) == 3


async def test_deferrable_trigger_of_the_owner_leaves_each_key_its_own_product(
    client: TestClient, psql: Callable
) -> None:
    for _ in range(6):
        await create(client, stock=10)
    psql("""
        CREATE FUNCTION piezas() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE productos SET stock = stock - 1 WHERE id = NEW.id + 3;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER a_piezas AFTER UPDATE ON productos DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (NEW.id < 4) EXECUTE FUNCTION piezas()
        """)
    moves = [move(number, **{"Idempotency-Key": f"k{number}"}) for number in (1, 2, 3)]
    for _ in range(2):
        answers = await asyncio.gather(*(await together(client, *moves)))
        assert [(await resp.json())["data"]["id"] for resp in answers] == [1, 2, 3]
    ((order,),) = psql("SELECT array_agg(producto_id ORDER BY id) FROM eventos WHERE tipo = 'PRODUCT_UPDATED'")
    assert sorted(order) == [1, 2, 3, 4, 5, 6]
    assert all(order.index(number) < order.index(number + 3) for number in (1, 2, 3))


async def test_locked_row_delays_only_what_asks_for_it(
    client: TestClient, connect: Callable, psql: Callable, left: list[float]
) -> None:
    for _ in range(2):
        await create(client)
    session = connect()
    session.cursor().execute("BEGIN; SELECT FROM productos WHERE id = 1 FOR UPDATE")
    waiting, *others = await together(client, move(1), move(2), post(), move(2))
    assert await statuses(others) == [200, 201, 200]
    await waits(psql, "Lock")
    assert (waiting.done(), len(left)) == (False, 1)
    session.cursor().execute("ROLLBACK")
    assert (await waiting).status == 200


async def test_change_that_waits_for_a_lock_holds_up_the_others_only_shortly(
    client: TestClient, connect: Callable, psql: Callable, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(batching, "PATIENCE", patience)
    await create(client)
    session = connect()
    session.cursor().execute("BEGIN; SELECT FROM productos WHERE id = 1 FOR UPDATE")
    waiting = asyncio.ensure_future(client.request(*move(1)[:2], json={"delta": 1}))
    await waits(psql, "Lock")
    await create(client)
    assert not waiting.done()
    session.cursor().execute("ROLLBACK")
    assert (await waiting).status == 200


async def test_trigger_that_sleeps_delays_only_its_own_change(
    client: TestClient, psql: Callable, left: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await create(client)
    psql(
        "CREATE FUNCTION dormir() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(20); RETURN NEW; END $$"
    )
    psql("CREATE TRIGGER dormir BEFORE UPDATE ON productos FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION dormir()")
    slow, *others = await together(client, move(1), move(2), post())
    assert await statuses(others) == [200, 201]
    assert not slow.done()
    await waits(psql, "PgSleep")
    assert caplog.messages == []  # the batch has ended as it should
    psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    assert (await slow).status == 503
    assert "canceling statement due to user request" in caplog.text
    assert max(left) <= batching.STATEMENT_TIMEOUT - batching.BATCH_TIMEOUT


async def test_batch_that_fails_as_a_whole_is_made_one_by_one(client: TestClient, psql: Callable) -> None:
    await create(client)
    psql("""
        CREATE OR REPLACE FUNCTION productos_cambiar(cambios json)
        RETURNS TABLE (numero integer, producto_id integer, producto text) LANGUAGE plpgsql AS $$
        BEGIN UPDATE productos SET stock = 0; RAISE EXCEPTION 'falla'; END $$
        """)
    assert await statuses(await together(client, move(1, -10), post("k1"), post())) == [200, 201, 201]
    assert psql("SELECT id, stock FROM productos ORDER BY id") == [(1, 0), (2, 10), (3, 10)]


async def test_repetition_in_a_batch_draws_no_ids(client: TestClient, psql: Callable) -> None:
    assert await statuses(await together(client, post("k1"), post("k1"))) == [201, 201]
    drawn = "SELECT (SELECT last_value FROM eventos_id_seq), pg_sequence_last_value(productos_secuencia())"
    assert psql(drawn) == [(1, 1)]
    again, reused = await asyncio.gather(*await together(client, post("k1"), post("k1", stock=3)))
    assert (again.status, again.headers["Idempotency-Replayed"], reused.status) == (201, "true", 422)
    assert psql(drawn) == [(1, 1)]


async def test_request_that_is_cancelled_takes_no_other_with_it(
    client: TestClient, psql: Callable, connect: Callable
) -> None:
    await create(client)
    db: Any = client.app[DATABASE]

    def sell() -> asyncio.Task[Any]:
        return asyncio.ensure_future(repository.move_stock(db, 1, -1, Cause()))

    turn = db._begin_turn()
    asking = [sell() for _ in range(4)]
    await asyncio.sleep(0)
    asking[0].cancel()  # before its batch begins: it is not made
    db._end_turn(turn, company=False)
    await asyncio.sleep(0)
    asking[1].cancel()  # while it is made
    gone = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in gone] == [True, True, False, False]
    assert psql("SELECT stock FROM productos") == [(7,)]


@pytest.mark.parametrize("company", [False, True])
async def test_first_change_that_is_cancelled_holds_up_nobody(client: TestClient, company: bool) -> None:
    db: Any = client.app[DATABASE]
    db._company = company
    first = asyncio.ensure_future(repository.create_product(db, NewProduct(nombre="a", precio=Decimal(1)), Cause()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await create(client))["id"]


async def test_batch_whose_answer_is_lost_is_not_made_again(
    client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(client)
    run = Connection.run

    async def lost(conn: Connection, sql: str, *args: Any) -> Any:
        rows = await run(conn, sql, *args)
        if "productos_cambiar" in sql:
            conn.close()
            raise psycopg2.OperationalError("server closed the connection unexpectedly")
        return rows

    monkeypatch.setattr(Connection, "run", lost)
    keyed = move(1, 1, **{"Idempotency-Key": "k1"})
    assert await statuses(await together(client, move(1), keyed)) == [503, 503]
    monkeypatch.setattr(Connection, "run", run)
    resp = await client.request(*keyed[:2], json=keyed[2], headers=keyed[3])
    assert (resp.status, resp.headers["Idempotency-Replayed"]) == (200, "true")
    assert psql("SELECT stock, (SELECT count(*) FROM eventos) FROM productos") == [(12, 3)]


async def test_time_limit_holds_for_each_change_of_a_batch(
    client: TestClient, connect: Callable, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(client)
    monkeypatch.setattr(batching, "STATEMENT_TIMEOUT", 1.0)
    session = connect()
    session.cursor().execute("BEGIN; LOCK TABLE productos IN SHARE MODE")
    for resp in await asyncio.gather(*await together(client, move(1), post(), post("k1"))):
        await error(resp, 503)
    session.cursor().execute("ROLLBACK")
    assert psql("SELECT count(*) FROM eventos") == [(1,)]


async def test_end_of_the_service_ends_a_batch(dsn: str, psql: Callable, aiohttp_client: Serve) -> None:
    client = await aiohttp_client(create_app(dsn=dsn))
    await create(client)
    db: Any = client.app[DATABASE]
    psql(
        "CREATE FUNCTION dormir() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(20); RETURN NEW; END $$"
    )
    psql("CREATE TRIGGER dormir BEFORE UPDATE ON productos FOR EACH ROW EXECUTE FUNCTION dormir()")
    turn = db._begin_turn()
    change = asyncio.ensure_future(repository.move_stock(db, 1, -1, Cause()))
    await asyncio.sleep(0)
    db._end_turn(turn, company=False)
    await waits(psql, "PgSleep")
    await client.close()
    assert not db._batches
    with pytest.raises(Unavailable):
        await change
