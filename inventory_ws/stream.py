"""One client's stream: its room, and its cursor in the log."""

import asyncio
import logging
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from .feed import Feed, Lost
from .frames import EventBatch, FramedEvent, close_frame, message
from .product import INT4_MAX

MAX_RATE = 20  # messages of a client in a second
MAX_BUFFER = 64 * 1024  # bytes that may wait for a client before it counts as behind
PAGE = 200  # events looked for at once for a client that is behind
STALL_TIMEOUT = 30.0  # seconds without a byte taken
CLOSE_TIMEOUT = 3.0  # seconds for a client to take its leave
LOG_BEGAN_ANEW = 1012  # a close code: come back, and load the list

log = logging.getLogger(__name__)


def abort(transport: asyncio.Transport) -> None:
    """Ends a connection whose peer does not take what is waiting for it."""
    if transport.get_write_buffer_size():  # one that has closed by itself can't be aborted any more
        transport.abort()


class Room(BaseModel):
    """Which events a client wants; what is None is not asked about."""

    productos: frozenset[Annotated[int, Field(ge=1, le=INT4_MAX)]] | None = None
    eventos: frozenset[Literal["PRODUCT_CREATED", "PRODUCT_UPDATED", "PRODUCT_DELETED"]] | None = None

    def wants(self, event: FramedEvent) -> bool:
        """Whether the event belongs into the room."""
        return (self.productos is None or event.product_id in self.productos) and (
            self.eventos is None or event.type in self.eventos
        )


EVERYTHING = Room()


class Stream:
    """One client, and its cursor in the log: it has been sent what it wants at or below, and nothing above.

    A stream is live (no event lies between its cursor and the feed's head) or behind. A live one is sent each event
    as it is published, so many streams at a turn of the loop, without waiting. One that asks for the past is
    behind, and so is one whose client reads too slowly: it is fed from the log as its buffer drains, until its cursor
    is at the head. Nobody waits for it and nothing is queued for it.
    """

    __slots__ = (
        "__weakref__",
        "_catching_up",
        "_feed",
        "_frame",
        "_messages",
        "_second",
        "cursor",
        "request",
        "room",
        "transport",
        "ws",
    )

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
        """Writes whole frames, without waiting."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pong(self) -> bytes:
        """The frame that tells the client where it stands."""
        return message("PONG", last_event_id=self.cursor, epoch=self._feed.epoch)

    def publish(self, piece: EventBatch) -> None:
        """Sends the events if the stream is live and its client keeps up."""
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
        """From now on the stream is behind, until its cursor is the head."""
        self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            # Between the look at the head and the end of this task there is no await: no event falls in between.
            while await self._drained() and self.cursor < self._feed.head:
                known = self._feed.remembers(self.cursor)
                page = None if known else await self._feed.past(self.cursor, PAGE)
                async with self._feed.replay_lock:
                    page = page or self._feed.recent(self.cursor, PAGE)
                    if page and self._write(page[0]):
                        self.cursor = page[1]
                    await asyncio.sleep(0)
            self._catching_up = None
        except Lost:
            self.close(LOG_BEGAN_ANEW)
        except Exception:
            self.transport.abort()  # it would go on with a gap; the client comes back to where it was
            log.exception("a replay failed")

    def _write(self, events: list[FramedEvent]) -> bool:
        """Writes what it wants of the events above its cursor, in one piece; whether all fitted that may wait."""
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
        """Waits until the client has taken what was written. False when it is gone, or cut off for taking nothing."""
        loop, pause = asyncio.get_running_loop(), 0.01
        least, since = self.transport.get_write_buffer_size(), loop.time()
        while (size := self.transport.get_write_buffer_size()) > MAX_BUFFER // 2:
            if size < least:
                least, since, pause = size, loop.time(), 0.01
            elif loop.time() - since > STALL_TIMEOUT:
                self.transport.abort()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)
        return not self.transport.is_closing()

    def close(self, code: int) -> None:
        """Says goodbye and ends the connection, by force when the client does not hear it in time."""
        self.send(close_frame(code))
        self.transport.close()  # when the buffer is written, which a peer that does not read can put off for ever
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, abort, self.transport)

    def flooding(self, now: float) -> bool:
        """Counts a message of the client; `now` in seconds."""
        if now - self._second >= 1:
            self._second, self._messages = now, 0
        self._messages += 1
        return self._messages > MAX_RATE
