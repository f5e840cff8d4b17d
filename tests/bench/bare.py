"""`python -m tests.bench.bare PORT`: a WebSocket handler of ten lines, run as this service is. accept.py compares them."""

import sys
from weakref import WeakSet

from aiohttp import web

from inventory_ws.cli import addresses
from inventory_ws.cli.logs import AccessLog
from inventory_ws.cli.main import ACCEPT_BATCH, KEEPALIVE, _tune

WELCOME = '{"type":"CONNECTION_ESTABLISHED","message":"%s"}' % ("x" * 129)  # as long as ours
sockets = WeakSet[web.WebSocketResponse]()


async def websocket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(heartbeat=30, compress=False)
    await ws.prepare(request)
    sockets.add(ws)
    await ws.send_str(WELCOME)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


async def product(_: web.Request) -> web.Response:
    return web.json_response({"success": True})


def main(port: int) -> None:
    app = web.Application()
    app.add_routes([web.get("/ws", websocket), web.get("/api/productos/1", product)])
    sock = addresses.listen("127.0.0.1", port)

    def started(_: str) -> None:
        _tune()
        sock.listen(addresses.QUEUE)

    web.run_app(
        app,
        sock=sock,
        print=started,
        backlog=ACCEPT_BATCH,
        access_log_class=AccessLog,
        keepalive_timeout=KEEPALIVE,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
