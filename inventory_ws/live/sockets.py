"""The open sockets: handshake, client messages, and the fan-out to all of them."""

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from weakref import WeakSet

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from pydantic import ValidationError

from ..pg.errors import Unavailable
from ..web.errors import MESSAGES, Failure
from ..web.security import UNAUTHENTICATED, Authenticate
from .feed import FEED, Feed
from .frames import FIN, PONG, EventBatch, close_frame, frame, message
from .replay import Lost
from .stream import CLOSE_TIMEOUT, EVERYTHING, MAX_BUFFER, Room, Stream, abort

PROTOCOL = "inventario.v1"
HEARTBEAT = 30.0  # seconds between pings; a peer has half of this time to answer
MAX_FRAME = 4096  # bytes of a client's message
FANOUT_BATCH = 50  # sockets written to before the event loop runs other tasks
CLOSE_GRACE = 0.5  # seconds for a client to read the close frame
UNAUTHORIZED = 4401  # close code; RFC 6455 reserves 4000 to 4999 for applications

log = logging.getLogger(__name__)

SOCKETS = web.AppKey("SOCKETS", WeakSet[Stream])
MAX_SOCKETS = web.AppKey("MAX_SOCKETS", int)
COMPRESS = web.AppKey("COMPRESS", bool)
HANDSHAKE = web.AppKey("HANDSHAKE", asyncio.Lock)
"""Handshakes run one at a time, so that thousands of reconnects at once do not block the event loop."""


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serves one client's socket from the handshake to the close."""
    _check_handshake(request)
    state, sockets = request.app, request.app[SOCKETS]
    room = _parse_room({name: text.split(",") for name, text in request.query.items()})
    ws = web.WebSocketResponse(
        heartbeat=HEARTBEAT,
        max_msg_size=MAX_FRAME + 1,
        compress=state[COMPRESS],
        timeout=2.0,
        protocols=(PROTOCOL,),
        autoping=False,  # _listen() answers pings: aiohttp would answer a flood of them before it does anything else
    )
    if UNAUTHENTICATED in request:  # completes the handshake: a page cannot see why one was refused
        await ws.prepare(request)
        if request.transport is not None:
            await _end(request.transport, UNAUTHORIZED, "hace falta una clave de acceso")
        return ws
    position = await _position(request, state[FEED])
    async with state[HANDSHAKE]:
        await asyncio.sleep(0)  # other tasks run between two handshakes
        if len(sockets) >= state[MAX_SOCKETS]:
            raise Failure(503, "Hay demasiados clientes conectados", headers={hdrs.RETRY_AFTER: "5"})
        stream = await _open(request, ws, room, position)
    if stream is None:
        return ws
    try:
        farewell = await _listen(stream)
    finally:
        sockets.discard(stream)
        # aiohttp closes the connection when the write buffer is empty, which never happens if the peer has vanished.
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, abort, stream.transport)
    if farewell:
        await _end(stream.transport, *farewell)
    return ws


def _check_handshake(request: web.Request) -> None:
    """Raises Failure for a handshake that aiohttp would handle badly: it would log the token, or fail with a 500."""
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL)
    if offered and PROTOCOL not in [name.strip() for name in offered.split(",")]:
        # aiohttp would log the offered protocols, a token among them.
        raise Failure(400, f"El subprotocolo de este servicio es {PROTOCOL}")
    if not request.headers.get(hdrs.SEC_WEBSOCKET_KEY, "").isascii():
        raise Failure(400, MESSAGES[400])  # aiohttp would raise UnicodeEncodeError


async def _open(
    request: web.Request, ws: web.WebSocketResponse, room: Room, asked: tuple[int, str] | None
) -> Stream | None:
    """Completes the handshake and starts the stream: at `asked` (a position and its epoch), or at the head. Returns None
    if the client has disconnected."""
    feed, sockets = request.app[FEED], request.app[SOCKETS]
    await ws.prepare(request)
    transport = request.transport
    if transport is None:
        return None
    stream = Stream(request, ws, transport, feed, room)
    recovered = asked is not None and asked[1] == feed.epoch
    if asked and recovered:
        stream.cursor = asked[0]
    # No await from here to sockets.add(): the client gets every event above the cursor in this message, and none twice.
    told = {"last_event_id": stream.cursor, "epoch": feed.epoch, "recovered": recovered}
    stream.send(message("CONNECTION_ESTABLISHED", message="Conectado al servidor WebSocket", **told))
    sockets.add(stream)
    if stream.cursor < feed.head:
        stream.catch_up()
    return stream


async def _position(request: web.Request, feed: Feed) -> tuple[int, str] | None:
    """The position to resume from and its epoch, or None if the client gave none or the log does not hold it."""
    try:
        position = int(request.query["last_event_id"])
        await feed.check(position, request.query.get("epoch"))
    except (KeyError, ValueError, Lost, Unavailable):
        return None
    return position, feed.epoch


def _parse_room(asked: Mapping[str, object]) -> Room:
    """The subscription filter of a message or a query string. Raises ValidationError."""
    room = Room.model_validate(asked)
    return EVERYTHING if room == EVERYTHING else room


async def _listen(stream: Stream) -> tuple[int, str] | None:
    """Handles the client's messages until it disconnects. Returns a close code and a reason if it broke the rules."""
    loop = asyncio.get_running_loop()
    async for received in stream.ws:
        if received.type is WSMsgType.ERROR:  # after which aiohttp does not end the iteration
            break
        if received.type is WSMsgType.BINARY:
            return WSCloseCode.UNSUPPORTED_DATA, "solo texto"
        if stream.flooding(loop.time()):
            return WSCloseCode.POLICY_VIOLATION, "demasiados mensajes"
        if stream.transport.get_write_buffer_size() > 4 * MAX_BUFFER:  # it sends and does not read
            stream.transport.abort()
            break
        if received.type is WSMsgType.PING:
            stream.send(frame(received.data, FIN | PONG))
        elif received.type is WSMsgType.TEXT:
            stream.send(_answer(received.data, stream))
    return None


async def _end(transport: asyncio.Transport, code: int, reason: str) -> None:
    """Sends a close frame and stops reading. aiohttp's own close() would read everything that is still to come, and wait
    without limit for a peer that does not read."""
    transport.write(close_frame(code, reason))
    await asyncio.sleep(CLOSE_GRACE)  # an abort with unread input sends RST, which can overtake the frame
    transport.abort()


def _answer(text: str, stream: Stream) -> bytes:
    """Executes a client's message and returns the answer."""
    try:
        asked = json.loads(text)
        kind = asked["type"]
        if kind == "SUBSCRIBE":
            stream.room = _parse_room(asked)
        elif kind == "UNSUBSCRIBE":
            stream.room = EVERYTHING
    except ValidationError:
        return message("ERROR", message="SUBSCRIBE lleva listas: productos (identificadores) y eventos (tipos)")
    except (ValueError, TypeError, KeyError, RecursionError):
        return message("ERROR", message="Se esperaba un objeto JSON con un campo type")
    if kind == "PING":
        return stream.pong()
    if kind in ("SUBSCRIBE", "UNSUBSCRIBE"):
        room = {name: sorted(chosen) for name, chosen in stream.room if chosen is not None}
        return message("SUBSCRIBED", **room)
    return message("ERROR", message="Tipo de mensaje desconocido")


def publish(sockets: WeakSet[Stream], piece: EventBatch) -> Iterator[None]:
    """Sends the events to every open socket without waiting for any of them; yields to the event loop after each batch
    of sockets."""
    for number, stream in enumerate(list(sockets), 1):
        stream.publish(piece)
        if number % FANOUT_BATCH == 0:
            yield


def renew(sockets: WeakSet[Stream]) -> Iterator[None]:
    """Sends every open socket its position in the new epoch."""
    for stream in list(sockets):
        stream.send(stream.pong())
        yield


async def authenticate_again(sockets: WeakSet[Stream], authenticate: Authenticate, pause: float) -> None:
    """Checks every open socket again every `pause` seconds, and closes those whose authentication fails."""
    while True:
        await asyncio.sleep(pause)
        for stream in list(sockets):
            try:
                known = await authenticate(stream.request)
            except Exception:
                log.exception("authenticate raised an exception; the socket stays open")
            else:
                if not known:
                    stream.close(UNAUTHORIZED)
            await asyncio.sleep(0)


def close_all(sockets: WeakSet[Stream], code: int) -> None:
    """Closes every socket with the code."""
    for stream in list(sockets):
        stream.close(code)


async def shutdown(app: web.Application) -> None:
    """Closes all sockets with 1001, which tells clients to reconnect."""
    close_all(app[SOCKETS], WSCloseCode.GOING_AWAY)
