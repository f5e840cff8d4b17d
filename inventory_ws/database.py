"""The only module that knows aiopg: a pool that runs one statement, and a connection that listens."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import aiopg
import psycopg2
from aiohttp import web
from psycopg2.extensions import make_dsn, parse_dsn

Params = Mapping[str, object]
Row = tuple[Any, ...]

POOL_SIZE = 8
TIME_LIMIT = 3.8  # seconds for a statement and the wait for its connection: people get their 503 within four
# Shorter than ours: a statement that we give up on must not go on holding its locks.
SERVER_SETTINGS = {
    "statement_timeout": "3500",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "5000",
    "client_connection_check_interval": "1000",
    "default_transaction_isolation": r"read\ committed",
    "inventory_ws.bell": "local",
}

log = logging.getLogger(__name__)


class Unavailable(Exception):
    """PostgreSQL did not answer in time. A statement that changes something may have happened or not."""


class Rejected(Exception):
    """PostgreSQL refused a value: a constraint, a type, a range."""


def sql_file(name: str) -> str:
    """The text of a file of sql/, which stands in the package of a wheel and beside it in a checkout."""
    return (data_folder("sql") / name).read_text("utf-8")


@cache
def data_folder(name: str) -> Path:
    """The folder sql/ or client/: inside the package (a wheel) or beside it (a checkout)."""
    package = Path(__file__).parent
    return next(folder for folder in (package / name, package.parent / name) if folder.is_dir())


@contextmanager
def _translated() -> Iterator[None]:
    """Turns what aiopg and psycopg2 raise into the two exceptions of this module."""
    task = asyncio.current_task()
    cancelled = task.cancelling() if task else 0
    try:
        yield
    except (psycopg2.IntegrityError, psycopg2.DataError) as exc:
        raise Rejected(str(exc).splitlines()[0]) from exc
    # aiopg asserts where a pooled connection died in the same tick.
    except (
        psycopg2.OperationalError,
        psycopg2.InternalError,
        psycopg2.InterfaceError,
        AssertionError,
        TimeoutError,
    ) as exc:
        raise Unavailable(str(exc).strip() or type(exc).__name__) from exc
    except asyncio.CancelledError as exc:
        # aiopg reports a statement that the server cancelled (statement_timeout) as a cancellation of the task.
        if task and task.cancelling() > cancelled:
            raise
        raise Unavailable("the server cancelled the statement") from exc


async def _run(conn: aiopg.Connection, sql: str, params: Params | None) -> list[Row]:
    async with conn.cursor() as cursor:
        await cursor.execute(sql, params)
        return await cursor.fetchall() if cursor.description else []


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a task that uses the database, and waits for its end."""
    # More than once: aiopg waits by asyncio.wait_for, which on Python 3.11 can swallow a cancellation.
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class Listener:
    """A connection of its own that hears a channel and runs statements; after any error it is of no more use."""

    def __init__(self, conn: aiopg.Connection) -> None:
        self._conn = conn

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]:
        """Runs one statement and returns its rows. Raises Unavailable and Rejected."""
        with _translated():
            async with asyncio.timeout(TIME_LIMIT):
                rows = await _run(self._conn, sql, params)
        # A notification that came in one packet with the rows wakes nobody: aiopg looks only when the socket is readable.
        self._conn._ready(self._conn._weakref)
        return rows

    async def heard(self) -> None:
        """Returns when somebody else has notified. Raises Unavailable when the connection can't hear any more."""
        with _translated():
            while (await self._conn.notifies.get()).pid == self._conn.raw.get_backend_pid():
                pass


class Database:
    """PostgreSQL behind a pool. `dsn` is anything libpq takes: a URL or `key=value` words; else ValueError."""

    def __init__(self, dsn: str) -> None:
        try:
            words = parse_dsn(dsn)
        except psycopg2.ProgrammingError as exc:
            raise ValueError(f"--database-url (dsn) no se entiende: {exc}") from exc
        settings = " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items())
        words["options"] = f"{words.get('options', '')} {settings}".strip()
        if words.get("host") == "localhost":
            words["hostaddr"] = "127.0.0.1"  # aiopg hangs where libpq goes on to a name's second address
        defaults = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        self._dsn = make_dsn(**{"application_name": "inventory_ws", "client_encoding": "UTF8", **defaults, **words})
        self._pool: aiopg.Pool | None = None
        # aiopg's own queue can't be left while somebody in it connects, which a black hole makes long.
        self._slots = asyncio.Semaphore(POOL_SIZE)

    async def __aenter__(self) -> Self:
        with _translated():
            async with asyncio.timeout(2 * TIME_LIMIT):
                self._pool = await aiopg.create_pool(self._dsn, minsize=POOL_SIZE, maxsize=POOL_SIZE, **self._options)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._pool is not None
        self._pool.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._pool.wait_closed()

    @property
    def _options(self) -> dict[str, Any]:
        # Longer than any of ours: aiopg's own limit can leave the task marked as cancelled on Python 3.11.
        return {"timeout": 60.0, "enable_json": False, "enable_hstore": False, "enable_uuid": False}

    async def fetch(self, sql: str, params: Params | None = None, *, attempts: int = 1) -> list[Row]:
        """Runs one statement and returns its rows. Raises Unavailable and Rejected; only a SELECT may be tried twice."""
        assert self._pool is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TIME_LIMIT
        while True:
            try:
                with _translated():
                    async with asyncio.timeout_at(deadline), self._slots, self._pool.acquire() as conn:
                        return await _run(conn, sql, params)
            except Unavailable as exc:
                log.warning("PostgreSQL: %s", exc)
                # What befell this connection befell the idle ones; and releasing a dead one wakes nobody who waits.
                with suppress(TimeoutError, psycopg2.Error):
                    async with asyncio.timeout(0.1):
                        await self._pool.clear()
                attempts -= 1
                if attempts < 1 or loop.time() > deadline:
                    raise

    async def apply(self, script: str, *, unless_works: str | None = None) -> None:
        """Runs a script of several statements; a role that may not is forgiven where the query `unless_works` works.

        Raises Unavailable, PermissionError, and ValueError where something else of the same name is in the way.
        """
        try:
            async with self._connect() as conn:
                await _run(conn, script, None)
        except psycopg2.errors.InsufficientPrivilege as exc:
            try:
                async with self._connect() as conn:
                    await _run(conn, unless_works or script, None)
            except psycopg2.ProgrammingError:
                raise PermissionError(str(exc).splitlines()[0]) from exc
        except (Rejected, psycopg2.Error) as exc:
            raise ValueError(f"el esquema no cabe en esta base de datos: {str(exc).splitlines()[0]}") from exc

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[aiopg.Connection]:
        with _translated():
            async with asyncio.timeout(TIME_LIMIT):
                conn = await aiopg.connect(self._dsn, **self._options)
            try:
                yield conn
            finally:
                await conn.close()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Listener]:
        """A connection that hears the channel. Raises Unavailable."""
        async with self._connect() as conn:
            listener = Listener(conn)
            await listener.fetch(f"LISTEN {channel}")
            yield listener


DATABASE = web.AppKey("DATABASE", Database)
