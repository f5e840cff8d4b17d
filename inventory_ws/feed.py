"""Reads the log in its order and hands each event to the sockets: the broadcast of the guide."""

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from operator import attrgetter
from typing import Self

from aiohttp import web

from . import repository
from .database import Connection, Database, Unavailable, end
from .frames import EventBatch, FramedEvent, batches
from .repository import LogEntry

CHANNEL = "inventory_ws"
READ_BATCH = 100  # events read at once: of the largest, some megabytes, which a slow link brings within our time limit
RECENT = 1000  # events kept in memory, for those who come back soon
READERS = 4  # of the past in the database at once, so that many who come back leave the pool to the others
POLL = 2.0  # seconds: what a lost bell costs
GAP_RETRIES = 5  # at a gap in the log, before the end of the log is asked for
GAP_PAUSE = 0.002  # seconds between them: commits under way are through by then
READ_INTERVAL = 0.004  # seconds between reads while many write: a few events at once are cheaper for everybody
BUSY_PAUSE = 0.05  # seconds, behind a commit that does not let the reader know where the log ends
BUSY_TIMEOUT = 10.0  # seconds of that before the feed counts as down
START_TIMEOUT = 30.0  # seconds

log = logging.getLogger(__name__)


class Lost(Exception):
    """The events after a position are not to be had: another epoch, pruned, or beyond the end of the log."""


Page = tuple[list[FramedEvent], int]
"""Events of the log in a row, and the position that is reached with them."""


def _page(events: list[FramedEvent], limit: int, head: int) -> Page:
    return events, events[-1].id if len(events) == limit else head


class Feed:
    """A cursor that follows the end of the log. Everything at or below `head` is visible for good."""

    def __init__(
        self,
        db: Database,
        publish: Callable[[EventBatch], Iterator[None]],
        renew: Callable[[], Iterator[None]],
        reset: Callable[[], None],
    ) -> None:
        """`publish` gets each event once and in order; `renew` says that all goes on in a new epoch (both may have their
        work done in parts), and `reset` that what was published last is not in the log any more."""
        self.head = 0  # the last event that was published
        self.epoch = ""
        self._former: dict[str, int] = {}  # the epochs before, each with the last position of it that counts
        self.live = asyncio.Event()
        self.head_moved = asyncio.Event()  # set, and replaced by a new one, when the head has moved
        self.replay_lock = asyncio.Lock()  # of a stream that is behind: many who come back leave the loop to the others
        self._readers = asyncio.Semaphore(READERS)
        self.floor = 0  # as of the last look: what is at or below is gone from the log
        self._recent: deque[FramedEvent] = deque(maxlen=RECENT)
        self._recent_after = 0  # every event above it is in memory
        self._db = db
        self._publish = publish
        self._renew = renew
        self._reset = reset
        self._bell = asyncio.Event()
        self._own = False

    def ring(self) -> None:
        """Something of ours was committed: read now, and tell the other instances afterwards."""
        self._own = True
        self._bell.set()

    async def __aenter__(self) -> Self:
        """Finds the end of the log and follows it. Raises Unavailable, also where a commit hides the end for long."""
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self.live.wait()
        except TimeoutError:
            await self.__aexit__()
            raise Unavailable("una transacción a medio confirmar oculta el final del registro") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._task)

    async def check(self, position: int, epoch: str | None) -> None:
        """Raises Lost where a stream can't go on after `position` of the epoch (None: this one), and Unavailable."""
        asked = self.epoch if epoch is None else epoch
        limit = self._former.get(asked, self.head)
        if asked not in self._former and (asked != self.epoch or position > self.head):
            # Another instance may have read further than this one: the database knows.
            found = await repository.get_log(self._db)
            if found.epoch != self.epoch:
                await self._renewed()
                await self.check(position, epoch)
                return
            limit = (found.limit or 0) if asked == self.epoch else -1
        if not self.floor <= position <= limit:
            raise Lost

    async def _renewed(self) -> None:
        """Waits until the feed has come to the epoch of the database. Raises Unavailable."""
        before = self.epoch
        self._bell.set()
        try:
            async with asyncio.timeout(POLL):
                while self.epoch == before:
                    await self.head_moved.wait()
        except TimeoutError:
            raise Unavailable("the feed does not come to the new epoch") from None

    def remembers(self, position: int) -> bool:
        """Whether all that came after the position is in memory."""
        return position >= self._recent_after

    def recent(self, position: int, limit: int) -> Page | None:
        """The page after the position from memory; None where it is not there any more."""
        if not self.remembers(position):
            return None
        start = bisect_right(self._recent, position, key=attrgetter("id"))
        return _page(list(islice(self._recent, start, start + limit)), limit, max(self.head, position))

    async def past(self, position: int, limit: int) -> Page:
        """The page after the position from the log, empty where an epoch began meanwhile. Raises Lost where it is gone
        from there, and Unavailable."""
        head, epoch = self.head, self.epoch
        async with self._readers:
            rows = await repository.list_events(self._db, after=position, head=head, limit=limit)
            found = await repository.get_log(self._db, limit=False)  # now: what is pruned later was read
        if found.epoch != epoch:
            if found.epoch != self.epoch:
                await self._renewed()
            return [], position
        if found.floor > position:
            raise Lost
        return _page([FramedEvent(event) for event in rows], limit, max(head, position))

    async def _run(self) -> None:
        pause = 0.1
        while True:
            try:
                async with self._db.listen(CHANNEL) as conn:
                    await self._follow(conn)
            except Unavailable as exc:
                log.warning("the feed lost PostgreSQL and tries again: %s", exc)
            except Exception:
                log.exception("the feed failed and tries again")
            pause = 0.1 if self.live.is_set() else min(pause * 2, 1.0)
            self.live.clear()
            await asyncio.sleep(pause)

    async def _follow(self, conn: Connection) -> None:
        ear = asyncio.create_task(self._hear(conn))
        last_seen = asyncio.get_running_loop().time()
        rung = False
        try:
            while True:
                own, self._own = self._own, False
                self._bell.clear()
                before = self.head
                caught_up = (rung and await self._read_on(conn)) or await self._read(conn)
                if own:
                    await conn.fetch(f"SELECT pg_notify('{CHANNEL}', '')")
                now = asyncio.get_running_loop().time()
                if not caught_up:  # whatever rings: while we ask, the other writers wait
                    if now - last_seen > BUSY_TIMEOUT and self.live.is_set():
                        log.warning("a transaction that does not end its commit keeps every later event back")
                        self.live.clear()
                    await asyncio.sleep(BUSY_PAUSE)
                    continue
                last_seen = now
                self.live.set()
                if self.head > before + 1:
                    await asyncio.sleep(READ_INTERVAL)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._bell.wait()
                rung = self._bell.is_set()
        finally:
            ear.cancel()
            await asyncio.gather(ear, return_exceptions=True)

    async def _hear(self, conn: Connection) -> None:
        try:
            while True:
                await conn.heard()
                self._bell.set()
        finally:
            self._bell.set()  # a deaf connection is found out by the reader

    async def _read(self, conn: Connection) -> bool:
        """Publishes what is new. False where a commit under way hides the end of the log."""
        limit, epoch, self.floor = await repository.get_log(conn)
        if limit is None:
            return False
        if epoch != self.epoch:
            await self._begin(epoch, limit, await repository.list_former_epochs(conn))
        while True:
            rows = await repository.list_events(conn, after=self.head - 1, head=limit, limit=READ_BATCH + 1)
            news = self._after_the_last(rows)
            if news is None:
                await repository.cut_log(conn, epoch, self.head)
                return False
            await self._hand_on(news)
            if len(rows) <= READ_BATCH:
                return True

    async def _begin(self, epoch: str, limit: int, former: dict[str, int]) -> None:
        """Adopts the epoch of the database. The feed goes on from its head where that position counts in it, and starts
        again at `limit` where it does not."""
        counts = self.head <= former.get(self.epoch, -1)
        self.epoch, self._former = epoch, former
        if counts:
            self._move(self.head)  # wakes those who wait for the epoch
            for _ in self._renew():
                await asyncio.sleep(0)
        else:
            self._recent.clear()
            self._recent_after = limit
            self._move(limit)
            self._reset()

    def _after_the_last(self, rows: list[LogEntry]) -> list[LogEntry] | None:
        """The rows after the event that was published last. They have to begin with that event, unless it was pruned;
        None where they do not: the log is another one."""
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

    async def _read_on(self, conn: Connection) -> bool:
        """Publishes the events that follow without a gap: ids are drawn one by one, so that none is missing there and
        no writer has to be kept waiting. False where there are none."""
        for _ in range(GAP_RETRIES):
            epoch, floor, rows = await repository.list_next_events(conn, after=self.head - 1, limit=READ_BATCH + 1)
            if epoch not in ("", self.epoch):
                return False
            self.floor = max(floor, self.floor)
            news = self._after_the_last(rows)
            if news is None:
                return False
            whole = [event for number, event in enumerate(news, self.head + 1) if event.id == number]
            await self._hand_on(whole)
            if whole:
                if len(whole) < len(news) or len(rows) > READ_BATCH:
                    self._bell.set()
                return True
            await asyncio.sleep(GAP_PAUSE)
        return False

    def _move(self, head: int) -> None:
        self.head = head
        self.head_moved.set()
        self.head_moved = asyncio.Event()

    async def _hand_on(self, rows: list[LogEntry]) -> None:
        for piece in batches(rows):
            for event in piece.events:
                if len(self._recent) == RECENT:
                    self._recent_after = self._recent[0].id
                self._recent.append(event)
            self._move(piece.events[-1].id)
            for _ in self._publish(piece):  # who comes in between stands at the head already
                await asyncio.sleep(0)
            await asyncio.sleep(0)


FEED = web.AppKey("FEED", Feed)
