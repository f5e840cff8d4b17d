"""Reads the log in its order and hands each event to the sockets: the broadcast of the guide."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from aiohttp import web

from . import repository
from .database import Database, Listener, Unavailable
from .product import EventPage
from .repository import Event

CHANNEL = "inventory_ws"
BATCH = 500  # events
REPLAYS = 4  # readers of the past at once, so that many who come back leave the pool to the others
POLL = 2.0  # seconds: what a lost bell costs
BUSY_PAUSE = 0.05  # seconds, behind a commit that does not let the reader know where the log ends
START_LIMIT = 30.0  # seconds

log = logging.getLogger(__name__)


class Feed:
    """A cursor that follows the end of the log. Everything at or below `head` is visible for good."""

    def __init__(self, db: Database, publish: Callable[[Event], None], reset: Callable[[], None]) -> None:
        """`publish` gets each event once and in order; `reset` says that what came before means nothing any more."""
        self.head = 0
        self.epoch = ""
        self.following = asyncio.Event()
        self._db = db
        self._publish = publish
        self._reset = reset
        self._bell = asyncio.Event()
        self._own = False
        self._replays = asyncio.Semaphore(REPLAYS)

    def ring(self) -> None:
        """Something of ours was committed: read now, and tell the other instances afterwards."""
        self._own = True
        self._bell.set()

    async def __aenter__(self) -> Self:
        """Finds the end of the log and follows it. Raises Unavailable, also where a commit hides the end for long."""
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(START_LIMIT):
                await self.following.wait()
        except TimeoutError:
            await self.__aexit__()
            raise Unavailable("the end of the log is not to be had") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        # More than once: aiopg waits by asyncio.wait_for, which on Python 3.11 can swallow a cancellation.
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    async def after(self, cursor: int, limit: int) -> tuple[list[Event], int]:
        """At most `limit` events above the cursor, and the head up to which they were looked for. Raises Unavailable."""
        head = self.head
        async with self._replays:
            return await repository.list_events(self._db, EventPage(after=cursor, limit=limit), head), head

    async def _run(self) -> None:
        pause = 0.1
        while True:
            try:
                async with self._db.listen(CHANNEL) as listener:
                    pause = 0.1
                    await self._follow(listener)
            except Unavailable as exc:
                log.warning("the feed lost PostgreSQL and tries again in %.1f s: %s", pause, exc)
            except Exception:
                log.exception("the feed failed and tries again in %.1f s", pause)
            finally:
                self.following.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _follow(self, listener: Listener) -> None:
        ear = asyncio.create_task(self._hear(listener))
        try:
            while True:
                own, self._own = self._own, False
                self._bell.clear()
                caught_up = await self._read(listener)
                if own:
                    await listener.fetch(f"NOTIFY {CHANNEL}")
                if ear.done():
                    await ear
                if not caught_up:  # whatever rings: while we ask, the other writers wait
                    await asyncio.sleep(BUSY_PAUSE)
                    continue
                self.following.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._bell.wait()
        finally:
            ear.cancel()
            await asyncio.gather(ear, return_exceptions=True)

    async def _hear(self, listener: Listener) -> None:
        try:
            while True:
                await listener.heard()
                self._bell.set()
        finally:
            self._bell.set()  # a deaf connection is found out by the reader

    async def _read(self, listener: Listener) -> bool:
        """Publishes what is new. False where a commit under way hides the end of the log."""
        limit, epoch = await repository.log_limit(listener)
        if limit is None:
            return False
        if epoch != self.epoch or limit < self.head:  # the start, a TRUNCATE, or another database in the place of ours
            self.head, self.epoch = limit, epoch
            self._reset()
        while self.head < limit:
            events = await repository.list_events(listener, EventPage(after=self.head, limit=BATCH), limit)
            for event in events:
                self._publish(event)
                self.head = event.id
            if len(events) < BATCH:
                self.head = limit  # ids above the last event were drawn by transactions that were rolled back
            await asyncio.sleep(0)
        return True


FEED = web.AppKey("FEED", Feed)
