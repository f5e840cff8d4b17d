"""What the service has started ends with it, and every change is heard whatever becomes of its request."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from inventory_ws import Unavailable, create_app
from inventory_ws.live.frames import close_frame
from inventory_ws.live.hub import HUB, SOCKETS
from inventory_ws.live.log import LOG
from inventory_ws.pg.database import DATABASE

from .conftest import create, receive, settled, silence
from .test_sockets import MANY

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
async def runner(dsn: str) -> AsyncIterator[web.AppRunner]:
    """The service on a port of its own, which a test may end itself."""
    runner = web.AppRunner(create_app(dsn=dsn), shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner
    await runner.cleanup()


async def shake(port: int) -> bytes:
    """Everything that a client is sent who asks for a socket; nothing if it was not let in."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        if writer:
            writer.close()


async def test_shutdown_amid_handshakes_closes_every_socket_with_1001(runner: web.AppRunner) -> None:
    clients = [asyncio.create_task(shake(runner.addresses[0][1])) for _ in range(300)]
    while len(runner.app[SOCKETS]) < 20:
        await asyncio.sleep(0)
    async with asyncio.timeout(4):  # aiohttp gives handlers five seconds before it cancels them
        await runner.cleanup()
    answers = await asyncio.gather(*clients)
    opened = [answer for answer in answers if answer.startswith(b"HTTP/1.1 101 ")]
    assert len(opened) >= 20
    assert [answer for answer in opened if not answer.endswith(close_frame(1001))] == []
    others = {answer.partition(b"\r\n")[0] for answer in answers if answer not in opened}
    assert others - {b""} == {b"HTTP/1.1 503 Service Unavailable"}


async def test_handshake_that_shutdown_overtakes_is_closed_with_1001(dsn: str) -> None:
    """A signal of the host may wait while the handshake is completed."""
    app, preparing = create_app(dsn=dsn), asyncio.Event()

    async def slow(request: web.Request, _: web.StreamResponse) -> None:
        if request.path == "/ws":
            preparing.set()
            await asyncio.sleep(0.3)

    app.on_response_prepare.append(slow)
    runner = web.AppRunner(app, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = asyncio.create_task(shake(runner.addresses[0][1]))
    await preparing.wait()
    async with asyncio.timeout(4):
        await runner.cleanup()
    assert (await client).endswith(close_frame(1001))


def sockets_of_this_process() -> int:
    """How many file descriptors are sockets."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.islink(link))


async def test_nothing_is_alive_after_the_end(dsn: str, psql: Callable) -> None:
    """Live, stalled and replaying clients, and a statement under way."""
    psql("SELECT")
    async with aiohttp.ClientSession() as session:
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tasks, sockets = asyncio.all_tasks(), sockets_of_this_process()
        runner = web.AppRunner(create_app(dsn=dsn, authenticate=allow, authenticate_every=0.01, keep_days=1))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        stalled.connect(("127.0.0.1", port))
        stalled.sendall(HANDSHAKE)
        live = await session.ws_connect(f"http://127.0.0.1:{port}/ws")
        psql(MANY)
        await receive(live, 1001)
        await session.ws_connect(f"http://127.0.0.1:{port}/ws?last_event_id=0")
        statement = asyncio.create_task(runner.app[DATABASE].fetch("SELECT pg_sleep(3)"))
        while psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == [(0,)]:
            await asyncio.sleep(0.01)
        await runner.cleanup()
        await asyncio.gather(statement, return_exceptions=True)
    async with asyncio.timeout(5):
        while psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'inventory_ws'") != [(0,)]:
            await asyncio.sleep(0.01)
    assert [task for task in asyncio.all_tasks() if task not in tasks and task is not statement] == []
    assert sockets_of_this_process() <= sockets, "the client that does not read has not gone yet"
    stalled.close()


async def allow(_: web.Request) -> bool:
    return True


async def test_start_that_is_cancelled_leaves_nothing(dsn: str, connect: Callable) -> None:
    hidden = connect()
    hidden.autocommit = False
    with hidden.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(2024013002)")  # as a commit that hides the end of the log
    tasks = asyncio.all_tasks()
    runner = web.AppRunner(create_app(dsn=dsn))
    start = asyncio.create_task(runner.setup())
    async with asyncio.timeout(5):
        while not runner.app[HUB].feed.reason:
            await asyncio.sleep(0.01)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    assert asyncio.all_tasks() == tasks
    await runner.cleanup()


async def test_change_whose_request_is_cancelled_is_heard_at_once(
    unpolled: None, client: TestClient, listen: Callable
) -> None:
    ws = await listen()
    hub = client.app[HUB]

    async def committed_and_cancelled(db: Any) -> None:
        await db.fetch("INSERT INTO productos (nombre, precio) VALUES ('a', 1)")
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await hub.change(committed_and_cancelled)
    assert (await ws.receive_json(timeout=5))["id"] == 1


async def test_live_stream_that_is_not_at_the_position_before_a_batch_falls_behind(
    client: TestClient, listen: Callable
) -> None:
    """It must not skip what it has not sent, however it came to be there."""
    ws = await listen()
    for _ in range(2):
        await create(client)
    await receive(ws, 2)
    (stream,) = client.app[SOCKETS]
    stream.cursor = 1
    await create(client)
    assert [event["id"] for event in await receive(ws, 2)] == [2, 3]
    await silence(ws, client)


async def test_stream_that_is_behind_waits_for_postgresql(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("inventory_ws.live.stream.RETRY_PAUSE", 0.05)
    for _ in range(3):
        await create(client)
    await settled(client, 3)
    log = client.app[LOG]
    past, outages = log.past, [1, 1, 1]

    async def unavailable(*args: Any) -> Any:
        if outages:
            outages.pop()
            raise Unavailable("an outage")
        return await past(*args)

    monkeypatch.setattr(log, "past", unavailable)
    log.restart(3)  # nothing is in memory
    ws = await client.ws_connect("/ws", params={"last_event_id": "1", "epoch": log.epoch})
    assert (await ws.receive_json(timeout=5))["recovered"] is True
    assert [event["id"] for event in await receive(ws, 2)] == [2, 3]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(("bits", "first_byte"), [(9, 0x81), (14, 0x81), (15, 0xC1)])
async def test_client_with_a_smaller_window_is_sent_what_it_can_inflate(
    bits: int, first_byte: int, dsn: str, aiohttp_client: Callable
) -> None:
    """RFC 7692, 7.1.2.1: a frame may not be compressed with a larger window than was agreed."""
    client = await aiohttp_client(create_app(dsn=dsn, compress=True))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    offer = f"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n\r\n"
    writer.write(HANDSHAKE.removesuffix(b"\r\n") + offer.encode())
    async with asyncio.timeout(5):
        assert f"server_max_window_bits={bits}" in (await reader.readuntil(b"\r\n\r\n")).decode() or bits == 15
        await reader.readuntil(b"}")  # the welcome
        await create(client)
        assert (await reader.readexactly(1))[0] == first_byte
    writer.close()


SESSION = web.RequestKey("SESSION", str)


@pytest.mark.parametrize("refusal", ["false", "raised", "answered"])
async def test_user_who_signs_out_of_the_host_is_heard_no_more(
    refusal: str, dsn: str, aiohttp_client: Callable
) -> None:
    """The host's middleware loads the session into the request, as libraries of sessions do: never the handshake's again."""
    signed_in = {"ana"}
    host = web.Application()

    @web.middleware
    async def sessions(request: web.Request, handler: Any) -> web.StreamResponse:
        assert request.app is host
        if SESSION not in request:
            request[SESSION] = "ana" if "ana" in signed_in else ""
        if refusal == "answered" and not request[SESSION]:
            return web.Response(status=401)
        return await handler(request)

    async def authenticate(request: web.Request) -> str:
        assert request.app is inventory
        if refusal == "raised" and not request[SESSION]:
            raise web.HTTPUnauthorized
        return request[SESSION]

    host.middlewares.append(sessions)
    inventory = create_app(dsn=dsn, authenticate=authenticate, authenticate_every=0.05)
    host.add_subapp("/inventario/", inventory)
    client = await aiohttp_client(host)
    ws = await client.ws_connect("/inventario/ws")
    await receive(ws, 1)
    await asyncio.sleep(0.2)  # a few checks, which it passes
    assert not ws.closed
    signed_in.clear()
    assert (await ws.receive(timeout=5)).data == 4401


async def test_login_check_that_hangs_does_not_keep_others_open(dsn: str, aiohttp_client: Callable) -> None:
    signed_out = asyncio.Event()

    async def authenticate(request: web.Request) -> bool:
        if signed_out.is_set() and request.query["name"] == "hangs":
            await asyncio.sleep(60)
        return not signed_out.is_set()

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=authenticate, authenticate_every=0.05))
    hangs, *others = [await client.ws_connect("/ws", params={"name": name}) for name in ("hangs", "a", "b")]
    signed_out.set()
    for ws in others:
        await receive(ws, 1)
        assert (await ws.receive(timeout=5)).data == 4401
    assert not hangs.closed


async def test_login_check_that_hangs_is_asked_again(
    dsn: str, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.live.hub.CHECK_TIMEOUT", 0.05)
    asked: list[str] = []

    async def authenticate(request: web.Request) -> bool:
        asked.append(request.path)
        if len(asked) == 2:
            await asyncio.sleep(60)
        return len(asked) < 3

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=authenticate, authenticate_every=0.05))
    ws = await client.ws_connect("/ws")
    await receive(ws, 1)
    assert (await ws.receive(timeout=5)).data == 4401
