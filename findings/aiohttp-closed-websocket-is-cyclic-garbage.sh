#!/bin/sh
# aiohttp 3.14.5 (seen with CPython 3.11.7): a closed WebSocket of a server is not freed when its handler ends, if it had a
# heartbeat. The connection refers to the response by a callback for received data, and the response to the connection. All of
# it stays in memory until the garbage collector runs over the oldest generation, which stops the event loop for a third of a
# second where ten thousand sockets are open.
# Seen, with both ends in one process: "objects a socket: with a heartbeat 48, without 14". Exit status 1 if the heartbeat no
# longer leaves over 20 more.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5
cat > "$folder/seen.py" <<'PY'
import asyncio
import gc
from importlib.metadata import version

from aiohttp import ClientSession, web

SOCKETS = 200


async def garbage(heartbeat: float | None) -> float:
    """How many objects each closed socket leaves to the collector."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=heartbeat)
        await ws.prepare(request)
        async for _ in ws:
            pass
        return ws

    app = web.Application()
    app.add_routes([web.get("/", handler)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with ClientSession() as session:
        counts = []
        for sockets in (SOCKETS, 2 * SOCKETS):  # the difference leaves out what does not depend on their number
            gc.collect()
            gc.disable()
            for _ in range(sockets):
                ws = await session.ws_connect(url)
                await ws.close()
            del ws
            await asyncio.sleep(0.3)
            counts.append(gc.collect())
            gc.enable()
    await runner.cleanup()
    return (counts[1] - counts[0]) / SOCKETS


async def main() -> None:
    print("aiohttp", version("aiohttp"))
    beating, silent = await garbage(30.0), await garbage(None)
    print(f"objects a socket: with a heartbeat {beating:.0f}, without {silent:.0f}")
    raise SystemExit(not beating > silent + 20)


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py"
