import asyncio
import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient

from inventory_ws import create_app
from inventory_ws.live.frames import BATCH_BYTES, frame
from inventory_ws.live.hub import HUB, SOCKETS
from inventory_ws.live.log import LOG
from inventory_ws.live.stream import MAX_BUFFER, Stream
from inventory_ws.web.security import bearer

from .conftest import create, receive, settled
from .tools.service import PATIENCE


async def test_welcome_is_that_of_the_guide_with_a_position(client: TestClient) -> None:
    await create(client)
    ws = await client.ws_connect("/")
    (welcome,) = await receive(ws, 1)
    assert welcome == {
        "type": "CONNECTION_ESTABLISHED",
        "message": "Conectado al servidor WebSocket",
        "last_event_id": welcome["last_event_id"],
        "epoch": welcome["epoch"],
        "recovered": False,
        "timestamp": welcome["timestamp"],
    }
    assert len(welcome["timestamp"]) == len("2024-01-30T10:00:00.000Z")


async def test_no_event_is_missing_after_the_position_of_the_welcome(client: TestClient) -> None:
    """Sockets that open while changes are made are sent exactly what is above the position they were told."""
    sockets: list[ClientWebSocketResponse] = []

    async def open_sockets() -> None:
        for _ in range(20):
            sockets.append(await client.ws_connect("/ws"))

    async def write() -> None:
        for _ in range(60):
            await create(client)

    await asyncio.gather(open_sockets(), write(), write())
    for ws in sockets:
        (welcome,) = await receive(ws, 1)
        expected = list(range(welcome["last_event_id"] + 1, 121))
        assert [event["id"] for event in await receive(ws, len(expected))] == expected


async def test_ping_is_answered_with_the_position(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await create(client)
    await receive(ws, 1)
    await ws.send_json({"type": "PING"})
    (pong,) = await receive(ws, 1)
    told = {"last_event_id": 1, "epoch": client.app[LOG].epoch}
    assert pong == {"type": "PONG", **told, "timestamp": pong["timestamp"]}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"PING"', "{}", '{"type":null}', '{"type":"NADA"}', "[" * 4000])
async def test_invalid_message_is_answered_with_an_error(listen: Callable, text: str) -> None:
    ws = await listen()
    await ws.send_str(text)
    assert (await receive(ws, 1))[0]["type"] == "ERROR"
    await ws.send_json({"type": "PING"})
    assert (await receive(ws, 1))[0]["type"] == "PONG"


async def closing(ws: ClientWebSocketResponse) -> int | None:
    while (await ws.receive(timeout=5)).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
        pass
    return ws.close_code


async def test_binary_message_closes_with_1003(listen: Callable) -> None:
    ws = await listen()
    await ws.send_bytes(b"PING")
    assert await closing(ws) == 1003


async def test_message_over_4_kib_closes_with_1009(listen: Callable) -> None:
    ws = await listen()
    await ws.send_str("x" * 5000)
    assert await closing(ws) == 1009


async def test_flood_closes_with_1008_and_does_not_delay_others(client: TestClient, listen: Callable) -> None:
    ws, other = await listen(), await listen()
    for _ in range(30):
        await ws.send_json({"type": "PING"})
    assert await closing(ws) == 1008
    await create(client)
    assert (await receive(other, 1))[0]["type"] == "PRODUCT_CREATED"


async def test_socket_beyond_the_limit_is_refused(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, max_sockets=2))
    first, _ = await client.ws_connect("/ws"), await client.ws_connect("/ws")
    with pytest.raises(WSServerHandshakeError) as caught:
        await client.ws_connect("/ws")
    assert caught.value.status == 503
    await first.close()
    async with asyncio.timeout(5):
        while len(client.app[SOCKETS]) > 1:
            await asyncio.sleep(0.01)
    await client.ws_connect("/ws")


async def test_socket_without_a_token_takes_room_until_it_ends(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, max_sockets=1, authenticate=bearer("clave")))
    await client.ws_connect("/ws")
    await joined(client, 1)
    with pytest.raises(WSServerHandshakeError) as caught:
        await client.ws_connect("/ws", headers={"Authorization": "Bearer clave"})
    assert caught.value.status == 503


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MANY = "INSERT INTO productos (nombre, descripcion, precio) SELECT 'p', repeat('x', 9000), n FROM generate_series(1, 1000) n"


async def joined(client: TestClient, number: int) -> None:
    """Waits until the service has so many sockets, also those whose client has not read the welcome."""
    async with asyncio.timeout(5):
        while len(client.app[SOCKETS]) != number:
            await asyncio.sleep(0.01)


@pytest.fixture
def stalled(client: TestClient) -> Iterator[socket.socket]:
    """A client that opens a socket and never reads."""
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", client.port))
        stalled.sendall(HANDSHAKE)
        yield stalled


async def test_client_that_does_not_read_is_cut_off_and_others_receive_everything(
    client: TestClient, listen: Callable, psql: Callable, stalled: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = await listen()
    await joined(client, 2)
    reading = asyncio.create_task(receive(ws, 1000))
    psql(MANY)
    assert [event["id"] for event in await reading] == list(range(1, 1001))
    assert len(client.app[SOCKETS]) == 2, "it has a while to come back to its senses"
    most = (
        MAX_BUFFER + BATCH_BYTES + 10_000
    )  # a slice, which ends with an event, is written where there is room for a byte
    assert all(one.transport.get_write_buffer_size() < most for one in client.app[SOCKETS])
    monkeypatch.setattr("inventory_ws.live.stream.STALL_TIMEOUT", 0.5)  # the while is over
    async with asyncio.timeout(5):
        while len(client.app[SOCKETS]) > 1:
            await asyncio.sleep(0.01)


async def test_slow_client_misses_nothing_and_becomes_live_again(
    client: TestClient, listen: Callable, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    send = Stream.send
    monkeypatch.setattr(Stream, "send", lambda self, data: (written.append(len(data)), send(self, data)))
    ws = await listen()
    ws._response.connection.transport.pause_reading()
    psql(MANY)
    await settled(client, 1000)
    await create(client)
    (one,) = client.app[SOCKETS]
    assert one.cursor < 1000, "the client is behind"
    ws._response.connection.transport.resume_reading()
    assert [event["id"] for event in await receive(ws, 1001)] == list(range(1, 1002))
    await create(client)
    assert [event["id"] for event in await receive(ws, 1)] == [1002]
    assert not one.behind
    assert max(written) < MAX_BUFFER + 10_000, "never more at once than may wait for a client"


async def test_client_that_vanishes_is_removed(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    ws._response.connection.transport.abort()
    async with asyncio.timeout(5):
        while len(client.app[SOCKETS]):
            await asyncio.sleep(0.01)


async def test_shutdown_closes_with_1001_even_without_a_reader(
    client: TestClient, listen: Callable, psql: Callable, stalled: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.live.hub.CLOSE_GRACE", 0.2)
    monkeypatch.setattr("inventory_ws.live.hub.CLOSE_TIMEOUT", 0.2)
    ws = await listen()
    reading = asyncio.create_task(receive(ws, 1000))
    psql(MANY)
    await reading
    assert len(client.app[SOCKETS]) == 2
    leaving = asyncio.create_task(client.server.close())
    assert await closing(ws) == 1001
    async with asyncio.timeout(3):
        await leaving
        while len(client.app[SOCKETS]):
            await asyncio.sleep(0.01)


MASKED_CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
OFFENCES = {1003: b"\x82\x80\0\0\0\0", 1008: b"\x89\x80\0\0\0\0" * 21}  # a binary message, and a flood of pings


@pytest.mark.parametrize("code", [1001, 1003, 1008, 1012, 4401])
@pytest.mark.parametrize("answers", [True, False])
async def test_connection_ends_when_the_close_frame_is_answered(
    code: int, answers: bool, dsn: str, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients whose answer meets the end of TCP see a reset and no code, as libsoup and lomond do."""
    monkeypatch.setattr("inventory_ws.live.hub.CLOSE_GRACE", 30 if answers else 0.1)
    client = await aiohttp_client(create_app(dsn=dsn, authenticate=bearer("clave") if code == 4401 else None))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(HANDSHAKE)
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n" if code == 4401 else b'"}')
        writer.write(OFFENCES.get(code, b""))
        if code == 1012:
            client.app[HUB].reset()
            await create(client)  # nothing comes after a close frame
        ending = asyncio.create_task(client.server.close() if code == 1001 else asyncio.sleep(0))
        while await reader.readexactly(1) != b"\x88":  # pongs
            await reader.readexactly(1)
        size = (await reader.readexactly(1))[0]
        assert int.from_bytes((await reader.readexactly(size))[:2]) == code
        if answers:
            reading = asyncio.create_task(reader.read())
            assert not (await asyncio.wait([reading], timeout=0.1))[0], "the connection has ended"
            writer.write(MASKED_CLOSE)
            assert await reading == b""
        else:
            assert await reader.read() == b""
        await ending
    writer.close()


async def test_flood_after_a_close_frame_is_hardly_read(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it as fast as it comes held up everybody else for a tenth of a second."""
    monkeypatch.setattr("inventory_ws.live.hub.CLOSE_GRACE", 0.3)
    read = []
    receive = web.WebSocketResponse.receive
    monkeypatch.setattr(web.WebSocketResponse, "receive", lambda ws: (read.append(ws), receive(ws))[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(HANDSHAKE + OFFENCES[1008] * 2000)
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
    writer.close()
    await joined(client, 0)
    assert 20 < len(read) < 1000


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frame_has_the_shortest_length_field(size: int, header: bytes) -> None:
    assert frame(b"x" * size) == header + b"x" * size


async def test_large_event_arrives_completely(client: TestClient, listen: Callable, psql: Callable) -> None:
    ws = await listen()
    for size in (10, 200, 10_000):
        psql("INSERT INTO productos (nombre, descripcion, precio) VALUES ('ñ', repeat('ñ', %s), 1)", [size])
        assert len((await receive(ws, 1))[0]["data"]["descripcion"]) == size


async def test_cancelled_send_of_aiohttp_affects_no_other_socket(
    client: TestClient, listen: Callable, stalled: socket.socket
) -> None:
    """Since aiohttp 3.14 a cancelled send poisons the next one on its connection: the broadcast must not use it."""
    ws = await listen()
    await joined(client, 2)
    for stream in client.app[SOCKETS]:
        if stream.transport.get_extra_info("peername") == stalled.getsockname():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.ws.send_str("x" * 20_000_000), 0.2)
    for _ in range(3):
        await create(client)
    assert [event["id"] for event in await receive(ws, 3)] == [1, 2, 3]


@pytest.mark.parametrize("closes", [True, False])
async def test_closed_socket_is_freed_without_the_garbage_collector(
    dsn: str, aiohttp_client: Callable, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full collection over thousands of open sockets stops the service for a third of a second."""
    client = await aiohttp_client(create_app(dsn=dsn, ping_every=1))  # its timer refers to the socket, as this one does
    monkeypatch.setattr("inventory_ws.live.hub.CLOSE_TIMEOUT", 0.1)

    gc.collect()
    gc.disable()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b'"}')
        ours = {
            id(one) for stream in client.app[SOCKETS] for one in (stream.ws, stream.request, stream.request.protocol)
        }

        def kept() -> list[str]:  # not whatever earlier tests have left, which may go at any time
            kinds = (web.WebSocketResponse, web.RequestHandler, web.Request)
            return [type(one).__name__ for one in gc.get_objects() if id(one) in ours and isinstance(one, kinds)]

        assert len(kept()) == 3
        if closes:
            writer.write(b"\x88\x80mask")
            await reader.read()
        writer.close()
        async with asyncio.timeout(20):
            while kept():
                await asyncio.sleep(0.2)
    finally:
        gc.enable()


async def test_client_that_stops_reading_after_a_malformed_frame_gives_its_place_back(
    dsn: str, aiohttp_client: Callable
) -> None:
    """aiohttp ends its heartbeat then, and waits without a limit for the client to read."""
    client = await aiohttp_client(create_app(dsn=dsn, ping_every=0.4))
    _, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1024)
    writer.write(HANDSHAKE)
    await joined(client, 1)
    (stream,) = client.app[SOCKETS]
    stream.send(frame(b"x" * 20_000_000))  # more than all buffers on the way hold
    writer.write(b"\xff" * 6)
    async with asyncio.timeout(PATIENCE):
        while client.app[SOCKETS]:
            await asyncio.sleep(0.05)
    writer.close()


async def test_client_that_reads_slowly_is_not_cut_while_its_pong_waits(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, ping_every=0.4))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # as on a slow line, on which little is under way
        sock.connect(("127.0.0.1", client.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(HANDSHAKE)
        await joined(client, 1)
        (stream,) = client.app[SOCKETS]
        stream.send(frame(b"x" * 4_000_000))
        read = b""
        while not read.endswith(b"\x89\0"):  # the ping that it answers when it comes to it
            part = await reader.read(1 << 17)
            assert part, "it was cut"
            read = read[-10:] + part
            await asyncio.sleep(0.05)
        assert client.app[SOCKETS]
        writer.close()
