"""The WebSocket of one client: its handshake and its messages."""

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from pydantic import ValidationError

from ..live.frames import FIN, PONG, frame, message_frame
from ..live.hub import HUB, Hub
from ..live.log import Log, Lost
from ..live.stream import EVERYTHING, MAX_BUFFER, Stream, Subscription
from ..pg.errors import Unavailable
from .errors import FAILURES, Failure
from .security import ACTOR, AGAIN, ALLOWED, REFUSED, ask_again

PROTOCOL = "inventario.v1"
MAX_FRAME = 4096  # bytes of a client's message
RESUME_TIMEOUT = 3.0  # seconds for PostgreSQL to come back, if only it knows a client's position
CLOSES = {401: (4401, "hace falta una clave de acceso"), 403: (4403, "no está permitido")}  # close codes, by status
CHECKS = 10  # open sockets whose authentication is checked at the same time
CHECK_TIMEOUT = 10.0  # seconds for one of these checks
FLOOD_PAUSE = 0.01  # seconds between messages that are read after a close frame: a flood delays nobody else

logger = logging.getLogger(__name__)


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve one client's socket from the handshake to the close."""
    if AGAIN in request:
        return web.Response(status=request.get(REFUSED, ALLOWED))
    _check_handshake(request)
    hub = request.app[HUB]
    ws = web.WebSocketResponse(
        max_msg_size=MAX_FRAME + 1,
        compress=hub.compress,
        timeout=2.0,
        protocols=(PROTOCOL,),
        autoclose=False,  # the hub answers a close frame, and answers it once
        # _listen() answers pings: aiohttp would answer a flood of them before it does anything else. The hub sends them: aiohttp
        # would cut a client that reads slowly, while its pong waits behind what was sent, and sends none after a malformed frame.
        autoping=False,
    )
    subscription, position = EVERYTHING, None
    farewell: tuple[int, str] | None = CLOSES.get(request.get(REFUSED, 0))
    if request.query and not farewell:
        subscription = _parse_subscription({key: text.split(",") for key, text in request.query.items()}, strict=False)
        try:
            position = await _position(request, hub.log)
        except (Unavailable, TimeoutError):
            farewell = WSCloseCode.TRY_AGAIN_LATER, "la base de datos no responde"
    await hub.handshakes.acquire()
    asyncio.get_running_loop().call_soon(hub.handshakes.release)
    _check_room(hub)
    try:
        await ws.prepare(request)
    except ConnectionError:  # the client has disconnected
        raise Failure("peticion_mal_formada") from None
    if request.transport is None:
        return ws
    stream = Stream(request, ws, request.transport, hub.log, subscription)
    try:
        if farewell:  # after the handshake: a page cannot see why one was refused
            hub.sockets.add(stream)  # it takes room until it ends
            hub.disconnect(stream, *farewell)
        else:
            _begin(stream, hub, position)
        await _listen(stream, hub)
    finally:
        hub.leave(stream)
        await ws.close(drain=False)  # sends nothing more
        _release(ws)
    return ws


async def complete_extension(_: web.Request, response: web.StreamResponse) -> None:
    """Complete aiohttp's answer to permessage-deflate: clients in Go end a connection without this parameter."""
    if agreed := response.headers.get(hdrs.SEC_WEBSOCKET_EXTENSIONS):
        response.headers[hdrs.SEC_WEBSOCKET_EXTENSIONS] = f"{agreed}; client_no_context_takeover"


def _release(ws: web.WebSocketResponse) -> None:
    """Break aiohttp's reference cycles of a closed socket: its 16 KiB would stay until a full garbage collection."""
    if exc := ws.exception():
        exc.__traceback__ = exc.__context__ = None  # their frames refer to `ws`, which keeps the exception


def _check_handshake(request: web.Request) -> None:
    """Raise Failure for a handshake that aiohttp would handle badly: it would log the token, or fail with a 500."""
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL)
    if offered and PROTOCOL not in [name.strip() for name in offered.split(",")]:
        # aiohttp would log the offered protocols, a token among them.
        raise Failure("subprotocolo_desconocido")
    if not request.headers.get(hdrs.SEC_WEBSOCKET_KEY, "").isascii():
        raise Failure("peticion_mal_formada")  # aiohttp would raise UnicodeEncodeError
    if hdrs.EXPECT in request.headers:
        raise Failure("peticion_mal_formada")  # aiohttp would send 100 again at each check of the login


def _check_room(hub: Hub) -> None:
    if hub.closing:
        raise Failure("cerrando", headers={hdrs.RETRY_AFTER: "1"})
    if len(hub.sockets) >= hub.max_sockets:
        raise Failure("demasiados_sockets", headers={hdrs.RETRY_AFTER: "5"})


def _begin(stream: Stream, hub: Hub, resume: tuple[int, str] | None) -> None:
    """Start the stream: at `resume` (a position and its epoch), or at the head."""
    recovered = resume is not None and resume[1] == hub.log.epoch  # the epoch may have changed since the check
    if resume and recovered:
        stream.cursor = resume[0]
    user = {"actor": actor} if (actor := stream.request.get(ACTOR)) else {}
    # No await from here to join(): the client gets every event above the cursor in this message, and none twice.
    told = {"last_event_id": stream.cursor, "epoch": hub.log.epoch, "recovered": recovered} | user
    if recovered:
        told["newest_event_id"] = hub.log.head
    stream.send(message_frame("CONNECTION_ESTABLISHED", message="Conectado al servidor WebSocket", **told))
    hub.join(stream)


async def _position(request: web.Request, log: Log) -> tuple[int, str] | None:
    """Return the position to resume from and its epoch, or None if the client gave none or the log does not hold it. Raise
    Unavailable or TimeoutError if PostgreSQL would have to be asked, and does not come back in time."""
    try:
        position = int(request.query["last_event_id"])
    except (KeyError, ValueError):
        return None
    try:
        try:
            await log.check(position, epoch := request.query.get("epoch"))
        except Unavailable:
            async with asyncio.timeout(RESUME_TIMEOUT):
                await log.live.wait()
            await log.check(position, epoch)
    except Lost:
        return None
    return position, log.epoch


def _parse_subscription(asked: Mapping[str, object], strict: bool | None = None) -> Subscription:
    """Return the subscription of a message or of a query string, where numbers are text. Raise ValidationError."""
    subscription = Subscription.model_validate(asked, strict=strict)
    return EVERYTHING if subscription == EVERYTHING else subscription


async def _listen(stream: Stream, hub: Hub) -> None:
    """Handle the client's messages until it disconnects. Disconnect it if it breaks the rules."""
    loop = asyncio.get_running_loop()
    async for received in stream.ws:
        stream.silent = 0
        if received.type is WSMsgType.ERROR or stream.transport.is_closing():  # aiohttp does not end the iteration
            break
        if stream.closed:  # only the client's close frame counts
            await asyncio.sleep(FLOOD_PAUSE)
            continue
        if received.type is WSMsgType.BINARY:
            hub.disconnect(stream, WSCloseCode.UNSUPPORTED_DATA, "solo texto")
        elif stream.flooding(loop.time()):
            hub.disconnect(stream, WSCloseCode.POLICY_VIOLATION, "demasiados mensajes")
        elif stream.transport.get_write_buffer_size() > 4 * MAX_BUFFER:  # it sends and does not read
            stream.transport.abort()
            break
        elif received.type is WSMsgType.PING:
            stream.send(frame(received.data, FIN | PONG))
        elif received.type is WSMsgType.TEXT:
            stream.send(_reply(received.data, stream))


def _reply(text: str, stream: Stream) -> bytes:
    """Execute a client's message and return the reply."""
    try:
        asked = json.loads(text)
        kind = asked["type"]
        if kind == "SUBSCRIBE":
            stream.subscription = _parse_subscription(asked)
        elif kind == "UNSUBSCRIBE":
            stream.subscription = EVERYTHING
    except ValidationError:
        return _error("suscripcion_invalida")
    except (ValueError, TypeError, KeyError, RecursionError):
        return _error("mensaje_invalido")
    if kind == "PING":
        return stream.pong()
    if kind in ("SUBSCRIBE", "UNSUBSCRIBE"):
        chosen = {name: sorted(wanted) for name, wanted in stream.subscription if wanted is not None}
        return message_frame("SUBSCRIBED", **chosen)
    return _error("mensaje_desconocido")


def _error(code: str) -> bytes:
    return message_frame("ERROR", code=code, message=FAILURES[code][1])


async def check_logins(hub: Hub, pause: float) -> None:
    """Ask every `pause` seconds about the request of each open socket, and close those that are no longer allowed."""
    while True:
        await asyncio.sleep(pause)
        streams = (stream for stream in list(hub.sockets) if not stream.closed)
        async with asyncio.TaskGroup() as checks:
            for _ in range(CHECKS):
                checks.create_task(_check(streams, hub))


async def _check(streams: Iterator[Stream], hub: Hub) -> None:
    for stream in streams:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                if refused := await ask_again(stream.request):
                    hub.disconnect(stream, *CLOSES[refused])
        except (Exception, asyncio.CancelledError) as exc:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # A driver may raise CancelledError for a statement that the server has cancelled.
            logger.error("the check of a login has failed; the socket stays open", exc_info=exc)
        await asyncio.sleep(0)
