"""What this process knows of the log: its recent events in memory, its bounds, and the way to older events."""

import asyncio
from bisect import bisect_right
from collections import deque
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from aiohttp import web

from ..pg.database import Database
from ..pg.errors import Unavailable
from . import eventlog
from .frames import FramedEvent

START_TIMEOUT = 30.0  # seconds until the feed has to follow the log
RECENT = 1000  # events kept in memory for clients that resume soon
READERS = 4  # concurrent reads of the past from the database; the rest of the pool stays free for requests
READING_TIMEOUT = 2.0  # seconds in which the feed has to come to the end of the log


class Lost(Exception):
    """The log does not hold the events after a position: it is of another epoch, pruned, or beyond the end."""


class Past(NamedTuple):
    """Consecutive events, and the position after them."""

    events: list[FramedEvent]
    position: int


class Log:
    """The log up to `head`. The feed moves it; streams and `watch()` read from it.

    `head`: the last published event. `epoch`: the history that positions count in. `floor`: events at or below it are gone.
    `live`: set while the head follows the end of the log. `moved`: set when the head or the epoch moves, or the feed answers,
    then replaced. `ended`: nothing moves any more. `bell`: set to have the feed read now. `asked`, `answered`: the numbers of
    the requests to read up to the end. `faults`: what keeps changes from the log. `replaying`: held while a stream writes a
    part of the past, so that many of them block nobody. `published`: the number of events since the start. `loop`: that of the
    service, once it starts.
    """

    def __init__(self, db: Database) -> None:
        self.head = self.floor = self.asked = self.answered = self.published = 0
        self.epoch = ""
        self.ended = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.live = asyncio.Event()
        self.moved = asyncio.Event()
        self.bell = asyncio.Event()
        self.faults: list[str] = []
        self.replaying = asyncio.Lock()
        self._db = db
        self._former: dict[str, int] = {}  # each former epoch and its last valid position
        self._readers = asyncio.Semaphore(READERS)
        self._recent: deque[FramedEvent] = deque(maxlen=RECENT)
        self._recent_after = 0  # every event above this id is in memory

    def append(self, events: list[FramedEvent]) -> None:
        """Keep the next events in memory and move the head to the last of them."""
        for event in events:
            if len(self._recent) == RECENT:  # the deque drops its oldest event
                self._recent_after = self._recent[0].id
            self._recent.append(event)
        self.published += len(events)
        self._move(events[-1].id)

    def adopt(self, epoch: str, former: dict[str, int]) -> bool:
        """Adopt another epoch. Return whether the head is a valid position in it."""
        valid = self.head <= former.get(self.epoch, -1)
        self.epoch, self._former = epoch, former
        self._move(self.head)
        return valid

    def restart(self, head: int) -> None:
        """Drop the events in memory and go on from another head."""
        self._recent.clear()
        self._recent_after = head
        self._move(head)

    def _move(self, head: int) -> None:
        self.head = head
        self.moved.set()
        self.moved = asyncio.Event()

    async def started(self) -> None:
        """Wait until the log has an epoch, or has ended. Raise RuntimeError if the service does not start in time, and at once
        in the event loop of another thread, where those who wait in this one would be woken wrongly."""
        if self.loop not in (None, asyncio.get_running_loop()):
            raise RuntimeError(
                "watch() and snapshot() belong to the event loop of the service: in another thread, use "
                "asyncio.run_coroutine_threadsafe()"
            )
        try:
            async with asyncio.timeout(None if self.epoch else START_TIMEOUT):
                while not (self.epoch or self.ended):
                    await self.moved.wait()
        except TimeoutError:
            raise RuntimeError(
                "the inventory has not started: what its host awaits before it starts cannot wait for it. "
                "Use a task, or an on_startup that is appended after add_subapp()"
            ) from None

    def end(self) -> None:
        """End every iteration of `watch()`."""
        self.ended = True
        self._move(self.head)

    def verify_head(self, rows: list[eventlog.LogEntry]) -> bool:
        """Return whether the rows begin with the head, in the words in which it was published. After a start or a reset, which
        publish nothing, the first row becomes these words."""
        if not rows or rows[0].id != self.head:
            return False
        event = FramedEvent(rows[0])
        if not self._recent:
            self._recent.append(event)
            self._recent_after = self.head - 1
        return event.payload == self._recent[-1].payload

    async def check(self, position: int, epoch: str | None) -> None:
        """Raise Lost if a stream cannot resume after `position` of `epoch` (None: the current one), or Unavailable."""
        asked = self.epoch if epoch is None else epoch
        if asked not in self._former and (asked != self.epoch or position > self.head):
            await self.reached(self.ask())  # another instance may be ahead of this one
            asked = self.epoch if epoch is None else epoch
        last = self.head if asked == self.epoch else self._former.get(asked, -1)
        if not self.floor <= position <= last:
            raise Lost(f"the log does not hold the events after {position}")

    def ask(self) -> int:
        """Have the feed read the log to its present end. Return the number of this request for `reached`."""
        self.asked += 1
        self.bell.set()
        return self.asked

    async def reached(self, number: int) -> None:
        """Wait until the feed has answered the request; one look answers all that came before it. Raise Unavailable."""
        try:
            async with asyncio.timeout(READING_TIMEOUT):
                while self.answered < number:
                    await self.moved.wait()
        except TimeoutError:
            raise Unavailable("the feed has not come to the end of the log in time") from None

    def answer(self, number: int) -> None:
        """Take note that the feed has read all that was committed before the request."""
        self.answered = number
        self._move(self.head)

    def remembers(self, position: int) -> bool:
        """Return whether every event after the position is in memory."""
        return position >= self._recent_after

    def recent(self, position: int, limit: int) -> Past | None:
        """Return at most `limit` events after the position from memory, or None if memory no longer reaches back to it."""
        if not self.remembers(position):
            return None
        start = bisect_right(self._recent, position, key=attrgetter("id"))
        return _past(list(islice(self._recent, start, start + limit)), limit, max(self.head, position))

    async def past(self, position: int, limit: int) -> Past:
        """Return at most `limit` events after the position from the database. There are none if an epoch began meanwhile; the
        caller asks again. Raise Lost if the events are pruned, or Unavailable."""
        head, epoch = self.head, self.epoch
        async with self._readers:
            rows = await eventlog.list_events(self._db, after=position, head=head, limit=limit)
            # After the rows: later pruning does not concern them.
            now, floor = await eventlog.get_floor(self._db)
        if now != epoch:
            if now != self.epoch:
                await self.reached(self.ask())
            return Past([], position)
        if floor > position:
            raise Lost(f"the log does not hold the events after {position}")
        return _past([FramedEvent(event) for event in rows], limit, max(head, position))


def _past(events: list[FramedEvent], limit: int, head: int) -> Past:
    return Past(events, events[-1].id if len(events) == limit else head)


LOG = web.AppKey("LOG", Log)
