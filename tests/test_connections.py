"""Where the connections of the pool lead to, who gets them, and what happens to those that are lost or given up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from aiohttp.test_utils import TestClient
from psycopg2.extensions import connection, make_dsn, parse_dsn

from inventory_ws import create_app
from inventory_ws.pg.connection import ENDS_WITH_CLIENT, Connection
from inventory_ws.pg.database import DATABASE, POOL_SIZE, Database
from inventory_ws.pg.errors import Unavailable, translated
from inventory_ws.pg.hosts import split_hosts
from inventory_ws.pg.lanes import RESERVED, Lane
from inventory_ws.products import listing

from .conftest import PRODUCT, create, error, healthy, waits
from .test_database import KILL, Proxy

NAME = "base.example"
LOCKED = "SELECT pg_advisory_xact_lock_shared(1)"
OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'inventory_ws'"


class Names:
    """A resolver that answers while it is `open`. `waiting`: the questions that it has not answered. `asked`: what psycopg2 is
    asked to connect to."""

    def __init__(self) -> None:
        self.addresses, self.open, self.waiting = ["127.0.0.1"], asyncio.Event(), 0
        self.asked: list[dict[str, str]] = []
        self.open.set()

    async def getaddrinfo(self, host: str, port: int | None, **_: Any) -> list[tuple[Any, ...]]:
        assert host == NAME
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.addresses]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names, connect = Names(), psycopg2.connect

    def spy(dsn: str, **options: Any) -> connection:
        if "async_" in options:
            names.asked.append(parse_dsn(dsn))
        return connect(dsn, **options)

    monkeypatch.setattr("aiopg.connection.psycopg2.connect", spy)
    return names


@asynccontextmanager
async def named(dsn: str, names: Names, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The DSN of a way to the database by the name."""
    async with Proxy(dsn) as proxy:
        loop = asyncio.get_running_loop()
        getaddrinfo = loop.getaddrinfo

        def ask(host: str, *args: Any, **options: Any) -> Any:
            return (names.getaddrinfo if host == NAME else getaddrinfo)(host, *args, **options)

        monkeypatch.setattr(loop, "getaddrinfo", ask)
        yield make_dsn(proxy.dsn, host=NAME)


async def test_silent_resolver_holds_up_nobody(
    dsn: str, names: Names, psql: Callable, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with named(dsn, names, monkeypatch) as by_name:
        client = await aiohttp_client(create_app(dsn=by_name))
        ws = await client.ws_connect("/ws")
        await ws.receive_json(timeout=5)
        names.open.clear()
        psql(KILL)
        listing = [asyncio.create_task(client.get("/api/productos")) for _ in range(POOL_SIZE)]
        async with asyncio.timeout(5):
            while not names.waiting:
                await asyncio.sleep(0.01)
        await ws.send_json({"type": "PING"})
        assert (await ws.receive_json(timeout=5))["type"] == "PONG"
        assert (await client.get("/")).status == 200
        assert not any(task.done() for task in listing)
        assert names.waiting == 1, "each question takes a thread"
        names.open.set()
        await healthy(client)
        assert {resp.status for resp in await asyncio.gather(*listing)} == {200}
        await client.close()
    asked = {(words["host"], words["hostaddr"]) for words in names.asked if words["host"] == NAME}
    assert asked == {(NAME, "127.0.0.1")}, "libpq looks no name up"


async def test_dead_address_of_a_name_is_tried_once(
    dsn: str, names: Names, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.addresses = ["127.0.0.2", "127.0.0.1"]
    async with named(dsn, names, monkeypatch) as by_name:
        with socket.create_server(("127.0.0.2", int(parse_dsn(by_name)["port"]))):  # it says nothing
            async with Database(by_name) as db:
                psql(KILL)
                assert await db.fetch("SELECT 1", lane=Lane.QUICK) == [(1,)]
    assert [words["hostaddr"] for words in names.asked[:3]] == ["127.0.0.2", "127.0.0.1", "127.0.0.1"]
    assert {words["hostaddr"] for words in names.asked[3:]} == {"127.0.0.1"}


async def test_attempt_that_hangs_is_made_again_where_there_is_one_address(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer that has led it to a server that is gone may lead it to another one now."""
    monkeypatch.setattr("inventory_ws.pg.database.ATTEMPT_TIMEOUT", 0.2)
    async with Proxy(dsn) as proxy:
        passing, proxy.open = proxy.open, asyncio.Event()
        opened = asyncio.create_task(Database(proxy.dsn).__aenter__())
        async with asyncio.timeout(5):
            while not proxy.tasks:
                await asyncio.sleep(0.01)
        proxy.open = passing
        await (await opened).__aexit__()


async def test_machine_that_is_gone_is_left_sooner_than_one_that_is_busy(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("ATTEMPT_TIMEOUT", 0.2), ("LAST_TIMEOUT", 0.2), ("OPEN_TIMEOUT", 60)):
        monkeypatch.setattr(f"inventory_ws.pg.database.{name}", seconds)
    async with Proxy(dsn) as busy, asyncio.timeout(20):
        busy.open.clear()
        asyncio.get_running_loop().call_later(1, busy.open.set)
        async with Database(busy.dsn).listen("channel"):
            pass
    with ExitStack() as stack:
        gone = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # its queue is full, and the kernel answers nobody else
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(gone.getsockname())
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable):
                async with Database(make_dsn(dsn, host="127.0.0.1", port=gone.getsockname()[1])).listen("channel"):
                    pass


async def test_hosts_and_options_of_a_service_file_are_used(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {**parse_dsn(dsn), "options": "-c work_mem=8MB"}
    words["host"], words["port"] = f"/nowhere,{words['host']}", f"1,{words['port']}"
    (tmp_path / "services").write_text("[shop]\n" + "\n".join(f"{name}={value}" for name, value in words.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    for text in ("service=shop", ""):
        async with Database(text) as db:
            assert await db.fetch("SELECT current_setting('work_mem'), current_database()") == [
                ("8MB", words["dbname"])
            ]
        monkeypatch.setenv("PGSERVICE", "shop")
    monkeypatch.delenv("PGSERVICE")
    monkeypatch.setenv("PGHOST", "a,b")
    assert [host["host"] for host in split_hosts("dbname=shop")] == ["a", "b"]


async def test_what_waits_for_locks_or_reads_much_leaves_room(client: TestClient, psql: Callable) -> None:
    """Three kinds of crowds at once; imports and the past also leave room for changes."""
    await create(client)
    psql("SELECT pg_advisory_lock(1)")
    db = client.app[DATABASE]
    crowd = [asyncio.create_task(db.fetch(LOCKED, lane=Lane.LONG)) for _ in range(16)]
    await waits(psql, "Lock", POOL_SIZE - RESERVED)
    assert (await client.patch("/api/productos/1", json={"stock": 3})).status == 200
    crowd += [asyncio.create_task(db.fetch(LOCKED)) for _ in range(24)]
    await waits(psql, "Lock", POOL_SIZE)
    for path in ("/api/productos/1", "/api/productos", "/api/eventos", "/api/salud"):
        assert (await client.get(path)).status == 200
    readers = [asyncio.create_task(db.fetch(LOCKED, lane=Lane.QUICK)) for _ in range(POOL_SIZE)]
    await waits(psql, "Lock", POOL_SIZE + RESERVED)
    assert (await client.get("/api/salud")).status == 200
    assert not any(task.done() for task in crowd), "all of them still wait"
    psql("SELECT pg_advisory_unlock(1)")
    await asyncio.gather(*crowd, *readers)


async def test_fewer_connections_than_the_pool_wants_are_a_slower_service(
    dsn: str, psql: Callable, aiohttp_client: Callable
) -> None:
    psql("CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 4; ALTER ROLE few NOSUPERUSER")
    try:
        psql("GRANT ALL ON ALL TABLES IN SCHEMA public TO few; GRANT ALL ON SCHEMA public TO few")
        client = await aiohttp_client(create_app(dsn=make_dsn(dsn, user="few")))
        for _ in range(2):
            changes = [client.post("/api/productos", json=PRODUCT) for _ in range(20)]
            answers = await asyncio.gather(*changes, *(client.get("/api/productos") for _ in range(20)))
            assert [resp.status for resp in answers] == 20 * [201] + 20 * [200]
            assert (await client.get("/api/salud")).status == 200
        await client.close()
    finally:
        psql("DROP OWNED BY few; DROP ROLE few")


async def test_pool_that_was_first_leaves_connections_to_feed_and_health(dsn: str, psql: Callable) -> None:
    """As after a restart of a server that gives few: what was changed was heard by nobody."""
    psql("CREATE ROLE few LOGIN CONNECTION LIMIT 4")
    try:
        async with Database(make_dsn(dsn, user="few")) as db:
            slow = "SELECT count(*) FROM pg_sleep(0.1)"
            await asyncio.gather(*(db.fetch(slow) for _ in range(3)))
            async with db.listen("channel"):
                db.queues[Lane.HEALTH].idle.pop().close()
                async with asyncio.timeout(5):
                    while psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'") != [(3,)]:
                        await asyncio.sleep(0.01)
                await asyncio.gather(*(db.fetch(slow) for _ in range(3)))
                assert psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'") == [(4,)]
                for lane in (Lane.HEALTH, Lane.CHANGE):
                    assert await db.fetch("SELECT 1", lane=lane) == [(1,)]
    finally:
        psql("DROP ROLE few")


async def test_locked_row_throws_no_connection_away(client: TestClient, psql: Callable) -> None:
    await create(client)
    await asyncio.gather(*(client.get("/api/productos/1") for _ in range(POOL_SIZE)))
    before = psql(f"SELECT pid {OURS}")
    psql("BEGIN; UPDATE productos SET stock = 1")
    # Two thirds wait for the others.
    crowd = (client.patch("/api/productos/1", json={"stock": 2}) for _ in range(3 * POOL_SIZE))
    assert {resp.status for resp in await asyncio.gather(*crowd)} == {503}
    psql("ROLLBACK")
    assert set(before) <= set(psql(f"SELECT pid {OURS}"))


async def test_connection_that_comes_late_is_for_the_next_one(
    dsn: str, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is too busy to give one in the time of a statement would never give any."""
    open_at_once = Connection.open

    async def open_late(conn: Connection) -> None:
        await asyncio.sleep(0.7)
        await open_at_once(conn)

    monkeypatch.setattr(Connection, "open", open_late)
    reports = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    async with Database(dsn) as db:
        for _ in range(2):
            psql(KILL)
            async with asyncio.timeout(10):
                while True:
                    with suppress(Unavailable):
                        assert await db.fetch("SELECT 1", seconds=0.5) == [(1,)]
                        break
        db.timeout = 0.5
        async with db.listen("channel"):  # no request waits for it: it may take longer than a statement
            pass
        psql(KILL)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await db.fetch("SELECT 1", seconds=0.5)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a connection that nobody waits for is still being opened"
    assert not reports, "an opening that fails when nobody waits for it any more is no error"


async def test_statement_that_is_given_up_closes_no_connection_that_was_used_of_late(dsn: str, psql: Callable) -> None:
    """The server answers: it is no network that is gone, behind which all of them would be lost."""
    psql("""CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(9); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(9); END $$""")
    async with Database(dsn) as db:
        await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.2)") for _ in range(POOL_SIZE)))
        before = set(psql(f"SELECT pid {OURS}"))
        given_up = asyncio.create_task(db.fetch("SELECT stubborn()", seconds=1))
        await waits(psql, "PgSleep")
        ((stubborn,),) = psql(f"SELECT pid {OURS} AND wait_event = 'PgSleep'")
        with pytest.raises(Unavailable):
            await given_up
        async with asyncio.timeout(5):
            while (left := set(psql(f"SELECT pid {OURS}"))) >= before:
                await asyncio.sleep(0.1)
        assert before - left == {(stubborn,)}


@asynccontextmanager
async def no_standby(client: TestClient, psql: Callable) -> AsyncIterator[None]:
    """Commits of the service wait for a synchronous standby that is not there, and this session's do not."""
    psql("SET synchronous_commit = local")
    psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    psql("SELECT pg_reload_conf()")
    try:
        while (await client.post("/api/productos", json=PRODUCT)).status == 201:
            await asyncio.sleep(0.02)  # until the server has read its setting
        yield
    finally:
        psql("ALTER SYSTEM RESET synchronous_standby_names")
        psql("SELECT pg_reload_conf()")


async def test_repeated_change_is_not_acknowledged_before_the_standby_has_it(
    client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be seen before, if its backend ends while it waits, or the server restarts."""
    monkeypatch.setattr(client.app[DATABASE], "timeout", 0.5)
    key, count = {"Idempotency-Key": "k1"}, "SELECT count(*) FROM eventos WHERE clave = 'k1'"
    async with no_standby(client, psql):
        await error(await client.post("/api/productos", json=PRODUCT, headers=key), 503)
        psql(f"SELECT pg_terminate_backend(pid) {OURS} AND wait_event = 'SyncRep'")
        async with asyncio.timeout(5):
            while psql(count) == [(0,)]:
                await asyncio.sleep(0.01)
        await error(await client.post("/api/productos", json=PRODUCT, headers=key), 503)
    async with asyncio.timeout(5):
        while (resp := await client.post("/api/productos", json=PRODUCT, headers=key)).status == 503:
            await asyncio.sleep(0.1)
    assert (resp.status, resp.headers["Idempotency-Replayed"]) == (201, "true")
    assert psql(count) == [(1,)]


async def test_statement_that_is_given_up_occupies_its_connection_until_it_ends(
    client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a commit does that waits for a standby: neither a time limit nor the end of its client ends it."""
    await create(client)
    async with asyncio.timeout(10):  # after it, nothing but changes commits
        while psql("SELECT revisado NOT LIKE epoca || '%' FROM eventos_epoca") == [(True,)]:
            await asyncio.sleep(0.1)
    monkeypatch.setattr(client.app[DATABASE], "timeout", 0.8)

    async def read() -> (
        None
    ):  # again where the machine took longer than that: a read that finds no connection never ends
        while (resp := await client.get("/api/productos/1")).status == 503:
            pass
        assert resp.status == 200

    async with no_standby(client, psql):
        waiting, full = f"SELECT count(*) {OURS} AND wait_event = 'SyncRep'", [(POOL_SIZE,)]
        async with asyncio.timeout(20):
            while True:
                last = psql(waiting) == full
                changes = [
                    asyncio.create_task(client.post("/api/productos", json=PRODUCT)) for _ in range(3 * POOL_SIZE)
                ]
                await asyncio.gather(*(read() for _ in range(3 * POOL_SIZE)))
                assert {resp.status for resp in await asyncio.gather(*changes)} == {503}
                if last:
                    break
        assert psql(waiting) == full
        assert psql(f"SELECT count(*) {OURS}")[0][0] <= POOL_SIZE + RESERVED + 2
        async with asyncio.timeout(5):
            while (resp := await client.get("/api/salud")).status == 200:
                await asyncio.sleep(0.1)
        assert "réplica síncrona" in (await resp.json())["data"]["reason"]
    await healthy(client)
    async with asyncio.timeout(5):
        while (await client.post("/api/productos", json=PRODUCT)).status != 201:
            await asyncio.sleep(0.1)


async def test_all_connections_are_to_the_server_that_was_connected_to_last(dsn: str, psql: Callable) -> None:
    psql("CREATE SCHEMA fake")
    server = "CREATE OR REPLACE FUNCTION fake.pg_postmaster_start_time() RETURNS text LANGUAGE sql AS $$SELECT '{}'$$"
    psql(server.format("old"))
    faked = make_dsn(dsn, options="-c search_path=fake,public,pg_catalog")
    async with Database(faked) as db, db.listen("channel") as old:
        slow = asyncio.create_task(db.fetch("SELECT pg_sleep(3)"))
        await waits(psql, "PgSleep")
        psql(server.format("new"))
        async with db.listen("channel") as new:
            with pytest.raises(Unavailable):
                await slow
            assert old.closed
            for lane in (Lane.QUICK, Lane.HEALTH):
                await db.fetch("SELECT 1", lane=lane)
            assert {conn.server for conn in db._all if not conn.closed} == {"new"}
            assert not new.closed


async def test_list_of_another_server_has_another_etag(dsn: str, psql: Callable) -> None:
    """A snapshot has a name within a server: a promoted standby has used fewer transactions, and then others."""
    psql("CREATE SCHEMA fake")
    psql(
        "CREATE FUNCTION fake.pg_postmaster_start_time() RETURNS text LANGUAGE sql AS $$SELECT current_setting('a.b')$$"
    )
    etags = set()
    for server in ("old", "new"):
        faked = make_dsn(dsn, options=f"-c search_path=fake,public,pg_catalog -c a.b={server}")
        async with Database(faked) as db:
            etags.add((await listing.list_products(db, listing.ListQuery(), (), {})).etag)
    assert len(etags) == 2


@pytest.mark.parametrize(("asked", "got"), [("1000", "1s"), ("-1", "0")])
async def test_server_that_cannot_hear_that_a_client_has_gone_is_used_all_the_same(
    dsn: str, monkeypatch: pytest.MonkeyPatch, asked: str, got: str
) -> None:
    """PostgreSQL on Windows refuses each value but 0 as this one refuses -1."""
    monkeypatch.setattr("inventory_ws.pg.connection.ENDS_WITH_CLIENT", ENDS_WITH_CLIENT.replace("1000", asked))
    async with Database(dsn) as db:
        settings = "SELECT current_setting('client_connection_check_interval'), current_setting('lock_timeout')"
        assert await db.fetch(settings) == [(got, "2s")]


async def test_error_of_the_driver_is_one_line() -> None:
    with (
        pytest.raises(Unavailable, match=r"^server closed the connection unexpectedly This probably means$"),
        translated(),
    ):
        raise psycopg2.OperationalError("server closed the connection unexpectedly\n\tThis probably means\n")
