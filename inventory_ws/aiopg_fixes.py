"""What aiopg 1.4.0, its last release, does wrong, made right. No other module uses aiopg's private names."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from weakref import ReferenceType

import aiopg
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_WRITE

Params = Mapping[str, object]
Row = tuple[Any, ...]

CONNECTING = 20  # the status of a psycopg2 connection that is being made; psycopg2 exports no name for it


class FixedConnection(aiopg.Connection):
    """An aiopg connection without the faults of `_ready`, the callback of its socket, and of `_poll`, the wait for it."""

    @staticmethod
    def _ready(weak_self: ReferenceType[Any]) -> None:
        if (self := weak_self()) is None:
            return
        conn, waiter = self._conn, self._waiter
        # aiopg keeps the first socket, but libpq closes it to try the next address, or to go on without SSL: the connection
        # hangs, or another one gets its events (aiopg#275, #837, #909).
        if conn.status == CONNECTING:
            self._forget_socket()
        try:
            state = conn.poll()
            while conn.notifies:
                self._notifies.put_nowait(conn.notifies.pop(0))
        except psycopg2.Error as exc:
            # aiopg asks select() here whether the socket is open, which fails for the numbers from 1024 on: the statement
            # never ends (aiopg#668).
            self._notifies_proxy.close(exc)
            if waiter and not waiter.done():
                waiter.set_exception(exc)
            if conn.closed:
                self.close()
        else:
            if self._fileno is None and not conn.closed:
                self._fileno = conn.fileno()
                self._loop.add_reader(self._fileno, self._ready, weak_self)
            if state == POLL_WRITE:
                self._loop.add_writer(self._fileno, self._ready, weak_self)
            elif self._writing:
                self._loop.remove_writer(self._fileno)
            self._writing = state == POLL_WRITE
            if state == POLL_OK and waiter and not waiter.done():
                waiter.set_result(None)

    def _forget_socket(self) -> None:
        if self._fileno is not None:
            for remove in (self._loop.remove_writer, self._loop.remove_reader):
                with suppress(OSError):  # libpq has closed it
                    remove(self._fileno)
        self._fileno, self._writing = None, False

    def _close(self) -> None:
        # aiopg keeps the number of the socket, and a second close() takes the callback of the connection that has it by then.
        self._forget_socket()
        super()._close()

    async def _poll(self, waiter: asyncio.Future[None], _: float) -> None:
        await _wait(self, waiter)


async def fetch(conn: aiopg.Connection, sql: str, params: Params | None = None) -> list[Row]:
    """Run SQL on a connection, which may be a host's own, and return the rows of the last statement.

    It does what `Connection.cursor`, `Cursor.execute` and `fetchall` do, without their wrappers, which cost 5 % of a GET and
    of a POST, and without the faults of `Connection._poll`. Raises what psycopg2 raises.
    """
    cursor = conn.raw.cursor(cursor_factory=psycopg2.extensions.cursor)  # the host's own factory may make no tuples
    waiter = conn._create_waiter("fetch")
    try:
        cursor.execute(sql, params)
        await _wait(conn, waiter)
    finally:
        conn._waiter = None
        if conn.closed:
            conn.close()
    return cursor.fetchall() if cursor.description else []


async def _wait(conn: aiopg.Connection, waiter: asyncio.Future[None]) -> None:
    # aiopg uses asyncio.wait_for, which on Python 3.11 ignores a cancellation in the tick of the answer (cpython#86296), and
    # replaces the error of statement_timeout by CancelledError, which ends the task (aiopg#537).
    conn._ready(conn._weakref)
    try:
        await waiter
    except asyncio.CancelledError:
        conn.close()  # the statement still runs on it
        raise
    finally:
        conn._waiter = None


def receive_notifications(conn: aiopg.Connection) -> None:
    """Put the notifications that have come with the rows of a statement into `conn.notifies`."""
    # psycopg2 does not look behind the last result, and aiopg does not ask again before the next event of the socket
    # (psycopg2#1727 is the same fault of commit()).
    conn._ready(conn._weakref)


async def acquire(pool: aiopg.Pool) -> aiopg.Connection:
    """Take a connection from a pool. Raises what psycopg2 raises."""
    try:
        return await pool.acquire()
    except (RuntimeError, AssertionError) as exc:
        # aiopg raises these where the pool is closing, and where the connection was lost in this tick (aiopg#116).
        raise psycopg2.OperationalError(str(exc)) from exc


def release(pool: aiopg.Pool, conn: aiopg.Connection) -> asyncio.Future[None]:
    """Give a connection back to its pool."""
    released: asyncio.Future[None] = pool.release(conn)
    # aiopg wakes no task that waits in acquire() when the connection is closed, though another one may be made in its place;
    # clear() wakes one.
    return asyncio.ensure_future(pool.clear()) if conn.closed else released
