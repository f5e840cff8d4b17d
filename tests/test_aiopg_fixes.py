"""Each fault of aiopg, seen with its own connections, and the same with ours."""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiopg
import psycopg2
import pytest
from psycopg2.errors import NumericValueOutOfRange, QueryCanceled
from psycopg2.extensions import make_dsn, parse_dsn

from inventory_ws.pg.aiopg_fixes import FixedConnection

NOBODY = "host=127.0.0.1 port=1 dbname=x user=x"
OVERFLOW = "SELECT 2147483647 + 1"


@asynccontextmanager
async def stock(dsn: str) -> AsyncIterator[aiopg.Connection]:
    async with aiopg.connect(dsn, enable_hstore=False) as conn:
        yield conn


@asynccontextmanager
async def fixed(dsn: str) -> AsyncIterator[FixedConnection]:
    async with await FixedConnection(dsn) as conn:
        yield conn


async def execute(conn: aiopg.Connection, sql: str) -> None:
    """Runs the SQL as aiopg's documentation does."""
    async with conn.cursor() as cursor:
        await cursor.execute(sql)


@pytest.fixture
async def failures() -> AsyncIterator[list[BaseException]]:
    """What the callbacks of the loop raised, which pytest would not see."""
    loop, found = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: found.append(context.get("exception")))
    yield found
    loop.set_exception_handler(None)


@contextmanager
def many_files() -> Iterator[None]:
    """Takes the numbers below 1024, which are all that select() knows, as thousands of clients do."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_error_on_a_socket_with_a_large_number_is_raised(dsn: str, failures: list[BaseException]) -> None:
    with many_files():
        async with stock(dsn) as conn:
            with pytest.raises((TimeoutError, ValueError)) as fault:  # as the error comes with the call or after it
                async with asyncio.timeout(0.5):
                    await execute(conn, OVERFLOW)
            assert ValueError in [fault.type, *map(type, failures)], "of select()"
        async with fixed(dsn) as conn, asyncio.timeout(5):
            with pytest.raises(NumericValueOutOfRange):
                await execute(conn, OVERFLOW)


async def test_second_host_is_connected_to_when_the_first_refuses(dsn: str, failures: list[BaseException]) -> None:
    words = parse_dsn(dsn)
    hosts = make_dsn(dsn, host=f"127.0.0.1,{words['host']}", port=f"1,{words['port']}")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), stock(hosts):
            pass
    async with asyncio.timeout(5), fixed(hosts) as conn:
        assert await conn.execute("SELECT 1") == [(1,)]


@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
async def test_refused_connection_leaves_no_callback_at_its_socket() -> None:
    """The next socket has the same number: asyncio forgives that, uvloop does not."""
    on_uvloop = "uvloop" in type(asyncio.get_running_loop()).__module__
    for connect, second in ((stock, RuntimeError if on_uvloop else psycopg2.OperationalError), (fixed, None)):
        for error in (psycopg2.OperationalError, second or psycopg2.OperationalError):
            with pytest.raises(error):
                async with connect(NOBODY):
                    pass


async def test_refusal_in_the_encoding_of_the_servers_system_is_told(failures: list[BaseException]) -> None:
    """A server on Windows in Spanish writes so before a session has an encoding (psycopg2#442)."""
    words = "la autentificación falló para «tienda»"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        fields = b"SFATAL\0C28P01\0M" + words.encode("cp1252") + b"\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        dsn = f"host=127.0.0.1 port={port} user=tienda dbname=x sslmode=disable gssencmode=disable"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), stock(dsn):
                pass
        assert UnicodeDecodeError in map(type, failures)
        failures.clear()
        with pytest.raises(psycopg2.OperationalError, match=words):
            async with asyncio.timeout(5), fixed(dsn):
                pass
        assert failures == []


async def test_statement_that_the_server_cancels_is_an_error_and_no_cancellation(
    dsn: str, failures: list[BaseException]
) -> None:
    slow = make_dsn(dsn, options="-c statement_timeout=50")
    async with stock(slow) as conn:
        with pytest.raises(asyncio.CancelledError):
            await execute(conn, "SELECT pg_sleep(5)")
        assert not asyncio.current_task().cancelling(), "nobody cancelled it"
    async with fixed(slow) as conn:
        for run in (execute, FixedConnection.execute):
            with pytest.raises(QueryCanceled):
                await run(conn, "SELECT pg_sleep(5)")


async def cancelled_with_the_answer(conn: aiopg.Connection, run: Callable) -> bool:
    """Whether a task ends that is cancelled between the answer to its statement and its next step."""
    task = asyncio.create_task(run(conn, "SELECT pg_sleep(0.1)"))
    while not conn._waiter:
        await asyncio.sleep(0)
    while not conn._waiter.done():
        conn._ready(conn._weakref)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def test_cancellation_in_the_tick_of_the_answer_is_not_lost(dsn: str) -> None:
    async with stock(dsn) as conn:
        assert await cancelled_with_the_answer(conn, execute) == (sys.version_info >= (3, 12))
    for run in (execute, FixedConnection.execute):
        async with fixed(dsn) as conn:
            assert await cancelled_with_the_answer(conn, run)
            assert conn.closed


async def test_notification_after_the_last_result_is_received_at_once(dsn: str) -> None:
    async def next_statement(conn: aiopg.Connection) -> None:
        await execute(conn, "SELECT 1")

    async def receive(conn: FixedConnection) -> None:
        conn.receive_notifications()

    for connect, run, look in ((stock, execute, next_statement), (fixed, FixedConnection.execute, receive)):
        async with connect(dsn) as conn:
            await execute(conn, "LISTEN channel")
            await run(conn, "SELECT 1; SELECT pg_notify('channel', '')")
            await asyncio.sleep(0.2)
            assert conn.notifies.empty(), "it has come, and nobody looks"
            await look(conn)
            assert conn.notifies.qsize() == 1


async def test_second_close_does_not_affect_the_next_connection(dsn: str) -> None:
    """The next one has the number of its socket."""
    for connect, works in ((stock, False), (fixed, True)):
        async with connect(dsn) as closed:
            number = closed.raw.fileno()
            closed.close()
            async with connect(dsn) as conn:
                assert conn.raw.fileno() == number
                closed.close()
                task = asyncio.create_task(execute(conn, "SELECT pg_sleep(0.1)"))
                done, _ = await asyncio.wait([task], timeout=0.5)
                assert bool(done) == works
                task.cancel()
                await asyncio.wait([task])
