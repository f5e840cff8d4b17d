"""A connection to PostgreSQL that runs prepared statements."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import blake2b

import psycopg2

from .aiopg_fixes import FixedConnection, Params, Row
from .errors import translated

STATEMENT_TIMEOUT = 3.6  # seconds for a statement and its wait for a connection
SOONER = 0.3  # seconds by which the server ends a statement, and releases its locks, before the service gives up

# SET after connecting, because poolers refuse or drop settings in `options`.
SERVER_SETTINGS = {
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "5000",
    "default_transaction_isolation": "read committed",
    "jit": "off",  # compiling takes longer than it saves: every statement is short
}
# PostgreSQL on Windows, and 14 on macOS, refuse it: they do not hear that a client has gone.
ENDS_WITH_CLIENT = "set_config('client_connection_check_interval', '1000', false)"
# In the rows that a change returns: the service wakes its feed itself. What a trigger of the owner has done instead is notified.
BELL = "set_config('inventory_ws.bell', 'local', true)"
# Limits that would end a connection: one that listens or is not needed just now, and an import (from PostgreSQL 17 on).
NO_TIMEOUTS = """(
    SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')
    )"""


@cache
def _statement(sql: str) -> tuple[str, str, str]:
    """Return the name of a prepared statement, its PREPARE, and its EXECUTE with placeholders for the parameters.

    Preparing saves 25 % of the processor time of a GET, in service and PostgreSQL together, and 40 % of that of a POST.
    """
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
    numbered = re.sub(r"%\((\w+)\)s", lambda name: f"${names.index(name[1]) + 1}", sql)
    prepared = f"s{blake2b(sql.encode(), digest_size=8).hexdigest()}"  # in every process the same, for tracing
    given = f"({', '.join(f'%({name})s' for name in names)})" if names else ""
    return prepared, f"PREPARE {prepared} AS {numbered}", f"EXECUTE {prepared}{given}"


class Connection(FixedConnection):
    """A connection that prepares each statement when it first runs it. `execute` runs SQL that is not prepared.

    `pid`: of its backend, which behind a pooler libpq does not know; 0 before `open`. `server`: when the server was started.
    `heard`: when it has last given an answer, in the loop's time.
    """

    def __init__(self, dsn: str, time_limit: float) -> None:
        super().__init__(dsn)
        self.time_limit = time_limit
        self.pid, self.server, self.heard = 0, "", 0.0
        self._prepared: set[str] = set()

    async def open(self) -> None:
        """Connect to a server that takes changes. Raise OperationalError."""
        limits = SERVER_SETTINGS | {"statement_timeout": f"{(self.time_limit - SOONER) * 1000:.0f}"}
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in limits.items())
        sql = "SELECT pg_backend_pid(), pg_postmaster_start_time()::text, current_setting('transaction_read_only')"
        sql = f"{sql}, {settings}, {NO_TIMEOUTS}"
        try:
            await self
            try:
                rows = await self.execute(f"{sql}, {ENDS_WITH_CLIENT}")
            except psycopg2.DataError:
                rows = await self.execute(sql)
            ((pid, server, read_only, *_),) = rows
            if read_only == "on":
                raise psycopg2.OperationalError("the server is read-only")
        except BaseException:
            self.close()
            raise
        self.pid, self.server, self.heard = pid, server, asyncio.get_running_loop().time()

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]:
        """Run one statement and return its rows. Raise Unavailable or Rejected."""
        try:
            with translated():
                async with asyncio.timeout(self.time_limit):
                    return await self.run(sql, params)
        finally:
            self.receive_notifications()

    async def run(self, sql: str, params: "Given" = None, seconds: float | None = None) -> list[Row]:
        """Run one statement. Only the server's time limit applies; `seconds` replaces it. Raise what psycopg2 raises."""
        execute = await self._prepare(sql)
        if seconds:
            execute = f"SET LOCAL statement_timeout = {seconds * 1000:.0f}; {execute}"  # sent together: one transaction
        try:
            return await self.execute(execute, await params(self) if callable(params) else params)
        finally:
            self.heard = asyncio.get_running_loop().time()

    async def text(self, sql: str, params: Params) -> str:
        """Return the SQL that executes a statement on this connection, with its parameters in it."""
        return self.mogrified(await self._prepare(sql), params)

    async def _prepare(self, sql: str) -> str:
        name, prepare, execute = _statement(sql)
        if name not in self._prepared:
            await self.execute(prepare)
            self._prepared.add(name)
        return execute

    async def wait_for_notification(self) -> None:
        """Wait for a notification from another connection. Raise Unavailable if this one is lost."""
        with translated():
            while (await self.notifies.get()).pid == self.pid:
                pass


Given = Params | Callable[[Connection], Awaitable[Params]] | None
"""The parameters of a statement, or what makes them for a connection."""


async def check_pooler(one: Connection, other: Connection) -> None:
    """Raise ValueError behind a pooler that gives the statements of a connection to several of the server."""
    pids = [(await conn.execute("SELECT pg_backend_pid()"))[0][0] for conn in (one, other)]
    if pids != [one.pid, other.pid] or pids[0] == pids[1]:
        remedy = "póngalo en modo sesión (pgpool-II: load_balance_mode = off)"
        raise ValueError(f"el pooler delante de PostgreSQL reparte lo de una conexión entre varias: {remedy}")
