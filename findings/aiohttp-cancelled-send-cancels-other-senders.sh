#!/bin/sh
# aiohttp 3.14.5 (seen with CPython 3.11.7): all who send to one WebSocket wait for its buffer by one future. If one of them gives
# up, by asyncio.timeout() or because its task is cancelled, the future is cancelled, and everybody else who waits there, or sends
# before the buffer is empty again, gets asyncio.CancelledError: tasks that nobody has cancelled end in silence. asyncio's
# StreamWriter.drain(), which gives each a future of its own, lets the others wait on.
# Seen: "aiohttp: the other sender is cancelled, a later one is cancelled" and "asyncio: the other sender waits, a later one waits".
# Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5
cat > "$folder/seen.py" <<'PY'
import asyncio
import base64
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

MESSAGE = "x" * 500_000  # large enough to have the sender wait for the buffer each time


async def outcome(send: Callable[[], Awaitable[None]], transport: asyncio.Transport) -> str:
    """What becomes of two senders after one beside them has given up. The peer reads nothing."""
    while not transport.get_write_buffer_size():
        transport.write(MESSAGE.encode())
    gives_up, other = asyncio.create_task(send()), asyncio.create_task(send())
    await asyncio.wait([other], timeout=0.3)  # both wait
    gives_up.cancel()
    await asyncio.wait([other], timeout=0.3)
    later = asyncio.create_task(send())
    await asyncio.wait([later], timeout=0.3)
    states = ["is cancelled" if task.cancelled() else "waits" for task in (other, later)]
    for task in (other, later):
        task.cancel()
    transport.abort()
    return f"the other sender {states[0]}, a later one {states[1]}"


async def with_aiohttp() -> str:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        seen.put_nowait(await outcome(lambda: ws.send_str(MESSAGE), request.transport))
        return ws

    app = web.Application()
    app.add_routes([web.get("/", handler)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, peer = await asyncio.open_connection(*runner.addresses[0], limit=1000)
    head = ["GET / HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    head += [f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}", "", ""]
    peer.write("\r\n".join(head).encode())
    try:
        return f"aiohttp: {await asyncio.wait_for(seen.get(), 10)}"
    finally:
        peer.transport.abort()
        await runner.cleanup()


async def with_asyncio() -> str:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send() -> None:
            writer.write(MESSAGE.encode())
            await writer.drain()

        seen.put_nowait(await outcome(send, writer.transport))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        _, peer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1000)
        try:
            return f"asyncio: {await asyncio.wait_for(seen.get(), 10)}"
        finally:
            peer.transport.abort()


async def main() -> None:
    print("aiohttp", aiohttp.__version__)
    seen = [await with_aiohttp(), await with_asyncio()]
    print(*seen, sep="\n")
    wanted = ["aiohttp: the other sender is cancelled, a later one is cancelled"]
    wanted += ["asyncio: the other sender waits, a later one waits"]
    raise SystemExit(seen != wanted)


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py"
