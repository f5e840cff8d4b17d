import asyncio
import json
import sys

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect


async def main(url: str, token: str) -> None:
    request = HTTPRequest(url, headers={"Authorization": f"Bearer {token}"})
    ws = await websocket_connect(request, compression_options={})
    while (message := await ws.read_message()) is not None:
        print(message, flush=True)
    print(json.dumps({"code": ws.close_code}))


asyncio.run(main(*sys.argv[1:]))
