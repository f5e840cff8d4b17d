import json
import sys
from contextlib import suppress

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url, token = sys.argv[1:]
with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as ws:
    with suppress(ConnectionClosed):
        for message in ws:
            print(message, flush=True)
    print(json.dumps({"code": ws.close_code}))
