"""What the service has started ends with it, and every change is heard whatever becomes of its request."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from inventory_ws import Lost, Unavailable, create_app, watch
from inventory_ws.live.frames import close_frame
from inventory_ws.live.hub import HUB, SOCKETS
from inventory_ws.live.log import LOG
from inventory_ws.pg.database import DATABASE
from inventory_ws.products.models import NewProduct
from inventory_ws.products.repository import Cause, create_product
from inventory_ws.web.websocket import _check

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


async def test_handshakes_that_wait_for_the_host_do_not_exceed_the_limit(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.live.hub.CLOSE_GRACE", 0.1)
    app, preparing = create_app(dsn=dsn, max_sockets=1), asyncio.Event()

    async def slow(request: web.Request, _: web.StreamResponse) -> None:
        if request.path == "/ws":
            await preparing.wait()

    app.on_response_prepare.append(slow)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clients = [asyncio.create_task(shake(runner.addresses[0][1])) for _ in range(3)]
    await asyncio.sleep(0.2)
    preparing.set()
    async with asyncio.timeout(4):
        while sum(client.done() for client in clients) < 2:
            await asyncio.sleep(0.01)
        assert [client.result()[-4:] for client in clients if client.done()] == [close_frame(1001)] * 2
        await runner.cleanup()
    await asyncio.gather(*clients)


def sockets_of_this_process() -> int:
    """How many file descriptors are sockets."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.islink(link))


def file_threads() -> set[threading.Thread]:
    """The threads of this process that are neither the main one nor those of a loop."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")}


async def test_nothing_is_alive_after_the_end(dsn: str, psql: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live, stalled and replaying clients, a statement under way, and the thread of files."""
    monkeypatch.setattr("inventory_ws.live.hub.CLOSE_TIMEOUT", 60)
    psql("SELECT")
    async with aiohttp.ClientSession() as session:
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tasks, sockets, threads = asyncio.all_tasks(), sockets_of_this_process(), file_threads()
        app = create_app(dsn=dsn, authenticate=allow, authenticate_every=0.01, keep_days=1)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        stalled.connect(("127.0.0.1", port))
        stalled.sendall(HANDSHAKE)
        live = await session.ws_connect(f"http://127.0.0.1:{port}/ws")
        psql(MANY)
        await receive(live, 1001)
        await (await session.get(f"http://127.0.0.1:{port}/api/productos.csv?limit=1")).read()
        assert file_threads() - threads
        await session.ws_connect(f"http://127.0.0.1:{port}/ws?last_event_id=0")
        statement = asyncio.create_task(runner.app[DATABASE].fetch("SELECT pg_sleep(3)"))
        while psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == [(0,)]:
            await asyncio.sleep(0.01)
        await runner.cleanup()
        await asyncio.gather(statement, return_exceptions=True)
    async with asyncio.timeout(5):
        while psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'inventory_ws'") != [(0,)]:
            await asyncio.sleep(0.01)
        while file_threads() - threads:
            await asyncio.sleep(0.01)
    assert [task for task in asyncio.all_tasks() if task not in tasks and task is not statement] == []
    assert sockets_of_this_process() <= sockets, "the client that does not read has not gone yet"
    stalled.close()


async def allow(_: web.Request) -> bool:
    return True


@pytest.mark.parametrize("end", ["a task fails", "a host cancels all tasks"])
async def test_hub_that_ends_closes_every_socket_and_says_that_only_a_restart_helps(
    end: str, client: TestClient, listen: Callable
) -> None:
    """A service that sends nothing any more must not look alive."""
    ws = await listen()
    hub = client.app[HUB]

    async def fail() -> None:
        raise RuntimeError("a fault of ours")

    if end == "a task fails":
        hub._tasks.create_task(fail())
    else:
        hub._owner.cancel()
    assert (await ws.receive(timeout=5)).data == 1001
    assert (await client.get("/ws", headers={"Upgrade": "websocket"})).status in (400, 503)
    alive, health = await client.get("/api/vivo"), await client.get("/api/salud")
    assert (alive.status, health.status) == (503, 503)
    assert (await alive.json())["message"] == (await health.json())["data"]["reason"]


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
        await create_product(db, NewProduct(nombre="a", precio=1), Cause())
        raise asyncio.CancelledError  # as by the time limit of a host

    with pytest.raises(asyncio.CancelledError):
        await hub.change(committed_and_cancelled)
    assert (await ws.receive_json(timeout=5))["id"] == 1


async def test_refused_changes_do_not_wake_the_feed(unpolled: None, client: TestClient) -> None:
    """Without a new event, the feed would ask for the end of the log, for which it blocks writers."""
    await create(client)
    await settled(client, 1)
    rung: list[int] = []
    client.app[HUB].feed.ring = lambda: rung.append(1)  # type: ignore[method-assign]
    key = {"Idempotency-Key": "once"}
    answers = [
        await client.post("/api/productos/1/stock", json={"delta": -1000}),
        await client.delete("/api/productos/1", headers={"If-Match": '"2024-01-30T10:00:00.000Z"'}),
        await client.post("/api/productos", data="id,stock\n9,3", headers={"Content-Type": "text/csv"}),
        await client.patch("/api/productos/9", json={"stock": 3}),
    ]
    assert [(resp.status, len(rung)) for resp in answers] == [(409, 0), (412, 0), (400, 0), (404, 0)]
    assert (await client.post("/api/productos/1/stock", json={"delta": 1}, headers=key)).status == 200
    assert len(rung) == 1
    assert (await client.post("/api/productos/1/stock", json={"delta": 2}, headers=key)).status == 422
    assert len(rung) == 1


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
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert f"server_max_window_bits={bits}" in answer or bits == 15
        assert answer.count("client_no_context_takeover") == 1  # without it, gorilla/websocket ends the connection
        await reader.readuntil(b"}")  # the welcome
        await create(client)
        assert (await reader.readexactly(1))[0] == first_byte
    writer.close()


SESSION = web.RequestKey("SESSION", str)


@pytest.mark.parametrize("refusal", ["false", "raised", "answered", "sent", "redirected", "redirect raised"])
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
        if not request[SESSION]:
            if refusal == "answered":
                return web.Response(status=401)
            if refusal == "sent":  # what a middleware sends itself may not come between the frames of the socket
                response = web.StreamResponse(status=401)
                await response.prepare(request)
                await response.write_eof(b"who are you?")
                return response
            if refusal == "redirected":
                return web.Response(status=302, headers={"Location": "/login"})
            if refusal == "redirect raised":
                raise web.HTTPFound("/login")
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
    with pytest.raises(TimeoutError):
        await ws.receive(timeout=0.2)  # after a few checks, which it passes
    signed_in.clear()
    assert (await ws.receive(timeout=5)).data == 4401


async def test_socket_of_a_user_who_may_no_longer_read_is_closed_with_4403(dsn: str, aiohttp_client: Callable) -> None:
    allowed = True

    async def authenticate(request: web.Request) -> bool:
        if not allowed:
            raise web.HTTPForbidden
        return True

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=authenticate, authenticate_every=0.05))
    ws = await client.ws_connect("/ws")
    await receive(ws, 1)
    allowed = False
    assert (await ws.receive(timeout=5)).data == 4403


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
    await receive(hangs, 1)
    with pytest.raises(TimeoutError):
        await hangs.receive(timeout=0.2)


async def test_login_check_that_hangs_is_asked_again(
    dsn: str, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.web.websocket.CHECK_TIMEOUT", 0.05)
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


async def test_login_check_goes_on_after_an_exception_and_a_cancelled_error_of_the_host(
    dsn: str, aiohttp_client: Callable
) -> None:
    """Stock aiopg raises CancelledError where the server has cancelled a statement."""
    raised: list[BaseException] = []
    signed_out = False

    async def authenticate(_: web.Request) -> bool:
        if raised:
            raise raised.pop()
        return not signed_out

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=authenticate))
    sockets = [await client.ws_connect("/ws") for _ in range(3)]
    for ws in sockets:
        await receive(ws, 1)
    raised, signed_out = [asyncio.CancelledError(), ValueError()], True
    await _check(iter(list(client.app[SOCKETS])), client.app[HUB])
    signed_out = False
    await create(client)
    heard = [(await ws.receive(timeout=5)).data for ws in sockets]
    assert len([data for data in heard if data == 4401]) == 1
    assert len([data for data in heard if data != 4401]) == 2


async def test_socket_stays_open_if_a_login_check_is_answered_by_anything_else(
    dsn: str, aiohttp_client: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients do not come back after 4401: a host that limits requests, or has a fault, must not end a shop's screens."""
    answers: list[web.HTTPException | web.Response] = []

    @web.middleware
    async def busy(request: web.Request, handler: Any) -> web.StreamResponse:
        if not answers:
            return await handler(request)
        if isinstance(answer := answers.pop(), Exception):
            raise answer
        return answer

    async def authenticate(_: web.Request) -> bool:
        if limited:
            raise web.HTTPTooManyRequests
        return True

    limited = False
    host, inventory = web.Application(middlewares=[busy]), create_app(dsn=dsn, authenticate=authenticate)
    host.add_subapp("/inventario/", inventory)
    client = await aiohttp_client(host)
    ws = await client.ws_connect("/inventario/ws")
    await receive(ws, 1)
    answers = [web.HTTPTooManyRequests(), web.HTTPNotFound(), web.HTTPServiceUnavailable(), web.Response(status=200)]
    for asked in range(1, 6):
        await _check(iter(list(inventory[SOCKETS])), inventory[HUB])
        limited = not answers
        assert caplog.text.count("the socket stays open") == asked
    assert [stream.closed for stream in inventory[SOCKETS]] == [False]


async def test_socket_with_a_close_frame_is_not_asked_about(dsn: str, aiohttp_client: Callable) -> None:
    asked = []

    async def authenticate(request: web.Request) -> bool:
        asked.append(request.path)
        return request.path == "/ws"

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=authenticate, authenticate_every=0.02))
    async with client.ws_connect("/", autoclose=False) as ws, client.ws_connect("/ws"):
        assert (await ws.receive(timeout=5)).data == 4401
        async with asyncio.timeout(5):
            while asked.count("/ws") < 4:
                await asyncio.sleep(0.01)
        assert len(client.app[SOCKETS]) == 2
    assert asked.count("/") == 1


async def test_handshake_that_expects_100_is_refused(client: TestClient) -> None:
    """At a later check of the login, aiohttp would send it 100 between the frames of the socket."""
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        await client.ws_connect("/ws", headers={"Expect": "100-continue"})


def test_aiohttp_without_what_checks_logins_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a private name, and sockets of users who have signed out would stay open."""
    monkeypatch.delattr(web.Application, "_handle")
    create_app(dsn="")
    with pytest.raises(RuntimeError, match="_handle"):
        create_app(dsn="", authenticate=allow)


async def test_login_check_leaves_the_request_of_the_open_socket_alone(dsn: str, aiohttp_client: Callable) -> None:
    """Middlewares of the host are still at work on it."""
    host, asked, go_on = web.Application(), asyncio.Event(), asyncio.Event()
    handshakes: list[web.Request] = []

    @web.middleware
    async def slow(request: web.Request, handler: Any) -> web.StreamResponse:
        if handshakes:
            asked.set()
            await go_on.wait()
        handshakes.append(request)
        return await handler(request)

    host.middlewares.append(slow)
    inventory = create_app(dsn=dsn, authenticate=allow, authenticate_every=0.05)
    host.add_subapp("/inventario/", inventory)
    client = await aiohttp_client(host)
    ws = await client.ws_connect("/inventario/ws")
    await receive(ws, 1)
    async with asyncio.timeout(5):
        await asked.wait()
    assert handshakes[0].app is inventory
    go_on.set()


async def test_position_is_not_lost_while_a_commit_hides_the_end_of_the_log(
    client: TestClient, connect: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows yet whether it lies beyond the end."""
    monkeypatch.setattr("inventory_ws.live.log.READING_TIMEOUT", 0.3)
    hiding = connect()
    hiding.autocommit = False
    with hiding.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(2024013002)")
        with pytest.raises(Unavailable):
            await client.app[LOG].check(7, None)
    hiding.rollback()
    with pytest.raises(Lost):
        await client.app[LOG].check(7, None)


async def test_watch_begins_when_it_is_called(client: TestClient) -> None:
    events = watch(client.app)
    await create(client)
    await settled(client, 1)
    async with asyncio.timeout(5):
        assert (await anext(events)).id == 1


def test_pause_between_login_checks_is_positive() -> None:
    with pytest.raises(ValueError, match="authenticate_every"):
        create_app(dsn="", authenticate=allow, authenticate_every=0)
