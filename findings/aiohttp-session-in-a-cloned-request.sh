#!/bin/sh
# aiohttp 3.14.5 with aiohttp-session 2.12.1: Request.clone() copies what is stored in the request, and aiohttp-session stores
# the session there. A WebSocket handler that asks get_session(request.clone()) again later is given the session of its
# handshake for ever, also after the user has signed out in another request. Only a copy that is emptied, and passes the
# session middleware again, is given the session as it is now.
# Seen: "kept request: ana", "clone: ana", "emptied clone within the middleware: None". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 aiohttp-session==2.12.1
cat > "$folder/seen.py" <<'PY'
import asyncio
import json
from importlib.metadata import version

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_session import AbstractStorage, Session, get_session, new_session, session_middleware

STORED: dict[str, str] = {}


class Memory(AbstractStorage):
    """Sessions on the server; the cookie is their key."""

    async def load_session(self, request: web.Request) -> Session:
        key = self.load_cookie(request)
        return Session(key, data=json.loads(STORED[key]), new=False) if key in STORED else Session(None, data=None, new=True)

    async def save_session(self, request: web.Request, response: web.StreamResponse, session: Session) -> None:
        STORED["key"] = json.dumps(self._get_session_data(session))
        self.save_cookie(response, "key")


async def sign_in(request: web.Request) -> web.Response:
    (await new_session(request))["user"] = "ana"
    return web.Response()


async def sign_out(request: web.Request) -> web.Response:
    STORED.clear()
    return web.Response()


async def socket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await get_session(request)
    async for _ in ws:
        answers = [(await get_session(request)).get("user"), (await get_session(request.clone())).get("user")]
        emptied = request.clone()
        emptied.clear()

        async def ask(request: web.Request) -> web.Response:
            answers.append((await get_session(request)).get("user"))
            return web.Response()

        await MIDDLEWARE(emptied, ask)
        await ws.send_json(answers)
    return ws


MIDDLEWARE = session_middleware(Memory())


async def main() -> None:
    app = web.Application(middlewares=[MIDDLEWARE])
    app.add_routes([web.post("/in", sign_in), web.post("/out", sign_out), web.get("/ws", socket)])
    async with TestClient(TestServer(app)) as client:
        await client.post("/in")
        async with client.ws_connect("/ws") as ws:
            await client.post("/out")
            await ws.send_str("who?")
            kept, cloned, again = await ws.receive_json(timeout=5)
    print("aiohttp", version("aiohttp"), "aiohttp-session", version("aiohttp-session"))
    print(f"kept request: {kept}\nclone: {cloned}\nemptied clone within the middleware: {again}")
    raise SystemExit((kept, cloned, again) != ("ana", "ana", None))


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py"
