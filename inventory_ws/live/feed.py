"""The feed: it reads the log in order and publishes each event."""

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..pg.connection import Connection
from ..pg.database import Database
from ..pg.errors import Rejected, Unavailable
from . import eventlog
from .eventlog import LogEntry
from .frames import EventBatch, batches
from .log import Log

CHANNEL = "inventory_ws"
POLL = 2.0  # seconds between reads of the log without a notification: the delay of an event if its notification is lost
READ_BATCH = 100  # events per query: 100 of the largest arrive within STATEMENT_TIMEOUT on a slow link to PostgreSQL
GAP_RETRIES = 5  # reads at a gap in the ids before the feed asks for the end of the log, which blocks writers
GAP_PAUSE = 0.002  # seconds between these reads; most commits take less
READ_INTERVAL = 0.004  # seconds between reads under load: reading several events at once is cheaper
BUSY_PAUSE = 0.05  # seconds between attempts while a commit hides the end of the log
# The upper bounds of the classes in which delays are counted, in seconds.
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BUSY_TIMEOUT = 10.0  # seconds of failed attempts before the feed counts as down

logger = logging.getLogger(__name__)


class Feed:
    """Follows the end of the log and publishes every event. After a change of the epoch, it renews the positions of the sockets, or
    resets the sockets if theirs are not valid any more.

    `losses`: how often it has lost PostgreSQL. `delays`: how many readings after changes of this process took up to each of DELAYS,
    from PostgreSQL's answer to the first COMMIT to the last event's way into the sockets; `delay_sum`: all of them, in seconds.
    """

    def __init__(
        self,
        db: Database,
        log: Log,
        publish: Callable[[EventBatch], Awaitable[None]],
        renew: Callable[[], Awaitable[None]],
        reset: Callable[[], None],
    ) -> None:
        self._db = db
        self._log = log
        self._publish, self._renew, self._reset = publish, renew, reset
        self._own_change = False
        self._changed_at = 0.0  # when the oldest change since the reading under way began was made
        self._due = 0.0  # when the oldest change that this reading answers was made
        self._table = 0  # the oid of `productos`
        self._asked = 0  # requests that the reading under way answers if it comes to the end
        self.reason = ""  # why the log is not live
        self.losses = 0
        self.delays, self.delay_sum = [0] * (len(DELAYS) + 1), 0.0

    def ring(self) -> None:
        """Wake the feed after a change of this process: it reads the log, then notifies the other instances."""
        self._own_change = True
        self._changed_at = self._changed_at or time.monotonic()
        self._log.ask()

    async def run(self) -> None:
        """Follow the log until cancelled, across failures of PostgreSQL."""
        pause = 0.1
        while True:
            try:
                async with self._db.listen(CHANNEL) as conn:
                    await self._follow(conn)
            except Unavailable as exc:
                self.reason = str(exc)
                logger.warning("the feed lost PostgreSQL and tries again: %s", exc)
            except Exception as exc:
                self.reason = str(exc)
                logger.exception("the feed failed and tries again")
            finally:
                was_live = self._log.live.is_set()
                self._log.live.clear()
                self.losses += was_live
            pause = 0.1 if was_live else min(pause * 2, 1.0)
            await asyncio.sleep(pause)

    async def _follow(self, conn: Connection) -> None:
        loop = asyncio.get_running_loop()
        listener = asyncio.create_task(self._listen(conn))
        complete_at = loop.time()
        woken = False
        try:
            while True:
                before = self._log.head
                if await self._read(conn, woken):
                    complete_at = loop.time()
                    self._log.live.set()
                    if self._log.head > before + 1:
                        await asyncio.sleep(READ_INTERVAL)
                    woken = await self._wait_for_bell()
                else:
                    self.reason = "una transacción a medio confirmar oculta el final del registro"
                    if loop.time() - complete_at > BUSY_TIMEOUT and self._log.live.is_set():
                        logger.warning("a transaction that does not finish its commit holds back all later events")
                        self._log.live.clear()
                    await asyncio.sleep(BUSY_PAUSE)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, conn: Connection) -> None:
        try:
            while True:
                await conn.wait_for_notification()
                self._log.bell.set()
        finally:
            self._log.bell.set()  # wakes the reader, which uses the same connection and finds that it is lost

    async def _wait_for_bell(self) -> bool:
        """Return False if nobody has rung for POLL seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._log.bell.wait()
        return self._log.bell.is_set()

    async def _read(self, conn: Connection, woken: bool) -> bool:
        """Publish what is new. Return False if a commit in progress hides the end of the log."""
        own_change, self._own_change = self._own_change, False
        self._due, self._changed_at = self._due or self._changed_at, 0.0
        self._asked = self._log.asked
        self._log.bell.clear()
        try:
            # A change that woke the feed usually has the next id, and is read without a lock. If not, or after a timeout,
            # PostgreSQL has to tell the end of the log, for which it briefly blocks writers.
            complete = (woken and await self._read_consecutive(conn)) or await self._read_to_end(conn)
            if own_change:
                with suppress(Rejected, Unavailable):  # the queue of NOTIFY is full: the other instances poll
                    await conn.fetch(f"SELECT pg_notify('{CHANNEL}', '')")
        except BaseException:
            self._own_change |= own_change  # the other instances are notified by the next read
            raise
        return complete

    async def _read_to_end(self, conn: Connection) -> bool:
        """Publish all events up to the end of the log. Return False if a commit in progress hides the end."""
        limit, epoch, floor = await eventlog.get_bounds(conn)
        self._log.floor = floor
        if limit is None:
            return False
        if epoch != self._log.epoch:
            former = await eventlog.list_former_epochs(conn)
            table, at_once = await eventlog.get_table(conn)
            replaced = self._table not in (0, table)
            if replaced and at_once is None:  # a dump is half restored
                return False
            if replaced and not at_once and self._log.epoch in former:  # lists loaded meanwhile lack products
                await eventlog.cut_log(conn, epoch)
                return False
            self._table = table
            if self._log.adopt(epoch, former):  # and go on from the head
                await self._renew()
            else:
                self._log.restart(limit)
                self._reset()
        more = True
        while more:
            news, more = await self._read_news(conn, limit)
            if news is None:  # the head is gone, or is another event: this is another history
                await eventlog.cut_log(conn, epoch, self._log.head)
                return False
            await self._publish_all(news)
        self._answer()
        return True

    def _answer(self) -> None:
        if self._due:
            self.delays[bisect_left(DELAYS, delay := time.monotonic() - self._due)] += 1
            self.delay_sum += delay
            self._due = 0.0
        self._log.answer(self._asked)

    async def _read_consecutive(self, conn: Connection) -> bool:
        """Publish the events whose ids follow the head without a gap. Ids are drawn one by one, so no event is missing
        among them, and no writer has to wait. Return False if there are none."""
        for _ in range(GAP_RETRIES):
            news, more = await self._read_news(conn)
            if news is None:
                return False
            consecutive = [event for number, event in enumerate(news, self._log.head + 1) if event.id == number]
            await self._publish_all(consecutive)
            if consecutive:
                if more or len(consecutive) < len(news):
                    self._log.bell.set()
                else:
                    self._answer()
                return True
            await asyncio.sleep(GAP_PAUSE)
        return False

    async def _read_news(self, conn: Connection, limit: int = 2**63 - 1) -> tuple[list[LogEntry] | None, bool]:
        """Read events after the head, up to `limit`. Return them, and whether more follow; None if the log is another one.

        To find out, the head itself is read again, as the first row. It has to be unchanged, unless it was pruned.
        """
        log = self._log
        epoch, floor, rows = await eventlog.list_next_events(conn, log.head - 1, limit, READ_BATCH + 1)
        if rows and epoch != log.epoch:
            return None, False
        log.floor = max(floor, log.floor)
        if log.head > log.floor and not log.verify_head(rows):
            return None, False
        return [row for row in rows if row.id > log.head], len(rows) > READ_BATCH

    async def _publish_all(self, rows: list[LogEntry]) -> None:
        for batch in batches(rows, self._log.head):
            self._log.append(batch.events)
            # A stream that opens meanwhile does not need these events: it starts at the new head.
            await self._publish(batch)
            await asyncio.sleep(0)
