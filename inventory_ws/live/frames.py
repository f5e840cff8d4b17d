"""WebSocket frames (RFC 6455) as a server sends them, each built once for all clients."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from pydantic_core import to_json

from .eventlog import LogEntry

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40
BATCH_BYTES = 16 * 1024  # bytes that are published together, before the event loop runs other tasks
COMPRESS_FROM = 100  # bytes; compression saves less than eight of shorter messages


def frame(payload: bytes, first: int = FIN | TEXT) -> bytes:
    """Return an unmasked frame; `first` is its first byte: the flags and the opcode."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(struct.pack("!H", code) + reason.encode(), FIN | CLOSE)


def message_frame(kind: str, **fields: object) -> bytes:
    """Return the frame of a message that is no event of the log."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return frame(to_json({"type": kind, **fields, "timestamp": now}))


def deflated(payload: bytes) -> bytes:
    """Return the frame in permessage-deflate (RFC 7692), without context takeover: the same bytes are valid for all clients."""
    if len(payload) < COMPRESS_FROM:
        return frame(payload)
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(data[:-4], FIN | RSV1 | TEXT)  # without the empty block at the end of every flush


class FramedEvent:
    """An event with its frames, each built once for all clients."""

    def __init__(self, entry: LogEntry) -> None:
        self.id, self.type, self.product_id, text = entry
        self.payload = text.encode()

    @cached_property
    def plain(self) -> bytes:
        return frame(self.payload)

    @cached_property
    def deflated(self) -> bytes:
        return deflated(self.payload)


@dataclass
class EventBatch:
    """Consecutive events that are published together, and their frames joined. `after`: the position before them."""

    events: list[FramedEvent]
    after: int

    @cached_property
    def plain(self) -> bytes:
        return b"".join(event.plain for event in self.events)

    @cached_property
    def deflated(self) -> bytes:
        return b"".join(event.deflated for event in self.events)


def batches(rows: Iterable[LogEntry], after: int) -> Iterator[EventBatch]:
    """Group the events after a position into batches of about BATCH_BYTES."""
    events, size = [], 0
    for event in map(FramedEvent, rows):
        events.append(event)
        size += len(event.plain)
        if size > BATCH_BYTES:
            yield EventBatch(events, after)
            events, size, after = [], 0, event.id
    if events:
        yield EventBatch(events, after)
