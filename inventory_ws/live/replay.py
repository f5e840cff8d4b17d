"""Returns the events after a position: recent ones from memory, older ones from the log."""

import asyncio
from bisect import bisect_right
from collections import deque
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from ..pg.database import Database
from ..pg.errors import Unavailable
from . import eventlog
from .frames import FramedEvent

RECENT = 1000  # events kept in memory for clients that resume soon
READERS = 4  # concurrent replays from the database; the rest of the pool (POOL_SIZE) stays free for requests
POLL = 2.0  # seconds between reads of the log without a notification: the delay of an event if its notification is lost


class Lost(Exception):
    """The log does not hold the events after a position: it is of another epoch, pruned, or beyond the end."""


class ReplayPage(NamedTuple):
    """Consecutive events, and the position after them."""

    events: list[FramedEvent]
    position: int


def _page(events: list[FramedEvent], limit: int, head: int) -> ReplayPage:
    return ReplayPage(events, events[-1].id if len(events) == limit else head)


class Replay:
    """Serves past events to clients that resume. All events up to `head` are known."""

    def __init__(self, db: Database) -> None:
        self.head = 0  # the last published event
        self.head_moved = asyncio.Event()  # is set when the head moves, and then replaced by a new asyncio.Event
        self.epoch = ""
        self.floor = 0  # events at or below it are gone from the log, as of the last read
        self.live = asyncio.Event()  # set while the head follows the end of the log
        self.replay_lock = asyncio.Lock()  # one replay writes per loop iteration, so that many of them block nobody
        self._db = db
        self._bell = asyncio.Event()  # set to have the log read now
        self._former: dict[str, int] = {}  # each former epoch and its last valid position
        self._readers = asyncio.Semaphore(READERS)
        self._recent: deque[FramedEvent] = deque(maxlen=RECENT)
        self._recent_after = 0  # every event above this id is in memory

    def remember(self, events: list[FramedEvent]) -> None:
        """Keeps the next events in memory and moves the head to the last of them."""
        for event in events:
            if len(self._recent) == RECENT:  # the deque drops its oldest event
                self._recent_after = self._recent[0].id
            self._recent.append(event)
        self._move(events[-1].id)

    def forget(self, head: int) -> None:
        """Drops the events in memory and restarts at another head."""
        self._recent.clear()
        self._recent_after = head
        self._move(head)

    def _move(self, head: int) -> None:
        self.head = head
        self.head_moved.set()
        self.head_moved = asyncio.Event()

    async def check(self, position: int, epoch: str | None) -> None:
        """Raises Lost if a stream cannot resume after `position` of `epoch` (None: the current one), or Unavailable."""
        asked = self.epoch if epoch is None else epoch
        if asked in self._former:
            last = self._former[asked]
        elif asked == self.epoch and position <= self.head:
            last = self.head
        else:  # another instance may be ahead of this one, so the database decides
            bounds = await eventlog.get_log(self._db)
            if bounds.epoch != self.epoch:
                await self._renewed()
                await self.check(position, epoch)
                return
            last = (bounds.limit or 0) if asked == self.epoch else -1
        if not self.floor <= position <= last:
            raise Lost

    async def _renewed(self) -> None:
        """Waits until the feed has adopted the epoch of the database. Raises Unavailable."""
        before = self.epoch
        self._bell.set()
        try:
            async with asyncio.timeout(POLL):
                while self.epoch == before:
                    await self.head_moved.wait()
        except TimeoutError:
            raise Unavailable("the feed has not adopted the new epoch in time") from None

    def remembers(self, position: int) -> bool:
        """Whether every event after the position is in memory."""
        return position >= self._recent_after

    def recent(self, position: int, limit: int) -> ReplayPage | None:
        """Return the page after the position from memory, or None if memory no longer reaches back to it."""
        if not self.remembers(position):
            return None
        start = bisect_right(self._recent, position, key=attrgetter("id"))
        return _page(list(islice(self._recent, start, start + limit)), limit, max(self.head, position))

    async def past(self, position: int, limit: int) -> ReplayPage:
        """Return the page after the position from the log. It is empty if an epoch began meanwhile; the caller asks again.
        Raises Lost if the events are pruned, or Unavailable."""
        head, epoch = self.head, self.epoch
        async with self._readers:
            rows = await eventlog.list_events(self._db, after=position, head=head, limit=limit)
            found = await eventlog.get_log(self._db, limit=False)  # after the rows: later pruning does not concern them
        if found.epoch != epoch:
            if found.epoch != self.epoch:
                await self._renewed()
            return ReplayPage([], position)
        if found.floor > position:
            raise Lost
        return _page([FramedEvent(event) for event in rows], limit, max(head, position))
