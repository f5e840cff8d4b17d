"""The event stream of one client: its subscription filter, and its cursor in the log."""

import asyncio
import logging
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from ..products.models import INT4_MAX
from .feed import Feed
from .frames import EventBatch, FramedEvent, close_frame, message
from .replay import Lost

MAX_RATE = 20  # messages per second and client
MAX_BUFFER = 64 * 1024  # bytes: the high-water mark of a client's write buffer
PAGE = 200  # events per query of a replay
STALL_TIMEOUT = 30.0  # seconds in which a client reads nothing
CLOSE_TIMEOUT = 3.0  # seconds for the closing handshake
LOG_BEGAN_ANEW = 1012  # close code: reconnect and load the list

log = logging.getLogger(__name__)


def abort(transport: asyncio.Transport) -> None:
    """Aborts a connection if its peer has not read everything."""
    if transport.get_write_buffer_size():  # else it may be closed already, and then must not be aborted
        transport.abort()


class Room(BaseModel):
    """A subscription filter: the events that a client wants. None matches everything."""

    productos: frozenset[Annotated[int, Field(ge=1, le=INT4_MAX)]] | None = None
    eventos: frozenset[Literal["PRODUCT_CREATED", "PRODUCT_UPDATED", "PRODUCT_DELETED"]] | None = None

    def wants(self, event: FramedEvent) -> bool:
        """Whether the event matches the filter."""
        return (self.productos is None or event.product_id in self.productos) and (
            self.eventos is None or event.type in self.eventos
        )


EVERYTHING = Room()


class Stream:
    """One client and its cursor: the client has been sent every matching event up to the cursor, and none above it.

    A stream is live (its cursor is the feed's head) or behind. A live stream is sent each event when it is published,
    without waiting. A stream is behind if its client resumes from an earlier position or reads too slowly. It then reads
    events from the log whenever its write buffer drains, until its cursor is the head. No event is queued for it.
    """

    def __init__(
        self, request: web.Request, ws: web.WebSocketResponse, transport: asyncio.Transport, feed: Feed, room: Room
    ) -> None:
        self.request = request
        self.ws = ws
        self.transport = transport
        self.cursor = feed.head
        self.room = room
        self._frame = "deflated" if ws.compress else "plain"
        self._feed = feed
        self._catching_up: asyncio.Task[None] | None = None
        self._second = 0.0
        self._messages = 0

    def send(self, data: bytes) -> None:
        """Writes whole frames without waiting."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pong(self) -> bytes:
        """The frame with the client's position."""
        return message("PONG", last_event_id=self.cursor, epoch=self._feed.epoch)

    def publish(self, piece: EventBatch) -> None:
        """Sends the events if the stream is live; if the client reads too slowly, the stream falls behind."""
        if self._catching_up:
            return
        if self.transport.get_write_buffer_size() > MAX_BUFFER:
            self.catch_up()
        elif self.room is EVERYTHING and self.cursor < piece.events[0].id:
            self.send(getattr(piece, self._frame))
            self.cursor = piece.events[-1].id
        elif not self._write(piece.events):
            self.catch_up()

    def catch_up(self) -> None:
        """Marks the stream as behind and starts its replay."""
        self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            # There is no await between the comparison that ends this loop and `_catching_up = None`, so no event is skipped.
            while await self._drained() and self.cursor < self._feed.head:
                in_memory = self._feed.remembers(self.cursor)
                page = None if in_memory else await self._feed.past(self.cursor, PAGE)
                async with self._feed.replay_lock:
                    # Read from memory after the wait for the lock: events may have been published meanwhile.
                    page = page or self._feed.recent(self.cursor, PAGE)
                    if page and self._write(page.events):
                        self.cursor = page.position
                    await asyncio.sleep(0)
            self._catching_up = None
        except Lost:
            self.close(LOG_BEGAN_ANEW)
        except Exception:
            self.transport.abort()  # the client reconnects and resumes from its own position
            log.exception("a replay failed")

    def _write(self, events: list[FramedEvent]) -> bool:
        """Writes the matching events above the cursor, up to the high-water mark, and advances the cursor. Returns whether
        all events are written."""
        frames, size = [], 0
        for event in events:
            if size > MAX_BUFFER:
                break
            if event.id > self.cursor:
                if self.room.wants(event):
                    frames.append(getattr(event, self._frame))
                    size += len(frames[-1])
                self.cursor = event.id
        self.send(b"".join(frames))
        return not events or self.cursor >= events[-1].id

    async def _drained(self) -> bool:
        """Waits until the client has read most of its buffer. Returns False if it disconnected or was cut off."""
        loop, pause = asyncio.get_running_loop(), 0.01
        least, since = self.transport.get_write_buffer_size(), loop.time()
        while (size := self.transport.get_write_buffer_size()) > MAX_BUFFER // 2:
            if size < least:
                least, since, pause = size, loop.time(), 0.01
            elif loop.time() - since > STALL_TIMEOUT:
                self.transport.abort()
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)
        return not self.transport.is_closing()

    def close(self, code: int) -> None:
        """Sends a close frame and closes the connection; aborts it if the client does not react in time."""
        self.send(close_frame(code))
        self.transport.close()  # waits for the buffer, which a peer that does not read never drains
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, abort, self.transport)

    def flooding(self, now: float) -> bool:
        """Counts a message of the client and returns whether the rate limit is exceeded. `now`: seconds."""
        if now - self._second >= 1:
            self._second, self._messages = now, 0
        self._messages += 1
        return self._messages > MAX_RATE
