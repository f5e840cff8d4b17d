"""The pool of connections."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from operator import index
from typing import Self
from weakref import WeakSet

import psycopg2
from aiohttp import web
from psycopg2.errors import QueryCanceled

from .aiopg_fixes import Row
from .connection import STATEMENT_TIMEOUT, Connection, Given, check_pooler
from .errors import Unavailable, connection_ends, translated
from .hosts import ATTEMPT_TIMEOUT, Hosts
from .lanes import GivenUp, Lane, queues

POOL_SIZE = 8  # connections that changes may take
LAST_TIMEOUT = 2.7  # seconds for the last attempt, if no machine answers at the address
OPEN_TIMEOUT = 10.0  # seconds if one answers, more than a request waits for
LEAST = 0.3  # seconds that have to be left when a statement begins
FULL_PAUSE = 1.0  # seconds until another connection is asked for, after the server has refused one

logger = logging.getLogger(__name__)


class Database:
    """PostgreSQL behind a pool of connections, which are opened when they are needed. All are to one server."""

    def __init__(self, dsn: str, size: int = POOL_SIZE, timeout: float = STATEMENT_TIMEOUT) -> None:
        """Take a connection string of libpq, a URL or `key=value` words, the number of connections, and the seconds for a
        statement. Raise ValueError."""
        if index(size) < 1:
            raise ValueError(f"pool_size={size}: at least one connection is needed")
        if not timeout >= 1:
            raise ValueError(f"statement_timeout={timeout}: at least one second is needed")
        self.timeout = timeout
        self._hosts = Hosts(dsn)
        self.queues = queues(size)
        self._all = WeakSet[Connection]()
        self._given_up = GivenUp()
        self._openings = set[asyncio.Task[Connection]]()  # of the pool
        self._server = ""
        self._ended = False

    async def __aenter__(self) -> Self:
        """Open two connections, once. Raise Unavailable, or ValueError behind a pooler in transaction mode."""
        if self._ended or self._server:
            raise RuntimeError("an application starts once: create another one by create_app()")
        try:
            with translated():
                async with asyncio.timeout(2 * self.timeout):
                    for lane in (Lane.HEALTH, Lane.QUICK):
                        self.queues[lane].idle.append(await self._connect())
                    await check_pooler(self.queues[Lane.HEALTH].idle[0], self.queues[Lane.QUICK].idle[0])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection for good. Statements under way, and later ones, raise Unavailable."""
        self._ended = True
        self._hosts.close()
        for conn in list(self._all):
            conn.close()
        await asyncio.gather(*self._openings, return_exceptions=True)

    async def _connect(self) -> Connection:
        # One address at a time: in non-blocking mode libpq ignores its time limit, and would wait for a dead host for ever. At
        # last the first one again, behind which a balancer may have found another server.
        addresses = [] if self._ended else await self._hosts.addresses()
        addresses += addresses[:1]
        while True:
            if self._ended:
                raise psycopg2.InterfaceError("the service has ended")
            dsn = addresses.pop(0)
            try:
                self._all.add(conn := Connection(dsn, self.timeout))
                async with asyncio.timeout(ATTEMPT_TIMEOUT if addresses else LAST_TIMEOUT) as limit:
                    if not addresses:  # a machine that answers is busy, and one that does not is gone
                        conn.when_reached = partial(limit.reschedule, asyncio.get_running_loop().time() + OPEN_TIMEOUT)
                    await conn.open()
            except BaseException as exc:
                self._hosts.failed(dsn)
                if not (addresses and isinstance(exc, (psycopg2.OperationalError, TimeoutError))):
                    raise
            else:
                self._follow(conn.server)
                return conn

    def _follow(self, server: str) -> None:
        """Close the connections to any other server: after a failover they may be to one whose changes nobody gets."""
        if server != self._server:
            self._server = server
            self._given_up.release(*self._given_up)
            for conn in list(self._all):
                if conn.server not in ("", server):
                    conn.close()

    async def _enter(self, lane: Lane) -> Connection:
        """Wait for a connection. If the server refuses another one, the slot stays taken for a while: an open one is waited for."""
        queue = self.queues[lane]
        while True:
            if self._given_up and lane is not Lane.HEALTH:
                await self._given_up.release_ended(self.fetch)
            await queue.acquire()
            try:
                if conn := queue.spare():
                    return conn
                connect = self._spared if lane is Lane.HEALTH else self._connect
                self._openings.add(opening := asyncio.create_task(connect()))
                opening.add_done_callback(self._openings.discard)
                await asyncio.wait({opening})  # from Python 3.14 on, shield() reports an error that comes too late
                return opening.result()
            except asyncio.CancelledError:
                # It is for the next one who comes: else a server that is too slow for those who wait would never get one done.
                opening.add_done_callback(queue.keep)
                raise
            except BaseException as exc:
                if not (self._open() and isinstance(exc, psycopg2.OperationalError)):
                    queue.release()
                    raise
            asyncio.get_running_loop().call_later(FULL_PAUSE, queue.release)

    def _open(self) -> int:
        return sum(bool(conn.pid) and not conn.closed for conn in self._all)

    async def _spared(self) -> Connection:
        """Open a connection. If the server gives no more, take an idle one from the pool, but not its last."""
        try:
            return await self._connect()
        except psycopg2.OperationalError:
            if self._open() > 2 and (conn := self.queues[Lane.QUICK].spare()):
                return conn
            raise

    async def fetch(
        self,
        sql: str,
        params: Given = None,
        lane: Lane = Lane.CHANGE,
        *,
        seconds: float | None = None,
        limit: float | None = None,
    ) -> list[Row]:
        """Run one statement and return its rows. Raise Unavailable or Rejected. `seconds`: for everything. `limit`: fewer of them
        for the statement without its commit."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds or self.timeout)
        attempts = 2 if lane is Lane.QUICK else 1
        while True:
            try:
                with translated():
                    return await self._attempt(sql, params, lane, seconds, limit, deadline)
            except Unavailable as exc:
                if not (limit and isinstance(exc.__cause__, QueryCanceled)):  # a part of its time, and not all of it
                    logger.warning("PostgreSQL: %s", exc)
                attempts -= 1
                if attempts < 1 or loop.time() > deadline:
                    raise

    async def _attempt(
        self, sql: str, params: Given, lane: Lane, seconds: float | None, limit: float | None, deadline: float
    ) -> list[Row]:
        queue, loop, lost = self.queues[lane], asyncio.get_running_loop(), False
        async with asyncio.timeout_at(deadline):
            conn = await self._enter(lane)
            try:
                left = deadline - loop.time()
                if left < LEAST:
                    raise TimeoutError
                if seconds or left < self.timeout - 0.1:  # after a wait, too, the server has to end it first
                    seconds = left - min(0.3, left / 4)
                if limit:
                    seconds = min(seconds or limit, limit)
                return await conn.run(sql, params, seconds)
            except psycopg2.Error as exc:
                if lost := connection_ends(exc):
                    conn.close()
                raise
            finally:
                if not conn.closed:
                    queue.idle.append(conn)
                else:  # the idle ones are probably lost too, unless they answered within the time of a statement
                    for idle in [idle for each in self.queues.values() for idle in each.idle]:
                        if lost or idle.heard < loop.time() - self.timeout:
                            idle.close()
                if conn.closed and lane is not Lane.HEALTH:
                    self._given_up.add(conn.pid, queue)
                else:
                    queue.release()

    @asynccontextmanager
    async def connection(self, seconds: float | None = None) -> AsyncIterator[Connection]:
        """Open a connection beside the pool, for a script or for `LISTEN`. Raise Unavailable, also from the block.
        `seconds`: for opening it; by default those of a statement."""
        with translated():
            async with asyncio.timeout(seconds or self.timeout):
                conn = await self._spared()
            try:
                yield conn
            finally:
                conn.close()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Connection]:
        """Open a connection that listens to a channel. Raise Unavailable."""
        async with self.connection(OPEN_TIMEOUT) as conn:
            async with asyncio.timeout(self.timeout):
                await conn.execute(f"LISTEN {channel}")
            yield conn


DATABASE = web.AppKey("DATABASE", Database)
