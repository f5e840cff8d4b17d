"""Over TLS and over a Unix socket, on both loops: the same as over TCP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import WSMsgType, web

from inventory_ws import create_app
from inventory_ws.live.hub import HUB, SOCKETS

from .conftest import PRODUCT, receive
from .test_sockets import MANY


@pytest.fixture
async def app(dsn: str, request: pytest.FixtureRequest) -> web.Application:
    return create_app(dsn=dsn, **getattr(request, "param", {}))


@pytest.fixture(params=["tls", "unix"])
async def session(
    request: pytest.FixtureRequest, app: web.Application, tmp_path: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the service."""
    runner = web.AppRunner(app)
    await runner.setup()
    if request.param == "unix":
        path = str(tmp_path / "s")
        await web.UnixSite(runner, path).start()
        connector, url = aiohttp.UnixConnector(path), "http://localhost"
    else:
        authority = trustme.CA()
        context, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(trusting)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        connector, url = aiohttp.TCPConnector(ssl=trusting), f"https://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url, connector=connector) as session:
        yield session
    await runner.cleanup()


async def code(ws: aiohttp.ClientWebSocketResponse) -> int | None:
    """Of the close frame: over TLS aiohttp's own answer to it can fail, and becomes its close_code."""
    while (received := await ws.receive(timeout=5)).type is WSMsgType.TEXT:
        pass
    return received.data


async def test_changes_are_received_and_resumed(session: aiohttp.ClientSession) -> None:
    ws = await session.ws_connect("/ws")
    await receive(ws, 1)
    for _ in range(3):
        async with session.post("/api/productos", json=PRODUCT) as resp:
            assert resp.status == 201, await resp.text()
    assert [event["id"] for event in await receive(ws, 3)] == [1, 2, 3]
    again = await session.ws_connect("/ws?last_event_id=1")
    assert [event.get("id") for event in await receive(again, 3)] == [None, 2, 3]


async def test_close_codes(session: aiohttp.ClientSession) -> None:
    ws = await session.ws_connect("/ws", autoclose=False)
    await ws.send_bytes(b"PING")
    assert await code(ws) == 1003


async def test_shutdown_closes_with_1001(session: aiohttp.ClientSession, app: web.Application) -> None:
    ws = await session.ws_connect("/ws", autoclose=False)
    await receive(ws, 1)
    ending = asyncio.create_task(app.shutdown())
    assert await code(ws) == 1001
    await ws.close()
    await ending


async def test_slow_client_misses_nothing(session: aiohttp.ClientSession, app: web.Application, psql: Callable) -> None:
    slow, other = await session.ws_connect("/ws"), await session.ws_connect("/ws")
    await receive(slow, 1)
    slow._response.connection.transport.pause_reading()
    psql(MANY)
    assert [event.get("id") for event in await receive(other, 1001)] == [None, *range(1, 1001)]
    assert min(stream.cursor for stream in app[SOCKETS]) < 1000, "it is behind"
    slow._response.connection.transport.resume_reading()
    assert [event["id"] for event in await receive(slow, 1000)] == list(range(1, 1001))


@pytest.mark.parametrize("app", [{"ping_every": 0.2}], indirect=True)
async def test_vanished_client_is_removed(session: aiohttp.ClientSession, app: web.Application) -> None:
    ws = await session.ws_connect("/ws", autoping=False)
    await receive(ws, 1)
    transport = ws._response.connection.transport
    transport.pause_reading()  # as one whose network is gone, it answers no ping
    async with asyncio.timeout(5):
        while app[SOCKETS]:
            await asyncio.sleep(0.01)
    transport.abort()  # it does not hear that it was given up


async def test_connection_that_is_closed_twice_keeps_no_event_from_others(
    session: aiohttp.ClientSession, app: web.Application
) -> None:
    """After a second close(), asyncio's TLS transport raises AttributeError."""
    closed = await session.ws_connect("/ws", autoclose=False)
    await receive(closed, 1)
    (stream,) = app[SOCKETS]
    other = await session.ws_connect("/ws")
    await receive(other, 1)
    closed._response.connection.transport.pause_reading()  # so that it stays in the set
    app[HUB].disconnect(stream, 1012)
    app[HUB].disconnect(stream, 1012)
    stream.transport.close()
    async with session.post("/api/productos", json=PRODUCT) as resp:
        assert resp.status == 201, await resp.text()
    assert (await receive(other, 1))[0]["id"] == 1
