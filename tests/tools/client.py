"""A WebSocket client of the least, whose connection can be cut at any moment."""

import asyncio
import struct
from collections.abc import Callable, Iterator

REQUEST = (
    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "{more}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
RSV1, TEXT, CLOSE, PING = 0x40, 0x1, 0x8, 0x9


class Client(asyncio.Protocol):
    """`heard` is told of each text frame: its first byte and its payload."""

    def __init__(self, heard: Callable[[int, bytes], None]) -> None:
        self.heard = heard
        self.answer = b""  # the head of the answer to the upgrade
        self.size = 0  # bytes that came after it
        self.code: int | None = None  # that the connection was closed with
        self.gone = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def close(self) -> None:
        """Ends the connection at once, without a word."""
        self.transport.abort()

    def upgrade(self, port: int, target: str, more: str = "") -> None:
        """Asks for the upgrade, without waiting for it."""
        self.transport.write(REQUEST.format(target=target, port=port, more=more).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.answer:
            head, found, _ = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self.answer = bytes(head)
            self.size -= len(head) + len(found)
            del self._buffer[: len(head) + len(found)]
            if not head.startswith(b"HTTP/1.1 101"):
                self.transport.abort()
        self.size += len(data)
        for first, payload in self._frames():
            if first & 15 == TEXT:
                self.heard(first, payload)
            elif first & 15 == PING:
                self.transport.write(struct.pack("!BBI", 0x8A, 0x80 | len(payload), 0) + payload)
            elif first & 15 == CLOSE:
                self.code = int.from_bytes(payload[:2]) if payload else None
                self.transport.close()

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        data, at = self._buffer, 0
        while len(data) >= at + 2:
            size, header = data[at + 1] & 127, 2
            if size == 126:
                if len(data) < at + 4:
                    break
                size, header = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            if len(data) < at + header + size:
                break
            yield data[at], bytes(data[at + header : at + header + size])
            at += header + size
        del data[:at]


async def dial(port: int, heard: Callable[[int, bytes], None]) -> Client:
    """A connection that has not asked for the upgrade yet."""
    _, client = await asyncio.get_running_loop().create_connection(lambda: Client(heard), "127.0.0.1", port)
    return client
