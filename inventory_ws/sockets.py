"""The open sockets: handshake, frames, and what clients say."""

import asyncio
import json
import struct
from datetime import UTC, datetime
from weakref import WeakSet

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from .database import Unavailable
from .errors import Failure
from .feed import FEED, Feed
from .product import encode
from .repository import Event

HEARTBEAT = 30.0  # seconds between pings; a peer that misses one is given half as long
MAX_FRAME = 4096  # bytes of a client's message
MAX_RATE = 20  # messages of a client in a second
MAX_BUFFER = 64 * 1024  # bytes that may wait for a client before it counts as behind
PAGE = 100  # events read at once for a client that is behind
STALL_LIMIT = 30.0  # seconds without a byte taken
CLOSE_LIMIT = 3.0  # seconds for a client to take its leave

TEXT, CLOSE = 0x1, 0x8


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole server frame, unmasked (RFC 6455, 5.2): built once, written to every socket."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def message(kind: str, **fields: object) -> bytes:
    """The frame of a message that is not in the log."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return frame(encode({"type": kind, **fields, "timestamp": now}).encode())


class Socket:
    """One client, and its cursor in the log: it has been sent everything at or below, and nothing above.

    A socket is live (its cursor is the feed's head) or behind. A live one is sent each event in the tick in which it
    is published, without waiting. One whose client reads too slowly falls behind: from then on it is fed from the log
    as its buffer drains, until its cursor is the head again. Nobody waits for it and nothing is queued for it.
    """

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport, feed: Feed) -> None:
        self.ws = ws
        self.transport = transport
        self.cursor = feed.head
        self._feed = feed
        self._catching_up: asyncio.Task[None] | None = None
        self._second = 0.0
        self._messages = 0

    def send(self, data: bytes) -> None:
        """Writes a whole frame, without waiting."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def publish(self, event: Event, data: bytes) -> None:
        """Sends the event, whose frame is `data`, if the socket is live and its client keeps up."""
        if self._catching_up:
            return
        if self.transport.get_write_buffer_size() > MAX_BUFFER:
            self._catching_up = asyncio.create_task(self._catch_up())
            return
        self.send(data)
        self.cursor = event.id

    async def _catch_up(self) -> None:
        try:
            # Between the look at the head and the end of this task there is no await: no event falls in between.
            while await self._drained() and self.cursor < self._feed.head:
                try:
                    events, head = await self._feed.after(self.cursor, PAGE)
                except Unavailable:
                    await asyncio.sleep(1)
                    continue
                for event in events:
                    if self.transport.get_write_buffer_size() > MAX_BUFFER:
                        break
                    self.send(frame(event.message.encode()))
                    self.cursor = event.id
                else:
                    self.cursor = head if len(events) < PAGE else self.cursor
        finally:
            self._catching_up = None

    async def _drained(self) -> bool:
        """Waits until the client has taken what was written. False when it is gone, or cut off for taking nothing."""
        loop = asyncio.get_running_loop()
        least, since = self.transport.get_write_buffer_size(), loop.time()
        while (size := self.transport.get_write_buffer_size()) > MAX_BUFFER // 2:
            if size < least:
                least, since = size, loop.time()
            elif loop.time() - since > STALL_LIMIT:
                self.transport.abort()
            await asyncio.sleep(0.02)
        return not self.transport.is_closing()

    async def close(self, code: int, reason: str) -> None:
        """Closes in order, within a bound: aiohttp's own close never returns while a peer does not read."""
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                await self.ws.close(code=code, message=reason.encode())
        except TimeoutError:
            self.transport.abort()

    def flooding(self, now: float) -> bool:
        """Counts a message of the client; `now` in seconds."""
        if now - self._second >= 1:
            self._second, self._messages = now, 0
        self._messages += 1
        return self._messages > MAX_RATE


SOCKETS = web.AppKey("SOCKETS", WeakSet[Socket])
MAX_SOCKETS = web.AppKey("MAX_SOCKETS", int)


async def websocket(request: web.Request) -> web.StreamResponse:
    """One client's socket, from the handshake to the close."""
    state = request.config_dict
    sockets, feed = state[SOCKETS], state[FEED]
    if len(sockets) >= state[MAX_SOCKETS]:
        raise Failure(503, "Hay demasiados clientes conectados", headers={hdrs.RETRY_AFTER: "5"})
    ws = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_FRAME, compress=False, timeout=2.0)
    await ws.prepare(request)
    if not isinstance(request.transport, asyncio.Transport):  # gone during the handshake
        return ws
    socket = Socket(ws, request.transport, feed)
    # From this tick on it is sent every event above the cursor it is told here: no gap and no duplicate.
    welcome = {"message": "Conectado al servidor WebSocket", "last_event_id": socket.cursor}
    socket.send(message("CONNECTION_ESTABLISHED", **welcome))
    sockets.add(socket)
    try:
        await _listen(socket)
    finally:
        sockets.discard(socket)
    return ws


async def _listen(socket: Socket) -> None:
    loop = asyncio.get_running_loop()
    async for received in socket.ws:
        if received.type is WSMsgType.BINARY:
            await socket.close(WSCloseCode.UNSUPPORTED_DATA, "solo texto")
        elif received.type is WSMsgType.ERROR:  # which does not end the loop by itself
            break
        elif socket.flooding(loop.time()):
            await socket.close(WSCloseCode.POLICY_VIOLATION, "demasiados mensajes")
        else:
            socket.send(_answer(received.data, socket))


def _answer(text: str, socket: Socket) -> bytes:
    try:
        kind = json.loads(text)["type"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return message("ERROR", message="Se esperaba un objeto JSON con un campo type")
    if kind == "PING":
        return message("PONG", last_event_id=socket.cursor)
    return message("ERROR", message="Tipo de mensaje desconocido")


def publish(sockets: "WeakSet[Socket]", event: Event) -> None:
    """Sends the event to every open socket. Never waits: whoever is slow keeps nobody else from hearing it."""
    data = frame(event.message.encode())
    for socket in list(sockets):
        socket.publish(event, data)


def close_all(sockets: "WeakSet[Socket]", code: int) -> None:
    """Says goodbye to every socket at once, and ends by force what has not heard it in time."""
    loop = asyncio.get_running_loop()
    for socket in list(sockets):
        socket.send(frame(struct.pack("!H", code), CLOSE))
        socket.transport.close()  # when the buffer is written, which a peer that does not read can put off for ever
        loop.call_later(CLOSE_LIMIT, socket.transport.abort)


async def shutdown(app: web.Application) -> None:
    """The service ends: clients reconnect to the next one."""
    close_all(app[SOCKETS], WSCloseCode.GOING_AWAY)
