#!/bin/sh
# aiohttp 3.14.5: the server of its test utilities cancels the handler of a client that has gone; AppRunner, which runs the
# same application in production, lets it go on. A test in which a client leaves therefore never sees what the handler does
# afterwards: neither the change that it completes, nor the exception that it raises.
# Seen: "TestServer: cancelled" and "AppRunner: completed". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5
cat > "$folder/seen.py" <<'PY'
import asyncio

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer


def application() -> tuple[web.Application, asyncio.Event, asyncio.Queue]:
    started, ends = asyncio.Event(), asyncio.Queue()

    async def handler(request: web.Request) -> web.Response:
        started.set()
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            ends.put_nowait("cancelled")
            raise
        ends.put_nowait("completed")
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/", handler)])
    return app, started, ends


async def leave(port: int, started: asyncio.Event, ends: asyncio.Queue) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    await started.wait()
    writer.close()
    return await asyncio.wait_for(ends.get(), 5)


async def main() -> None:
    print("aiohttp", aiohttp.__version__)
    app, *rest = application()
    async with TestServer(app) as server:
        first = await leave(server.port, *rest)
    app, *rest = application()
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    second = await leave(runner.addresses[0][1], *rest)
    await runner.cleanup()
    print(f"TestServer: {first}\nAppRunner: {second}")
    raise SystemExit((first, second) != ("cancelled", "completed"))


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py"
