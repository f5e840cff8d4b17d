"""PostgreSQL through aiopg: a pool that runs statements, and a connection that listens."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self
from weakref import WeakKeyDictionary

import aiopg
import psycopg2
from aiohttp import web
from psycopg2.extensions import make_dsn

from . import aiopg_fixes
from .aiopg_fixes import FixedConnection, Params, Row
from .connection import STATEMENT_TIMEOUT, Connection
from .dsn import split_hosts
from .errors import Unavailable, translated

HostPool = Callable[[], aiopg.Pool]
"""Returns the pool of a host application. It is called after the host has started."""

POOL_SIZE = 8

log = logging.getLogger(__name__)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task that uses the database, and wait until it ends."""
    while not task.done():
        task.cancel()  # repeatedly: on Python 3.11, asyncio.wait_for (in aiopg's pool) can swallow a cancellation
        await asyncio.wait([task], timeout=0.1)


class Database:
    """PostgreSQL behind a pool of connections: its own, or that of a host application."""

    def __init__(self, dsn: str | None, pool: HostPool | None = None) -> None:
        """`dsn`: a connection string of libpq, a URL or `key=value` words. None: `pool` is used. Raises
        ValueError if it is invalid."""
        self._hosts = [] if dsn is None else split_hosts(dsn)
        self._host_pool = pool
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(POOL_SIZE)
        self._prepared = WeakKeyDictionary[aiopg.Connection, set[str]]()

    async def __aenter__(self) -> Self:
        """Open the connections. Raises Unavailable, and TypeError where `pool` returns no aiopg.Pool."""
        with translated():
            async with asyncio.timeout(2 * STATEMENT_TIMEOUT):
                if self._host_pool:
                    if not isinstance(pool := self._host_pool(), aiopg.Pool):
                        raise TypeError(
                            f"pool= has to return an aiopg.Pool and not {pool!r}: with another driver, give dsn="
                        )
                    conn = await self._acquire()
                    info = conn.raw.raw.info
                    self._hosts = split_hosts(make_dsn(**info.dsn_parameters, password=info.password))
                    self._release(conn)
                else:
                    self._idle = [await self._connect() for _ in range(POOL_SIZE)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().raw.close()

    async def _connect(self) -> Connection:
        # One host at a time: in non-blocking mode libpq ignores its time limit, and would wait for a dead host for ever.
        hosts = list(self._hosts)
        while True:
            dsn = hosts.pop(0)
            try:
                async with asyncio.timeout(STATEMENT_TIMEOUT / len(self._hosts)):
                    conn = await FixedConnection(dsn, 60.0, enable_json=False, enable_hstore=False, enable_uuid=False)
            except (psycopg2.OperationalError, TimeoutError):
                if not hosts:
                    raise
            else:
                self._hosts.remove(dsn)  # the next connection tries this host first
                self._hosts.insert(0, dsn)
                return Connection(conn, set())

    async def _acquire(self) -> Connection:
        if self._host_pool:
            conn = await aiopg_fixes.acquire(self._host_pool())
            return Connection(conn, self._prepared.setdefault(conn, set()))
        while self._idle:
            if not (idle := self._idle.pop()).raw.closed:
                return idle
        return await self._connect()

    def _release(self, conn: Connection) -> None:
        if self._host_pool:
            # Kept here, because asyncio holds no strong reference to it.
            self._released = aiopg_fixes.release(self._host_pool(), conn.raw)
        elif not conn.raw.closed:
            self._idle.append(conn)

    async def fetch(
        self, sql: str, params: Params | None = None, *, attempts: int = 1, seconds: float | None = None
    ) -> list[Row]:
        """Run one statement and return its rows. Only a SELECT may have two attempts. Raises Unavailable or Rejected."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds or STATEMENT_TIMEOUT)
        while True:
            try:
                with translated():
                    return await self._attempt(sql, params, seconds, deadline)
            except Unavailable as exc:
                log.warning("PostgreSQL: %s", exc)
                self._close_idle()  # they are probably lost too
                attempts -= 1
                if attempts < 1 or loop.time() > deadline:
                    raise

    async def _attempt(self, sql: str, params: Params | None, seconds: float | None, deadline: float) -> list[Row]:
        async with asyncio.timeout_at(deadline), self._slots:
            conn = await self._acquire()
            try:
                async with asyncio.timeout_at(deadline):  # again: aiopg's pool can swallow the first, see end()
                    return await conn.run(sql, params, seconds)
            finally:
                self._release(conn)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Open a connection beside the pool, for a script or for `LISTEN`. Raises Unavailable, also from the block."""
        with translated():
            async with asyncio.timeout(STATEMENT_TIMEOUT):
                conn = await self._connect()
            try:
                yield conn
            finally:
                conn.raw.close()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Connection]:
        """Open a connection that listens to a channel. Raises Unavailable."""
        async with self.connection() as conn:
            async with asyncio.timeout(STATEMENT_TIMEOUT):
                await conn.execute(f"LISTEN {channel}")
            yield conn


DATABASE = web.AppKey("DATABASE", Database)
