"""The event stream of one client: its subscription, and its cursor in the log."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from ..pg.errors import Unavailable
from .frames import FIN, PING, EventBatch, FramedEvent, close_frame, frame, message_frame
from .log import Log

MAX_RATE = 20  # messages per second and client
MAX_BUFFER = 64 * 1024  # bytes: the high-water mark of a client's write buffer
REPLAY_BATCH = 200  # events per query of a replay
STALL_TIMEOUT = 30.0  # seconds in which a client reads nothing
RETRY_PAUSE = 1.0  # seconds between attempts of a replay that PostgreSQL did not answer
BEATS = 4  # from the last sign of life to a ping; half as many more until the connection is given up


class Subscription(BaseModel):
    """The events that a client wants. None matches everything."""

    productos: frozenset[Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]] | None = None
    eventos: frozenset[Literal["PRODUCT_CREATED", "PRODUCT_UPDATED", "PRODUCT_DELETED"]] | None = None

    def wants(self, event: FramedEvent) -> bool:
        """Return whether the event matches."""
        return (self.productos is None or event.product_id in self.productos) and (
            self.eventos is None or event.type in self.eventos
        )


EVERYTHING = Subscription()


@dataclass(slots=True, weakref_slot=True, eq=False)
class Stream:
    """One client and its cursor: the client has been sent every matching event up to the cursor, and none above it.

    A stream is live (its cursor is the head of the log) or behind. A live stream is sent each event when it is published,
    without waiting. A stream is behind if its client resumes from an earlier position or reads too slowly. It then reads
    events from the log whenever its write buffer drains, until its cursor is the head. No event is queued for it.
    """

    request: web.Request
    ws: web.WebSocketResponse
    transport: asyncio.Transport
    _log: Log
    subscription: Subscription
    cursor: int = field(init=False)
    _form: str = field(init=False)
    behind: bool = False
    silent: int = 0  # beats since the client has sent or read something
    _unread: int = 0
    _ended: bool = False
    _second: float = 0.0
    _messages: int = 0

    def __post_init__(self) -> None:
        self.cursor = self._log.head
        # Frames are deflated with a window of 15 bits, which a client may have refused; plain frames are always allowed.
        self._form = "deflated" if self.ws.compress == 15 else "plain"
        # The kernel would take megabytes for a client that reads slowly, and a ping would wait behind them.
        with suppress(AttributeError, OSError):  # Linux and macOS; a Unix socket has no such limit
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * MAX_BUFFER)

    def send(self, data: bytes) -> None:
        """Write whole frames without waiting."""
        if not self.closed:
            self.transport.write(data)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, and nothing after it; nothing at all the second time."""
        self.send(close_frame(code, reason))
        self._ended = True

    @property
    def closed(self) -> bool:
        return self._ended or self.transport.is_closing()

    def pong(self) -> bytes:
        return message_frame("PONG", last_event_id=self.cursor, epoch=self._log.epoch)

    def publish(self, batch: EventBatch) -> bool:
        """Send the events if the stream is live. Return whether it is live no more, so that a replay has to begin."""
        if self.behind or self.closed:
            return False
        if self.cursor < batch.after or self.transport.get_write_buffer_size() > MAX_BUFFER:
            return True
        if self.subscription is EVERYTHING and self.cursor == batch.after:
            self.send(getattr(batch, self._form))
            self.cursor = batch.events[-1].id
            return False
        return not self._write(batch.events)

    async def replay(self) -> None:
        """Send the events between the cursor and the head, at the speed of the client; then the stream is live. Raise Lost."""
        # There is no await between the comparison that ends this loop and `behind = False`, so no event is skipped.
        while await self._drained() and self.cursor < self._log.head:
            try:
                in_memory = self._log.remembers(self.cursor)
                past = None if in_memory else await self._log.past(self.cursor, REPLAY_BATCH)
            except Unavailable:
                await asyncio.sleep(RETRY_PAUSE)  # the feed may not have noticed yet
                while not (self._log.live.is_set() or self.closed):
                    await asyncio.sleep(RETRY_PAUSE)
                continue
            async with self._log.replaying:
                # Read from memory after the wait for the lock: events may have been published meanwhile.
                if past is None:
                    past = self._log.recent(self.cursor, REPLAY_BATCH)
                if past and self._write(past.events):
                    self.cursor = past.position
                await asyncio.sleep(0)
        self.behind = False

    def _write(self, events: list[FramedEvent]) -> bool:
        """Write the matching events above the cursor, up to the high-water mark, and advance the cursor. Return whether all
        events are written."""
        frames, size = [], 0
        for event in events:
            if size > MAX_BUFFER:
                break
            if event.id > self.cursor:
                if self.subscription.wants(event):
                    frames.append(getattr(event, self._form))
                    size += len(frames[-1])
                self.cursor = event.id
        self.send(b"".join(frames))
        return not events or self.cursor >= events[-1].id

    async def _drained(self) -> bool:
        """Wait until the client has read most of its buffer. Return False if it disconnected or was cut off."""
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
        return not self.closed

    def beat(self) -> None:
        """Ping a client that has been silent for long, and give up one that has not answered. They are counted and not timed:
        nobody is given up because the service has stood still."""
        if self.closed:  # asyncio's TLS transport has no buffer any more
            return
        unread = self.transport.get_write_buffer_size()
        self.silent = 0 if unread < self._unread else self.silent + 1
        self._unread = unread
        if self.silent == BEATS:
            self.send(frame(b"", FIN | PING))
        elif self.silent >= BEATS * 3 / 2:
            self.transport.abort()

    def flooding(self, now: float) -> bool:
        """Count a message of the client and return whether the rate limit is exceeded. `now`: seconds."""
        if now - self._second >= 1:
            self._second, self._messages = now, 0
        self._messages += 1
        return self._messages > MAX_RATE
