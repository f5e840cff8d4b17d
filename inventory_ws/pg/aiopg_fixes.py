"""Corrections of faults in aiopg 1.4.0, its last release. No other module uses aiopg's private names."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import ReferenceType

import aiopg
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

Params = Mapping[str, object]
Row = tuple[Any, ...]

CONNECTING = 20  # the status of a psycopg2 connection that is being established; psycopg2 exports no name for it


def _in_the_servers_words(exc: UnicodeDecodeError) -> psycopg2.OperationalError:
    """Return why there is no connection. Before it knows the encoding of its client, a server writes in that of its system, as one
    on Windows in Spanish does, and psycopg2 raises an error of its own (psycopg2#442)."""
    return psycopg2.OperationalError(exc.object.decode("cp1252", "replace"))


class FixedConnection(aiopg.Connection):
    """A connection of aiopg with corrected `_ready` (the callback of the event loop), `_close` and `_poll`.

    Awaiting it connects. It runs one statement at a time, each in a transaction of its own (autocommit).
    """

    def __init__(self, dsn: str) -> None:
        # What aiopg enables by default would cost queries. `_poll` ignores the timeout.
        super().__init__(dsn, timeout=0, enable_json=False, enable_hstore=False, enable_uuid=False)
        # Called, maybe several times, when the server's machine has taken the connection.
        self.when_reached: Callable[[], None] = lambda: None

    @staticmethod
    def _ready(weak_self: ReferenceType[Any]) -> None:
        if (self := weak_self()) is None:
            return
        conn, waiter = self._conn, self._waiter
        # While connecting, libpq may replace its socket, for the next address or to continue without SSL. aiopg keeps watching
        # the old one: the connection hangs, or gets the events of another connection (aiopg#275, #837, #909).
        if conn.status == CONNECTING:
            self._forget_socket()
        try:
            state = conn.poll()
            while conn.notifies:
                self._notifies.put_nowait(conn.notifies.pop(0))
        except (psycopg2.Error, UnicodeDecodeError) as exc:
            error = _in_the_servers_words(exc) if isinstance(exc, UnicodeDecodeError) else exc
            # aiopg calls select() here, which fails for file descriptors from 1024 on: the statement never ends (aiopg#668).
            if waiter and not waiter.done():
                waiter.set_exception(error)
            if conn.closed or not waiter:  # aiopg ends the notifications also for the error of a statement
                self._notifies_proxy.close(error)
            if conn.closed:
                self.close()
        else:
            if self._fileno is None and not conn.closed:
                self._fileno = conn.fileno()
                self._loop.add_reader(self._fileno, self._ready, weak_self)
            if state == POLL_READ and conn.status == CONNECTING:
                self.when_reached()
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
        # aiopg keeps the file descriptor: a second close() removes the callback of another connection that has got it since.
        self._forget_socket()
        super()._close()

    async def _poll(self, waiter: asyncio.Future[None], _: float) -> None:
        # aiopg uses asyncio.wait_for, which on Python 3.11 ignores a cancellation in the tick of the answer (cpython#86296). It
        # also raises CancelledError, which ends the task, instead of the error of statement_timeout (aiopg#537).
        self._ready(self._weakref)
        try:
            await waiter
        except asyncio.CancelledError:
            self.close()  # the statement still runs on it
            raise
        finally:
            self._waiter = None

    async def execute(self, sql: str, params: Params | None = None) -> list[Row]:
        """Run SQL, which may be a script, and return the rows of its last statement. Raise what psycopg2 raises.

        It replaces `cursor()`, `Cursor.execute` and `fetchall`, whose wrappers cost 5 % of a GET and of a POST.
        """
        cursor = self._conn.cursor()
        waiter = self._create_waiter("execute")
        try:
            cursor.execute(sql, params)
            await self._poll(waiter, 0)
        finally:
            self._waiter = None
            if self.closed:
                self.close()
        return cursor.fetchall() if cursor.description else []

    def mogrified(self, sql: str, params: Params) -> str:
        """Return the statement with its parameters in it."""
        return str(self._conn.cursor().mogrify(sql, params), "utf-8")

    def receive_notifications(self) -> None:
        """Put the notifications that have come with the rows or the error of a statement into `notifies`."""
        # psycopg2 stops reading at the last result, and aiopg does not poll again before the next event of the socket
        # (psycopg2#1727 is the same fault of commit()).
        self._ready(self._weakref)
