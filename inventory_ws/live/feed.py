"""Reads the log in order and publishes each event to all sockets."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

from aiohttp import web

from ..pg.connection import Connection
from ..pg.database import Database, end
from ..pg.errors import Unavailable
from . import eventlog
from .eventlog import LogEntry
from .frames import EventBatch, FramedEvent, batches
from .replay import POLL, Replay

CHANNEL = "inventory_ws"
READ_BATCH = 100  # events per query: 100 of the largest arrive within STATEMENT_TIMEOUT on a slow link to PostgreSQL
GAP_RETRIES = 5  # reads at a gap in the ids before the feed asks for the end of the log, which blocks writers
GAP_PAUSE = 0.002  # seconds between these reads; most commits take less
READ_INTERVAL = 0.004  # seconds between reads under load: reading several events at once is cheaper
BUSY_PAUSE = 0.05  # seconds between attempts while a commit hides the end of the log
BUSY_TIMEOUT = 10.0  # seconds of failed attempts before the feed counts as down
START_TIMEOUT = 30.0  # seconds

log = logging.getLogger(__name__)


class Feed(Replay):
    """Follows the end of the log and publishes every event. As a Replay, it also serves the clients that resume."""

    def __init__(
        self,
        db: Database,
        publish: Callable[[EventBatch], Iterator[None]],
        renew: Callable[[], Iterator[None]],
        reset: Callable[[], None],
    ) -> None:
        """`publish` receives each event once, in order. `renew` is called when positions continue in a new epoch. Both
        are iterators that yield to the event loop between parts of their work. `reset` is called when the log no longer
        contains the event that was published last."""
        super().__init__(db)
        self._publish = publish
        self._renew = renew
        self._reset = reset
        self._own_change = False
        self._reason = ""  # why it is not live

    def ring(self) -> None:
        """Wakes the feed after this process has committed a change: it reads the log, then notifies the other instances."""
        self._own_change = True
        self._bell.set()

    async def __aenter__(self) -> Self:
        """Finds the end of the log and follows it. Raises Unavailable, also if a commit hides the end for too long."""
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self.live.wait()
        except TimeoutError:
            await self.__aexit__()
            raise Unavailable(self._reason) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._task)

    async def _run(self) -> None:
        pause = 0.1
        while True:
            try:
                async with self._db.listen(CHANNEL) as conn:
                    await self._follow(conn)
            except Unavailable as exc:
                self._reason = str(exc)
                log.warning("the feed lost PostgreSQL and tries again: %s", exc)
            except Exception as exc:
                self._reason = str(exc)
                log.exception("the feed failed and tries again")
            pause = 0.1 if self.live.is_set() else min(pause * 2, 1.0)
            self.live.clear()
            await asyncio.sleep(pause)

    async def _follow(self, conn: Connection) -> None:
        loop = asyncio.get_running_loop()
        listener = asyncio.create_task(self._listen(conn))
        complete_at = loop.time()
        woken = False
        try:
            while True:
                before = self.head
                if await self._read(conn, woken):
                    complete_at = loop.time()
                    self.live.set()
                    if self.head > before + 1:
                        await asyncio.sleep(READ_INTERVAL)
                    woken = await self._wait_for_bell()
                else:
                    self._reason = "una transacción a medio confirmar oculta el final del registro"
                    if loop.time() - complete_at > BUSY_TIMEOUT and self.live.is_set():
                        log.warning("a transaction that does not finish its commit holds back all later events")
                        self.live.clear()
                    await asyncio.sleep(BUSY_PAUSE)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _wait_for_bell(self) -> bool:
        """Returns False if nobody has rung for POLL seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._bell.wait()
        return self._bell.is_set()

    async def _read(self, conn: Connection, woken: bool) -> bool:
        """Publishes what is new. Returns False if a commit in progress hides the end of the log."""
        own_change, self._own_change = self._own_change, False
        self._bell.clear()
        # A change that woke the feed usually has the next id, and is read without a lock. If not, or after a timeout,
        # PostgreSQL has to tell the end of the log, for which it briefly blocks writers.
        complete = (woken and await self._read_consecutive(conn)) or await self._read_to_end(conn)
        if own_change:
            await conn.fetch(f"SELECT pg_notify('{CHANNEL}', '')")
        return complete

    async def _listen(self, conn: Connection) -> None:
        try:
            while True:
                await conn.wait_for_notification()
                self._bell.set()
        finally:
            self._bell.set()  # wakes the reader, which uses the same connection and finds that it is lost

    async def _read_to_end(self, conn: Connection) -> bool:
        """Publishes all events up to the end of the log. Returns False if a commit in progress hides the end."""
        limit, epoch, self.floor = await eventlog.get_log(conn)
        if limit is None:
            return False
        if epoch != self.epoch:
            await self._begin(epoch, limit, await eventlog.list_former_epochs(conn))
        while True:
            rows = await eventlog.list_events(conn, after=self.head - 1, head=limit, limit=READ_BATCH + 1)
            news = self._new_events(rows)
            if news is None:
                await eventlog.cut_log(conn, epoch, self.head)
                return False
            await self._publish_all(news)
            if len(rows) <= READ_BATCH:
                return True

    async def _begin(self, epoch: str, limit: int, former: dict[str, int]) -> None:
        """Adopts the epoch of the database. The feed continues from its head if that position is valid in the new epoch,
        and restarts at `limit` if not."""
        still_valid = self.head <= former.get(self.epoch, -1)
        self.epoch, self._former = epoch, former
        if still_valid:
            self._move(self.head)  # wakes the tasks that wait for the epoch
            for _ in self._renew():
                await asyncio.sleep(0)
        else:
            self.forget(limit)
            self._reset()

    def _new_events(self, rows: list[LogEntry]) -> list[LogEntry] | None:
        """Return the rows after the last published event, or None if the log was replaced. To find out, that event is read
        again, as the first row: it must have the same text, unless it was pruned."""
        if self.head > self.floor:
            last = FramedEvent(rows[0]) if rows else None
            if last is None or last.id != self.head:
                return None
            if not self._recent:
                self._recent.append(last)
                self._recent_after = self.head - 1
            if last.payload != self._recent[-1].payload:
                return None
        return [row for row in rows if row.id > self.head]

    async def _read_consecutive(self, conn: Connection) -> bool:
        """Publishes the events whose ids follow the head without a gap. Ids are drawn one by one, so no event is missing
        among them, and no writer has to wait. Returns False if there are none."""
        for _ in range(GAP_RETRIES):
            epoch, floor, rows = await eventlog.list_next_events(conn, after=self.head - 1, limit=READ_BATCH + 1)
            if epoch not in ("", self.epoch):
                return False
            self.floor = max(floor, self.floor)
            news = self._new_events(rows)
            if news is None:
                return False
            consecutive = [event for number, event in enumerate(news, self.head + 1) if event.id == number]
            await self._publish_all(consecutive)
            if consecutive:
                if len(consecutive) < len(news) or len(rows) > READ_BATCH:
                    self._bell.set()
                return True
            await asyncio.sleep(GAP_PAUSE)
        return False

    async def _publish_all(self, rows: list[LogEntry]) -> None:
        for piece in batches(rows):
            self.remember(piece.events)
            # A stream that opens meanwhile does not need these events: it starts at the new head.
            for _ in self._publish(piece):
                await asyncio.sleep(0)
            await asyncio.sleep(0)


FEED = web.AppKey("FEED", Feed)
