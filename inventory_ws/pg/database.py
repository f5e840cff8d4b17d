"""The pool of connections."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import index
from typing import Self
from weakref import WeakSet

import psycopg2
from aiohttp import web

from .aiopg_fixes import Params, Row
from .connection import STATEMENT_TIMEOUT, Connection
from .dsn import split_hosts
from .errors import Unavailable, translated

POOL_SIZE = 8  # connections beside the one that listens
# Limits that would end the connection: of one that listens or is not needed just now, and of an import (from PostgreSQL 17 on).
NO_TIMEOUTS = """
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')
    """

log = logging.getLogger(__name__)


class Database:
    """PostgreSQL behind a pool of connections."""

    def __init__(self, dsn: str, size: int = POOL_SIZE) -> None:
        """Take a connection string of libpq, a URL or `key=value` words, and the number of connections. Raise ValueError."""
        if index(size) < 1:
            raise ValueError(f"pool_size={size}: at least one connection is needed")
        self._hosts = split_hosts(dsn)
        self._size = size
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._all = WeakSet[Connection]()
        self._ended = False

    async def __aenter__(self) -> Self:
        """Open the connections. Raise Unavailable."""
        try:
            with translated():
                async with asyncio.timeout(2 * STATEMENT_TIMEOUT):
                    while len(self._idle) < self._size:
                        self._idle.append(await self._connect())
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection for good. Statements under way, and later ones, raise Unavailable."""
        self._ended = True
        for conn in list(self._all):
            conn.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Connection:
        # One host at a time: in non-blocking mode libpq ignores its time limit, and would wait for a dead host for ever.
        hosts = list(self._hosts)
        while True:
            if self._ended:
                raise psycopg2.InterfaceError("the service has ended")
            dsn = hosts.pop(0)
            try:
                self._all.add(conn := Connection(dsn))
                async with asyncio.timeout(STATEMENT_TIMEOUT / len(self._hosts)):
                    await conn
                    await conn.execute(NO_TIMEOUTS)
            except (psycopg2.OperationalError, TimeoutError):
                if not hosts:
                    raise
            else:
                self._hosts.remove(dsn)  # the next connection tries this host first
                self._hosts.insert(0, dsn)
                return conn

    async def _acquire(self) -> Connection:
        while self._idle:
            if not (idle := self._idle.pop()).closed:
                return idle
        return await self._connect()

    async def fetch(
        self, sql: str, params: Params | None = None, *, attempts: int = 1, seconds: float | None = None
    ) -> list[Row]:
        """Run one statement and return its rows. Only a SELECT may have two attempts. Raise Unavailable or Rejected."""
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
                return await conn.run(sql, params, seconds)
            finally:
                if not conn.closed:
                    self._idle.append(conn)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Open a connection beside the pool, for a script or for `LISTEN`. Raise Unavailable, also from the block."""
        with translated():
            async with asyncio.timeout(STATEMENT_TIMEOUT):
                conn = await self._connect()
            try:
                yield conn
            finally:
                conn.close()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Connection]:
        """Open a connection that listens to a channel. Raise Unavailable."""
        async with self.connection() as conn:
            async with asyncio.timeout(STATEMENT_TIMEOUT):
                await conn.execute(f"LISTEN {channel}")
            yield conn


DATABASE = web.AppKey("DATABASE", Database)
