import json
import sys

from websocket import WebSocketApp

url, token = sys.argv[1:]
WebSocketApp(
    url,
    header={"Authorization": f"Bearer {token}"},
    on_message=lambda _, message: print(message, flush=True),
    on_close=lambda _, code, reason: print(json.dumps({"code": code})),
).run_forever()
