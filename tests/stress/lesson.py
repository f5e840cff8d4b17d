"""What aiohttp does by itself: a compressor for each socket. POST /broadcast sends its body to all of them."""

import sys

from aiohttp import web

CLIENTS = web.AppKey("CLIENTS", set)


async def broadcast(request: web.Request) -> web.Response:
    text = await request.text()
    for ws in list(request.app[CLIENTS]):
        await ws.send_str(text)
    return web.Response()


async def websocket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=True, heartbeat=30)
    await ws.prepare(request)
    request.app[CLIENTS].add(ws)
    try:
        async for _ in ws:
            pass
    finally:
        request.app[CLIENTS].discard(ws)
    return ws


async def health(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    app = web.Application()
    app[CLIENTS] = set()
    app.add_routes([web.get("/", health), web.get("/ws", websocket), web.post("/broadcast", broadcast)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, backlog=1024)
