#!/bin/sh
# websocket-client 1.9.2 (server: websockets 17.4): when the server closes, recv() returns '', as for an empty message. Only the
# recv() after it raises, and says "lost" of a connection that was closed in order. The close code is in neither: who has to tell
# 1012 (come back) from 4401 (sign in first) must call recv_data(), which returns opcode 8 with the code before the text.
# Seen: "recv: '', '', then Connection to remote host was lost." for a server that sends an empty message and closes with 4401,
# and "recv_data: 1, 8 with 4401". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check websocket-client==1.9.2 websockets==17.4
cat > "$folder/seen.py" <<'PY'
import threading

import websocket
from websockets.sync.server import ServerConnection, serve


def handler(connection: ServerConnection) -> None:
    connection.send("")
    connection.close(4401, "sign in")


print("websocket-client", websocket.__version__)
with serve(handler, "127.0.0.1", 0) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
    client = websocket.create_connection(url, timeout=5)
    seen = f"recv: {client.recv()!r}, {client.recv()!r}, then "
    try:
        seen += repr(client.recv())
    except websocket.WebSocketConnectionClosedException as exc:
        seen += str(exc)
    client = websocket.create_connection(url, timeout=5)
    (message, _), (close, payload) = client.recv_data(), client.recv_data()
    seen += f"\nrecv_data: {message}, {close} with {int.from_bytes(payload[:2], 'big')}"
    server.shutdown()
print(seen)
raise SystemExit(seen != "recv: '', '', then Connection to remote host was lost.\nrecv_data: 1, 8 with 4401")
PY
"$folder/venv/bin/python" "$folder/seen.py"
