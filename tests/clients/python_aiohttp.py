import asyncio
import json
import sys

import aiohttp


async def main(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers, compress=15) as ws:
        async for message in ws:
            print(message.data, flush=True)
        print(json.dumps({"code": ws.close_code}))


asyncio.run(main(*sys.argv[1:]))
