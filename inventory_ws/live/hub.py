"""The owner of everything that lives while the service runs: the feed, the open sockets, their replays, and other tasks."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

from aiohttp import WSCloseCode, web

from ..pg.database import Database
from ..pg.errors import Unavailable
from .feed import Feed
from .frames import EventBatch
from .log import START_TIMEOUT, Log, Lost
from .stream import Stream

FANOUT_BATCH = 50  # sockets written to before the event loop runs other tasks
HANDSHAKES = 32  # at most in one loop iteration
CLOSE_GRACE = 1.0  # seconds for a client to answer the close frame
CLOSE_TIMEOUT = 2.0  # seconds after that for it to read what was sent
LOG_BEGAN_ANEW = 1012  # close code: reconnect and load the list

P = ParamSpec("P")
Made = TypeVar("Made")

logger = logging.getLogger(__name__)


class Hub:
    """Owns the tasks and sockets of the service: nothing that it started outlives its `async with`.

    `sockets`: the open ones; a stream is in it until its connection closes. `closing`: further handshakes are refused.
    `handshakes`: acquired until the next loop iteration, so that thousands of reconnects do not block other clients.
    `changes`: how many there were, by kind and outcome. `replays`: how many were begun. `work`: runs from the start to the end,
    each in a task of its own; it must not raise. `file_thread`: reads and writes files, one after the other, because beside
    several threads the event loop would run too rarely.
    """

    def __init__(self, db: Database, *, max_sockets: int, compress: bool) -> None:
        self._db = db
        self.log = Log(db)
        self.feed = Feed(db, self.log, self.publish, self.renew, self.reset)
        self.sockets = WeakSet[Stream]()
        self.max_sockets = max_sockets
        self.compress = compress
        self.closing = False
        self.changes = Counter[tuple[str, str]]()
        self.replays = 0
        self.handshakes = asyncio.Semaphore(HANDSHAKES)
        self.work: list[Callable[[], Coroutine[Any, Any, None]]] = [self.feed.run]
        self.file_thread = ThreadPoolExecutor(1)
        self._leaving: dict[Stream, asyncio.TimerHandle] = {}

    @property
    def behind(self) -> int:
        return sum(stream.behind for stream in self.sockets)

    @property
    def ended(self) -> bool:
        return self._owner.done()

    async def __aenter__(self) -> None:
        """Start, and wait until the feed is live. Raise Unavailable, also if a commit hides the end of the log for too long."""
        self.log.loop = asyncio.get_running_loop()
        self._owner = asyncio.create_task(self._own())
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self.log.live.wait()
        except BaseException as exc:
            await self.__aexit__()
            if isinstance(exc, TimeoutError):
                raise Unavailable(self.feed.reason) from None
            raise

    async def __aexit__(self, *_: object) -> None:
        self.close()
        self.file_thread.shutdown(wait=False, cancel_futures=True)
        self._owner.cancel()
        try:
            await asyncio.wait([self._owner])
        finally:
            for stream in list(self._leaving):
                self._abort(stream)

    async def _own(self) -> None:
        # A task of its own, because a TaskGroup has to be entered and left in one task; aiohttp may start and end in two.
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for work in self.work:
                    self._tasks.create_task(work())
        except Exception:
            logger.exception("a task has failed: no change is sent any more, and no socket stays open")
        finally:
            self.close()

    def close(self) -> None:
        """Refuse further sockets, close all with 1001, which tells clients to reconnect, and end `watch()`."""
        self.closing = True
        self.log.end()
        for stream in list(self.sockets):
            self.disconnect(stream, WSCloseCode.GOING_AWAY)

    async def shut_down(self, _: web.Application) -> None:
        """Close all sockets as `close` does, and wait until their clients have answered, or have not in time."""
        self.close()
        with suppress(AttributeError):
            for stream in self.sockets:
                stream.request.protocol._close = False  # private in aiohttp 3.14, which reads nothing in a shutdown
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE):
                while self.sockets:
                    await asyncio.sleep(0.01)

    async def change(
        self, change: Callable[Concatenate[Any, P], Awaitable[Made]], *args: P.args, **kwargs: P.kwargs
    ) -> Made:
        """Run a change of the database, and wake the feed unless the change was refused (None, or an exception). A change
        that is cancelled or gets no answer in time may have been committed: it wakes the feed too."""
        outcome = "refused"
        try:
            made = await change(self._db, *args, **kwargs)
        except (Unavailable, asyncio.CancelledError):
            self.feed.ring()
            outcome = "unknown"
            raise
        else:
            if made is not None:
                self.feed.ring()
                outcome = "repeated" if getattr(made, "replayed", False) else "made"
            return made
        finally:
            self.changes[change.__name__, outcome] += 1  # the names are labels of a metric

    def join(self, stream: Stream) -> None:
        """Add an open socket, which is sent all events above its cursor from now on."""
        self.sockets.add(stream)
        if self.closing or len(self.sockets) > self.max_sockets:  # since the handshake began
            self.disconnect(stream, WSCloseCode.GOING_AWAY)
        elif stream.cursor < self.log.head:
            self._replay(stream)

    def leave(self, stream: Stream) -> None:
        """Remove a socket that has ended: its client has closed it, or has answered the close frame, or is gone."""
        self.sockets.discard(stream)
        stream.close(WSCloseCode.OK)
        self._hang_up(stream)

    def disconnect(self, stream: Stream, code: int, reason: str = "") -> None:
        """Send a close frame. The connection ends when it is answered, or has not been in time: a reset would overtake it."""
        stream.close(code, reason)
        if stream not in self._leaving:
            self._leaving[stream] = asyncio.get_running_loop().call_later(CLOSE_GRACE, self._hang_up, stream)

    def _hang_up(self, stream: Stream) -> None:
        """Close the connection; abort it if its client does not read everything in time, or has vanished."""
        if not stream.transport.is_closing():  # asyncio's TLS transport breaks at a second close()
            stream.transport.close()  # waits for the buffer
        if timer := self._leaving.pop(stream, None):
            timer.cancel()
        self._leaving[stream] = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._abort, stream)

    def _abort(self, stream: Stream) -> None:
        self._leaving.pop(stream).cancel()
        with suppress(AttributeError):  # TLS, closed a second time by aiohttp: it has no buffer any more
            if stream.transport.get_write_buffer_size():  # else it may be closed already, and then must not be aborted
                stream.transport.abort()

    async def beat(self) -> None:
        """Ping the sockets that have been quiet, and give up those that have not answered."""
        for number, stream in enumerate(list(self.sockets), 1):
            stream.beat()
            if number % FANOUT_BATCH == 0:
                await asyncio.sleep(0)

    async def publish(self, batch: EventBatch) -> None:
        """Send the events to every open socket, without waiting for any of them."""
        for number, stream in enumerate(list(self.sockets), 1):
            try:
                if stream.publish(batch):
                    self._replay(stream)
            except Exception:  # of one transport: the others are sent the events all the same
                stream.transport.abort()
                logger.exception("an event could not be sent")
            if number % FANOUT_BATCH == 0:
                await asyncio.sleep(0)

    async def renew(self) -> None:
        """Send every open socket its position in the new epoch."""
        for stream in list(self.sockets):
            stream.send(stream.pong())
            await asyncio.sleep(0)

    def reset(self) -> None:
        """Close every socket with 1012: its client loads the list and connects again."""
        for stream in list(self.sockets):
            self.disconnect(stream, LOG_BEGAN_ANEW)

    def _replay(self, stream: Stream) -> None:
        self.replays += 1
        stream.behind = True  # now, and not when the task starts: events may be published before
        self._tasks.create_task(self._run_replay(stream))

    async def _run_replay(self, stream: Stream) -> None:
        try:
            await stream.replay()
        except Lost:
            self.disconnect(stream, LOG_BEGAN_ANEW)
        except Exception:
            stream.transport.abort()  # the client reconnects and resumes from its own position
            logger.exception("a replay failed")


HUB = web.AppKey("HUB", Hub)
SOCKETS = web.AppKey("SOCKETS", WeakSet[Stream])
