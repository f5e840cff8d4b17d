"""The only module that knows aiopg: connections that run prepared statements, and one that listens."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self
from weakref import ReferenceType, WeakKeyDictionary

import aiopg
import psycopg2
from aiohttp import web
from psycopg2.extensions import POLL_OK, POLL_WRITE, make_dsn, parse_dsn

Params = Mapping[str, object]
Row = tuple[Any, ...]
HostPool = Callable[[], aiopg.Pool]
"""A host application's pool, which exists from its start-up on."""

POOL_SIZE = 8
TIME_LIMIT = 3.6  # seconds for a statement and the wait for its connection: people get their 503 within four
# Shorter than ours: a statement that we give up on must not go on holding its locks.
SERVER_SETTINGS = {
    "statement_timeout": "3300",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "5000",
    "client_connection_check_interval": "1000",
    "default_transaction_isolation": r"read\ committed",
    "inventory_ws.bell": "local",
    "jit": "off",  # no statement of ours runs long enough to be worth compiling
}

AWAY = (psycopg2.OperationalError, psycopg2.InternalError, psycopg2.InterfaceError, TimeoutError)
REFUSALS = (
    psycopg2.IntegrityError,
    psycopg2.errors.StringDataRightTruncation,
    psycopg2.errors.NumericValueOutOfRange,
    psycopg2.errors.CharacterNotInRepertoire,
    psycopg2.errors.UntranslatableCharacter,
    psycopg2.errors.ProgramLimitExceeded,  # a text too long for an index
)
RAISE = "exec_stmt_raise"  # where in PostgreSQL an error comes from that a trigger's RAISE made
CONNECTING = 20  # the status of a psycopg2 connection, which has no name in Python

log = logging.getLogger(__name__)


class Unavailable(Exception):
    """PostgreSQL did not answer in time. A statement that changes something may have happened or not."""


class Rejected(Exception):
    """PostgreSQL refused a value. `code`: the SQLSTATE; `place`: the names of column, constraint and key; `raised`: the
    text is that of a trigger's RAISE."""

    def __init__(self, exc: psycopg2.Error) -> None:
        found = exc.diag
        super().__init__(found.message_primary)
        self.code = exc.pgcode or ""
        self.raised = found.source_function == RAISE
        key = (found.message_detail or "").partition(")=(")[0] if self.code in ("23505", "23P01") else ""
        self.place = f"{found.column_name or found.constraint_name or ''} {key}"


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
    """Turns what aiopg and psycopg2 raise into the two exceptions of this module; a fault of ours stays what it is."""
    try:
        yield
    except (psycopg2.Error, TimeoutError) as exc:
        if isinstance(exc, REFUSALS) or isinstance(exc, psycopg2.Error) and exc.diag.source_function == RAISE:
            raise Rejected(exc) from exc
        if isinstance(exc, AWAY):
            raise Unavailable(str(exc).strip() or type(exc).__name__) from exc
        raise


@cache
def _statement(sql: str) -> tuple[str, str, str]:
    """The name of a statement, the PREPARE that makes it known to a connection, and the EXECUTE with its parameters."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
    numbered = re.sub(r"%\((\w+)\)s", lambda name: f"${names.index(name[1]) + 1}", sql)
    name = f"s{abs(hash(sql))}"
    given = f"({', '.join(f'%({name})s' for name in names)})" if names else ""
    return name, f"PREPARE {name} AS {numbered}", f"EXECUTE {name}{given}"


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a task that uses the database, and waits for its end."""
    # More than once: a library that waits by asyncio.wait_for can swallow a cancellation on Python 3.11.
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


async def _answered(conn: aiopg.Connection, waiter: asyncio.Future[None]) -> None:
    # aiopg's own waits by asyncio.wait_for, which on Python 3.11 swallows a cancellation in the tick of the answer.
    conn._ready(conn._weakref)
    try:
        await waiter
    except asyncio.CancelledError:
        conn.close()  # it is still busy with what nobody waits for
        raise
    finally:
        conn._waiter = None


class _Socket(aiopg.Connection):
    """aiopg's connection, with care for the number of its socket: libpq closes the socket, or goes on to another one
    (the next address, no SSL), whenever it is asked how things stand, and the number is then anybody's."""

    @staticmethod
    def _ready(weak_self: ReferenceType[Any]) -> None:
        # aiopg's own keeps a number that is closed, and asks select(), which knows none above 1023.
        if (self := weak_self()) is None:
            return
        conn, waiter = self._conn, self._waiter
        if conn.status == CONNECTING:
            self._leave()
        try:
            state = conn.poll()
            while conn.notifies:
                self._notifies.put_nowait(conn.notifies.pop(0))
        except psycopg2.Error as exc:
            self._notifies_proxy.close(exc)
            if waiter and not waiter.done():
                waiter.set_exception(exc)
            if conn.closed:
                self._leave()
                self.close()
        else:
            if self._fileno is None and not conn.closed:
                self._fileno = conn.fileno()
                self._loop.add_reader(self._fileno, self._ready, self._weakref)
            if state == POLL_WRITE:
                self._loop.add_writer(self._fileno, self._ready, self._weakref)
            elif self._writing:
                self._loop.remove_writer(self._fileno)
            self._writing = state == POLL_WRITE
            if state == POLL_OK and waiter and not waiter.done():
                waiter.set_result(None)

    async def _poll(self, waiter: asyncio.Future[None], _: float) -> None:
        await _answered(self, waiter)

    def _leave(self) -> None:
        """The loop looks at the socket no more."""
        if (number := self._fileno) is not None:
            for remove in (self._loop.remove_writer, self._loop.remove_reader):
                with suppress(OSError):  # it is closed already
                    remove(number)
        self._fileno, self._writing = None, False


class Connection:
    """One connection: it runs one statement at a time, and hears a channel."""

    def __init__(self, conn: aiopg.Connection, prepared: set[str]) -> None:
        """`prepared`: the names of the statements that it knows."""
        self._conn = conn
        self._prepared = prepared

    @property
    def closed(self) -> bool:
        """Whether it is of no more use."""
        return bool(self._conn.closed)

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]:
        """Runs one statement, prepared at its first time, and returns its rows. Raises Unavailable and Rejected."""
        with _translated():
            async with asyncio.timeout(TIME_LIMIT):
                rows = await self.run(sql, params)
        # A notification that came in one packet with the rows wakes nobody: aiopg looks only when the socket is readable.
        self._conn._ready(self._conn._weakref)
        return rows

    async def run(self, sql: str, params: Params | None = None, seconds: float | None = None) -> list[Row]:
        """The same without a time limit but PostgreSQL's own, which may be `seconds`. Raises what psycopg2 raises."""
        name, prepare, execute = _statement(sql)
        if seconds:
            execute = f"SET LOCAL statement_timeout = {seconds * 1000:.0f}; {execute}"
        if name not in self._prepared:
            await self.execute(prepare)
            self._prepared.add(name)
        return await self.execute(execute, params)

    async def execute(self, sql: str, params: Params | None = None) -> list[Row]:
        """Sends the text to PostgreSQL as it is, which may be a script, and returns the rows of its last statement."""
        conn = self._conn
        cursor = conn.raw.cursor(cursor_factory=psycopg2.extensions.cursor)  # a host's own may return no tuples
        waiter = conn._create_waiter("execute")
        try:
            cursor.execute(sql, params)
            await _answered(conn, waiter)
        finally:
            conn._waiter = None
            if conn.closed:
                self.close()
        return cursor.fetchall() if cursor.description else []

    async def heard(self) -> None:
        """Returns when somebody else has notified. Raises Unavailable when the connection can't hear any more."""
        with _translated():
            while (await self._conn.notifies.get()).pid == self._conn.raw.get_backend_pid():
                pass

    def close(self) -> None:
        """Ends it at once."""
        self._conn.close()


def _complete(dsn: str) -> str:
    """The same database, with what our own connections need. Raises ValueError."""
    try:
        words = parse_dsn(dsn)
    except psycopg2.ProgrammingError as exc:
        raise ValueError(f"--database-url (DATABASE_URL, dsn) no se entiende: {exc}") from exc
    settings = " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items())
    words["options"] = f"{words.get('options', '')} {settings}".strip()
    defaults: dict[str, str | int] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    if "," in words.get("host", ""):
        defaults["target_session_attrs"] = "read-write"  # a primary and its standbys
    return str(make_dsn(**{"application_name": "inventory_ws", "client_encoding": "UTF8", **defaults, **words}))


def _hosts(dsn: str) -> list[str]:
    """The DSN of each of its hosts."""
    words = parse_dsn(dsn)
    lists = {name: words[name].split(",") for name in ("host", "hostaddr", "port") if name in words}
    number = max(map(len, lists.values()), default=1)
    return [make_dsn(dsn, **{name: (each * number)[at] for name, each in lists.items()}) for at in range(number)]


class Database:
    """PostgreSQL behind a pool: its own at `dsn`, which is anything libpq takes (a URL or `key=value` words; else
    ValueError), or else the one that `pool` returns, which is somebody else's."""

    def __init__(self, dsn: str | None, pool: HostPool | None = None) -> None:
        self._hosts = [] if dsn is None else _hosts(_complete(dsn))
        self._pool = pool
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(POOL_SIZE)
        self._prepared = WeakKeyDictionary[aiopg.Connection, set[str]]()

    async def __aenter__(self) -> Self:
        """Opens all its connections. Raises Unavailable, and TypeError where `pool` returns none."""
        with _translated():
            async with asyncio.timeout(2 * TIME_LIMIT):
                if self._pool:
                    conn = await self._borrow(self._pool())
                    info = conn._conn.raw.info
                    self._hosts = _hosts(_complete(make_dsn(**info.dsn_parameters, password=info.password)))
                    self._give_back(conn)
                else:
                    self._idle = [await self._connect() for _ in range(POOL_SIZE)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._clear()

    def _awake(self) -> Connection | None:
        while self._idle:
            if not (conn := self._idle.pop()).closed:
                return conn
        return None

    def _clear(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Connection:
        # One host after the other: libpq, where it does not wait itself, stays for ever with one that is dead.
        failure: Exception | None = None
        for dsn in list(self._hosts):
            try:
                async with asyncio.timeout(TIME_LIMIT / len(self._hosts)):
                    conn = await _Socket(dsn, 60.0, enable_json=False, enable_hstore=False, enable_uuid=False)
            except (psycopg2.OperationalError, TimeoutError) as exc:
                failure = exc
            else:
                self._hosts.sort(key=lambda host: host != dsn)  # the next connection begins where this one was made
                return Connection(conn, set())
        assert failure
        raise failure

    async def _borrow(self, pool: aiopg.Pool) -> Connection:
        if not isinstance(pool, aiopg.Pool):
            raise TypeError(f"pool= has to return an aiopg.Pool and not {pool!r}: with another driver, give dsn=")
        try:
            conn = await pool.acquire()
        except (RuntimeError, AssertionError) as exc:  # it is closing, or would hand out one that is dead
            raise Unavailable(str(exc)) from exc
        return Connection(conn, self._prepared.setdefault(conn, set()))

    def _give_back(self, conn: Connection) -> None:
        if self._pool:
            pool = self._pool()
            pool.release(conn._conn)
            if conn.closed:  # of which those who wait for a connection are not told
                self._waking = asyncio.ensure_future(pool.clear())
        elif not conn.closed:
            self._idle.append(conn)

    async def fetch(
        self, sql: str, params: Params | None = None, *, attempts: int = 1, seconds: float | None = None
    ) -> list[Row]:
        """Runs one statement and returns its rows. Raises Unavailable and Rejected; only a SELECT may be tried twice."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds or TIME_LIMIT)
        while True:
            try:
                with _translated():
                    async with asyncio.timeout_at(deadline), self._slots:
                        conn = self._awake() or await (self._borrow(self._pool()) if self._pool else self._connect())
                        try:
                            async with asyncio.timeout_at(
                                deadline
                            ):  # aiopg's pool can swallow the first on Python 3.11
                                return await conn.run(sql, params, seconds)
                        finally:
                            self._give_back(conn)
            except Unavailable as exc:
                log.warning("PostgreSQL: %s", exc)
                self._clear()  # what befell this connection befell the idle ones
                attempts -= 1
                if attempts < 1 or loop.time() > deadline:
                    raise

    async def apply(self, script: str) -> None:
        """Runs a script of several statements. Raises Unavailable, PermissionError where the role may not, and ValueError
        where something else of the same name is in the way."""
        try:
            async with self._connection() as conn:
                await conn.execute(script)
        except psycopg2.errors.InsufficientPrivilege as exc:
            raise PermissionError(str(exc).splitlines()[0]) from exc
        except (Rejected, psycopg2.Error) as exc:
            reason = f"el esquema no cabe en esta base de datos ({str(exc).splitlines()[0]})"
            raise ValueError(f"{reason}; indique otra con --database-url (DATABASE_URL)") from exc

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with _translated():
            async with asyncio.timeout(TIME_LIMIT):
                conn = await self._connect()
            try:
                yield conn
            finally:
                conn.close()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Connection]:
        """A connection of its own that hears the channel. Raises Unavailable."""
        async with self._connection() as conn:
            async with asyncio.timeout(TIME_LIMIT):
                await conn.execute(f"LISTEN {channel}")
            yield conn


DATABASE = web.AppKey("DATABASE", Database)
