import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Self

import psycopg2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from psycopg2.extensions import connection, make_dsn, parse_dsn

from inventory_ws import create_app
from inventory_ws.pg.database import DATABASE, POOL_SIZE, Database
from inventory_ws.pg.errors import Rejected, Unavailable
from inventory_ws.pg.lanes import RESERVED, Lane
from inventory_ws.pg.schema import apply_schema

from .conftest import PRODUCT, create, error, healthy, waits
from .test_aiopg_fixes import many_files
from .tools.service import PATIENCE

ALL = POOL_SIZE + RESERVED


async def test_statement_timeout_raises_unavailable_and_does_not_cancel_the_task(client: TestClient) -> None:
    await client.app[DATABASE].fetch("SELECT set_config('statement_timeout', '100', false)")
    with pytest.raises(Unavailable, match="statement timeout"):
        await client.app[DATABASE].fetch("SELECT pg_sleep(5)")


async def test_cancelled_task_ends(client: TestClient, psql: Callable) -> None:
    task = asyncio.create_task(client.app[DATABASE].fetch("SELECT pg_sleep(5)"))
    await waits(psql, "PgSleep")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_value_out_of_range_is_rejected_and_the_pool_recovers(client: TestClient) -> None:
    for _ in range(2 * POOL_SIZE):
        with pytest.raises(Rejected):
            await client.app[DATABASE].fetch("SELECT 2147483647 + 1")
    assert await client.app[DATABASE].fetch("SELECT 1") == [(1,)]


@pytest.fixture
async def locker(client: TestClient, connect: Callable) -> connection:
    """A session of somebody else that holds the row of product 1 in an open transaction."""
    await create(client)
    session = connect()
    session.autocommit = False
    session.cursor().execute("UPDATE productos SET stock = 1")
    return session


async def test_locked_row_is_503_within_the_time_of_one_statement(
    client: TestClient, locker: connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has waited for a connection has less than the lock timeout left, which so comes to the first ones only."""
    began = time.monotonic()
    answers = await asyncio.gather(*(client.patch("/api/productos/1", json={"stock": 2}) for _ in range(20)))
    assert time.monotonic() - began < 4.5 * PATIENCE
    assert caplog.text.count("due to lock timeout") <= POOL_SIZE
    for resp in answers:
        await error(resp, 503)
        assert resp.headers["Retry-After"] == "1"
    locker.rollback()
    answers = await asyncio.gather(*(client.patch("/api/productos/1", json={"stock": 2}) for _ in range(POOL_SIZE)))
    assert [resp.status for resp in answers] == [200] * POOL_SIZE


async def test_lock_timeout_comes_before_the_statement_timeout(
    client: TestClient, locker: connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(3 * PATIENCE):
        await error(await client.delete("/api/productos/1"), 503)
    assert "due to lock timeout" in caplog.text
    locker.rollback()


async def test_select_is_retried_once_after_a_lost_connection(client: TestClient, psql: Callable) -> None:
    db = client.app[DATABASE]
    locked = "SELECT pg_advisory_xact_lock_shared(1), 1"
    psql("SELECT pg_advisory_lock(1)")
    tasks = [asyncio.create_task(read) for read in (db.fetch(locked, lane=Lane.QUICK), db.fetch(locked))]
    await waits(psql, "Lock", 2)
    psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    psql("SELECT pg_advisory_unlock(1)")
    assert (await tasks[0])[0][1] == 1
    with pytest.raises(Unavailable):
        await tasks[1]


async def test_pool_reconnects_after_all_connections_are_cut(client: TestClient, psql: Callable) -> None:
    await create(client)
    sleep = "SELECT pg_sleep(2)"
    busy = [asyncio.create_task(client.app[DATABASE].fetch(sleep, lane=Lane.QUICK)) for _ in range(ALL)]
    waiting = [asyncio.create_task(client.get("/api/productos/1")) for _ in range(POOL_SIZE)]
    await waits(psql, "PgSleep", ALL)
    psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(3 * PATIENCE):
        assert [resp.status for resp in await asyncio.gather(*waiting)] == [200] * POOL_SIZE
    await asyncio.gather(*busy)


async def test_exhausted_pool_is_503(client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    psql("SELECT pg_advisory_lock(1)")
    locked = "SELECT pg_advisory_xact_lock_shared(1)"
    busy = [asyncio.create_task(client.app[DATABASE].fetch(locked, lane=Lane.QUICK)) for _ in range(ALL)]
    await waits(psql, "Lock", ALL)
    monkeypatch.setattr(client.app[DATABASE], "timeout", 0.5)
    await error(await client.get("/api/productos"), 503)
    psql("SELECT pg_advisory_unlock(1)")
    await asyncio.gather(*busy)
    assert (await client.get("/api/productos")).status == 200


async def test_errors_are_raised_on_a_socket_with_a_large_number(dsn: str) -> None:
    with many_files():
        async with Database(dsn) as db, asyncio.timeout(2 * PATIENCE):
            with pytest.raises(Rejected):
                await db.fetch("SELECT 2147483647 + 1")


async def test_listen_without_an_answer_times_out(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def execute(*_: object) -> None:
        await asyncio.sleep(60)

    async with Database(dsn, timeout=1) as db, asyncio.timeout(5 * PATIENCE):
        monkeypatch.setattr("inventory_ws.pg.database.Connection.execute", execute)
        monkeypatch.setattr("inventory_ws.pg.database.OPEN_TIMEOUT", 0.2)
        with pytest.raises(Unavailable):
            async with db.listen("inventory_ws"):
                pass


async def test_more_statements_than_connections_are_all_executed(client: TestClient, psql: Callable) -> None:
    psql("SELECT pg_advisory_lock(1)")
    locked = "SELECT pg_advisory_xact_lock_shared(1)"
    busy = [asyncio.create_task(client.app[DATABASE].fetch(locked)) for _ in range(3 * POOL_SIZE)]
    await waits(psql, "Lock", POOL_SIZE)
    sessions = psql(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    psql("SELECT pg_advisory_unlock(1)")
    await asyncio.gather(*busy)
    assert sessions == [(POOL_SIZE,)]


async def test_options_of_the_dsn_are_kept(dsn: str) -> None:
    async with Database(make_dsn(dsn, options="-c work_mem=8MB -c statement_timeout=1000")) as db:
        rows = await db.fetch("SELECT current_setting('work_mem'), current_setting('statement_timeout')")
    assert rows == [("8MB", "3300ms")]


async def test_second_address_of_a_host_name_is_tried(dsn: str) -> None:
    """As of localhost, which may be ::1 at first, where nobody listens."""
    words = parse_dsn(dsn)
    if "/" in words["host"]:
        several = {"host": f"127.0.0.1,{words['host']}", "port": f"1,{words['port']}"}
    else:
        several = {"host": "a,b", "hostaddr": f"127.0.0.2,{words['host']}", "port": f"1,{words['port']}"}
    async with Database(make_dsn(dsn, **several)) as db, asyncio.timeout(5 * PATIENCE):
        assert await db.fetch("SELECT 1") == [(1,)]


async def test_role_without_ddl_needs_no_rights_but_those_it_is_told(
    dsn: str, psql: Callable, aiohttp_client: Callable
) -> None:
    psql("CREATE ROLE servicio LOGIN")
    try:
        psql("REVOKE CREATE ON SCHEMA public FROM PUBLIC; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
        service = make_dsn(dsn, user="servicio")
        with pytest.raises(PermissionError) as told:
            await web.AppRunner(create_app(dsn=service)).setup()
        psql(str(told.value).partition("psql; ")[2])
        client = await aiohttp_client(create_app(dsn=service))
        ws = await client.ws_connect("/ws")
        await ws.receive_json(timeout=5)
        await create(client)
        assert (await ws.receive_json(timeout=5))["type"] == "PRODUCT_CREATED"
        await client.delete("/api/productos/1")
        assert (await client.post("/api/productos/1/restaurar")).status == 200
        assert (await client.get("/api/productos?at=1&q=x")).status == 200
        await client.app[DATABASE].fetch("SELECT eventos_cortar(gen_random_uuid())")
        await client.close()
    finally:
        psql("DROP OWNED BY servicio")
        psql("DROP ROLE servicio")


async def test_role_without_ddl_and_without_schema_is_an_error(empty_dsn: str, server: str) -> None:
    admin = psycopg2.connect(empty_dsn)
    admin.autocommit = True
    admin.cursor().execute("CREATE ROLE nadie LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        with pytest.raises(PermissionError, match="permission denied"):
            await apply_schema(Database(make_dsn(empty_dsn, user="nadie")))
    finally:
        admin.cursor().execute("DROP ROLE nadie")
        admin.close()


async def test_missing_server_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await Database("host=127.0.0.1 port=1 dbname=x user=x").__aenter__()


class Proxy:
    """A TCP proxy before PostgreSQL that can swallow everything, as a network does that is gone."""

    def __init__(self, dsn: str) -> None:
        words = parse_dsn(dsn)
        self.target = words
        self.open = asyncio.Event()
        self.open.set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.dsn = make_dsn(**{**self.target, "host": "127.0.0.1", "port": self.server.sockets[0].getsockname()[1]})
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # the aborted transports close their sockets

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        passing = self.open
        host, port = self.target.get("host", ""), self.target.get("port", "5432")
        if host.startswith("/"):
            inside = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            inside = await asyncio.open_connection(host, int(port))
        pumps = [asyncio.create_task(self.pump(*way, passing)) for way in ((reader, inside[1]), (inside[0], writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for one in (writer, inside[1]):
                one.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await passing.wait()
                writer.write(data)


async def test_lost_network_is_503_and_the_service_recovers(
    dsn: str, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.pg.database.ATTEMPT_TIMEOUT", 10)  # a busy server is not a dead one
    async with Proxy(dsn) as proxy:
        client = await aiohttp_client(create_app(dsn=proxy.dsn))
        await create(client)
        client.app[DATABASE].timeout = 1
        proxy.open.clear()
        for _ in ("on connections that were open", "on connections that have to be made"):
            async with asyncio.timeout(1.9 * PATIENCE):
                answers = await asyncio.gather(*(client.get("/api/productos") for _ in range(60)))
            assert {resp.status for resp in answers} == {503}
        proxy.open.set()
        await healthy(client, 5 * PATIENCE)
        client.app[DATABASE].timeout = 30  # no longer: only a dead connection takes that
        async with asyncio.timeout(1 * PATIENCE):
            answers = await asyncio.gather(*(client.get("/api/productos/1") for _ in range(POOL_SIZE)))
        assert {resp.status for resp in answers} == {200}
        await client.close()


async def test_silently_dead_connections_fail_one_request_only(
    dsn: str, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.pg.database.ATTEMPT_TIMEOUT", 10)  # a busy server is not a dead one
    async with Proxy(dsn) as proxy:
        client = await aiohttp_client(create_app(dsn=proxy.dsn))
        await create(client)
        dead, proxy.open = proxy.open, asyncio.Event()
        dead.clear()
        proxy.open.set()
        await error(await client.post("/api/productos", json=PRODUCT), 503)
        client.app[DATABASE].timeout = 30  # no longer: only a dead connection takes that
        async with asyncio.timeout(1 * PATIENCE):
            answers = await asyncio.gather(*(client.get("/api/productos/1") for _ in range(POOL_SIZE)))
        assert {resp.status for resp in answers} == {200}
        await client.close()


async def test_start_without_a_network_times_out(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory_ws.pg.database.LAST_TIMEOUT", 3600)  # only the time of a statement ends it
    monkeypatch.setattr("inventory_ws.pg.database.OPEN_TIMEOUT", 3600)
    async with Proxy(dsn) as proxy, asyncio.timeout(1.9 * PATIENCE):
        proxy.open.clear()
        with pytest.raises(Unavailable):
            await apply_schema(Database(proxy.dsn, timeout=1))


async def test_nothing_is_answered_by_a_read_only_database(client: TestClient, psql: Callable) -> None:
    await create(client)
    psql(f"ALTER DATABASE {psql('SELECT current_database()')[0][0]} SET default_transaction_read_only = on")
    psql(KILL)
    await error(await client.delete("/api/productos/1"), 503)
    await error(await client.get("/api/productos/1"), 503)
    resp = await client.get("/api/salud")
    body = await error(resp, 503)
    assert body["data"]["database"] is False
    assert resp.headers["Retry-After"] == "1"


async def test_foreign_table_with_the_same_name_is_an_error_at_start(empty_dsn: str) -> None:
    with closing(psycopg2.connect(empty_dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE productos (codigo text)")
    with pytest.raises(ValueError, match="el esquema no cabe"):
        await apply_schema(Database(empty_dsn))


# Waits until they have ended: until then, they still answer.
KILL = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@contextmanager
def silent() -> Iterator[socket.socket]:
    """A host that takes connections and says nothing, as one that is dead behind a firewall."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


async def test_host_that_is_dead_is_skipped(dsn: str, psql: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    words = parse_dsn(dsn)
    with silent() as dead:
        host, port = dead.getsockname()
        hosts = make_dsn(dsn, host=f"{host},/nowhere,{words['host']}", port=f"{port},1,{words['port']}")
        async with Database(hosts) as db, asyncio.timeout(20):
            monkeypatch.setattr("inventory_ws.pg.database.ATTEMPT_TIMEOUT", 10)  # a busy server is not a dead one
            for _ in range(2):  # of the second host, refused at once, it goes on to the third
                assert await db.fetch("SELECT 1") == [(1,)]
                psql(KILL)
                with suppress(Unavailable):
                    await db.fetch("SELECT 1")
            async with db.listen("channel"):
                pass
        dead.setblocking(False)
        dead.accept()[0].close()
        with pytest.raises(BlockingIOError):  # the host that was found is asked first
            dead.accept()


async def test_host_that_is_read_only_is_not_connected_to(dsn: str) -> None:
    read_only = make_dsn(dsn, options="-c default_transaction_read_only=on")
    with pytest.raises(Unavailable, match="read-only"):
        async with Database(read_only):
            pass


async def test_no_answering_host_is_unavailable_in_time() -> None:
    with silent() as dead:
        host, port = dead.getsockname()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(6), Database(f"host={host},{host} port={port} dbname=x user=x", timeout=1):
                pass


@pytest.fixture
def sessions(dsn: str, psql: Callable) -> Callable[[], int]:
    """Counts the connections that the service has at the server."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'inventory_ws'"
    )
    return lambda: psql(query)[0][0]


async def until_none(sessions: Callable[[], int]) -> None:
    async with asyncio.timeout(
        5
    ):  # the server finds that a client has gone within a second (client_connection_check_interval)
        while sessions():
            await asyncio.sleep(0.05)


async def test_end_closes_connections_and_ends_statements(dsn: str, psql: Callable, sessions: Callable) -> None:
    async with Database(dsn, 3) as db:
        running = [asyncio.create_task(db.fetch("SELECT pg_sleep(3)", lane=Lane.QUICK)) for _ in range(5)]

        async def listen() -> None:
            async with db.listen("channel") as conn:
                await conn.wait_for_notification()

        running.append(asyncio.create_task(listen()))
        while sessions() < 4:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(2 * PATIENCE):
        assert all(isinstance(exc, Unavailable) for exc in await asyncio.gather(*running, return_exceptions=True))
    await until_none(sessions)


async def test_no_connection_is_opened_after_the_end(dsn: str, psql: Callable, sessions: Callable) -> None:
    async with Database(dsn, 3) as db:
        psql(KILL)
        with suppress(Unavailable):
            await db.fetch("SELECT 1")
        connecting = [asyncio.create_task(db.fetch("SELECT 1", lane=Lane.QUICK)) for _ in range(2)]
        await asyncio.sleep(0)
    assert [type(exc) for exc in await asyncio.gather(*connecting, return_exceptions=True)] == [Unavailable] * 2
    with pytest.raises(Unavailable):
        await db.fetch("SELECT 1", lane=Lane.QUICK)
    with pytest.raises(Unavailable):
        async with db.listen("channel"):
            pass
    await until_none(sessions)


async def test_start_that_fails_half_way_leaves_no_connection(dsn: str, psql: Callable, sessions: Callable) -> None:
    psql("CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    try:
        with pytest.raises(Unavailable, match="too many connections") as raised:
            async with Database(make_dsn(dsn, user="few")):
                pass
        await until_none(sessions)
        assert raised, "its frames would keep the connections"
    finally:
        psql("DROP ROLE few")


async def test_start_that_is_cancelled_leaves_no_connection(dsn: str, sessions: Callable) -> None:
    db = Database(dsn)
    starting = asyncio.create_task(db.__aenter__())
    while not sessions():
        await asyncio.sleep(0.001)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    await until_none(sessions)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql+psycopg2://ana:secreta@localhost/shop",
        '"postgresql://ana:secreta@localhost/shop"',
        "postgresql://ana:%secreta@localhost/shop",
        "postgresql://ana:m@secreta@localhost/shop",
    ],
)
def test_url_that_is_not_understood_tells_no_password(dsn: str) -> None:
    with pytest.raises(ValueError, match="postgresql://usuario:clave@servidor/base") as told:
        Database(dsn)
    assert "secreta" not in str(told.value) and told.value.__suppress_context__


@pytest.mark.parametrize("words", ["host=a,b,c port=1,2", "host=a,b hostaddr=127.0.0.1,127.0.0.2,127.0.0.3"])
def test_lists_of_hosts_and_ports_have_one_length(words: str) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL"):
        Database(words)
