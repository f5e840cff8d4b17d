#!/bin/sh
# gunicorn 27.0.1 with aiohttp 3.14.5 (aiohttp.GunicornWebWorker): after --max-requests a worker stops accepting and waits for its
# handlers, and its successor starts when it has ended. The handler of an open WebSocket does not end. With one worker, which
# services with WebSockets often have, nobody answers meanwhile; who connects waits in the queue of the port, without an error.
# It lasts until the client goes or, with gunicorn's defaults, 30 seconds: then --timeout kills the worker amid its cleanup. An
# application avoids it if it closes its sockets in on_shutdown.
# Seen: "without a socket: answered by the next worker", "with a socket: waits, one worker so far", "socket closed: answered by the
# next worker". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gunicorn==27.0.1 aiohttp==3.14.5
cat > "$folder/application.py" <<'PY'
import os

from aiohttp import web


async def socket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


async def pid(request: web.Request) -> web.Response:
    return web.Response(text=str(os.getpid()))


app = web.Application()
app.add_routes([web.get("/socket", socket), web.get("/pid", pid)])
PY
cat > "$folder/seen.py" <<'PY'
import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

FOLDER = Path(sys.argv[1])
LOG = FOLDER / "log"


def workers() -> int:
    return LOG.read_text().count("Booting worker")


@asynccontextmanager
async def gunicorn() -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = f"-m gunicorn application:app -k aiohttp.GunicornWebWorker -b 127.0.0.1:{port} --max-requests 2"
    with LOG.open("w") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments.split(), cwd=FOLDER, env=os.environ | {"HOME": str(FOLDER)}, stderr=log
        )
    try:
        while not workers():
            await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def asked(url: str) -> str:
    async with ClientSession(connector=TCPConnector(force_close=True)) as session, session.get(f"{url}/pid") as response:
        return await response.text()


async def used_up(url: str) -> str:
    """Send requests until their worker has had enough of them. Return its pid."""
    first = await asked(url)
    while "Max requests" not in LOG.read_text():
        await asyncio.wait([asyncio.create_task(asked(url))], timeout=0.5)
    return first


async def main() -> None:
    print("gunicorn", version("gunicorn"), "aiohttp", version("aiohttp"))
    seen = []
    async with gunicorn() as url:
        first = await used_up(url)
        seen.append(f"without a socket: answered by {'the first' if await asked(url) == first else 'the next'} worker")
    async with gunicorn() as url, ClientSession() as session, session.ws_connect(f"{url}/socket") as ws:
        first = await used_up(url)
        late = asyncio.create_task(asked(url))
        await asyncio.wait([late], timeout=5)
        seen.append(f"with a socket: {'answered' if late.done() else 'waits'}, {'one worker' if workers() == 1 else 'two'} so far")
        await ws.close()
        seen.append(f"socket closed: answered by {'the first' if await late == first else 'the next'} worker")
    print(*seen, sep="\n")
    wanted = ["without a socket: answered by the next worker", "with a socket: waits, one worker so far"]
    wanted.append("socket closed: answered by the next worker")
    raise SystemExit(seen != wanted)


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder"
