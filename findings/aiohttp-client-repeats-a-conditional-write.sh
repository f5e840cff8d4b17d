#!/bin/sh
# aiohttp 3.14.5: a ClientSession sends PUT and DELETE once more, silently, if the connection ends before their answer, a new
# connection too. HTTP calls them idempotent. With If-Match they are not: the first was executed, the second is told 412 because of
# it, and the caller believes that somebody else has changed the resource. No public parameter prevents it. PATCH raises. The client
# of aiohttp's test utilities repeats nothing: a test with it never sees the 412.
# Seen: "ClientSession: DELETE 412 after 2, PUT 412 after 2, PATCH ServerDisconnectedError after 1" and "TestClient: DELETE
# ServerDisconnectedError after 1, PUT ServerDisconnectedError after 1, PATCH ServerDisconnectedError after 1". Exit status 1 if
# that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5
cat > "$folder/seen.py" <<'PY'
import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


class Resource:
    """Each change of it, made if it has the expected version, loses its answer."""

    def __init__(self) -> None:
        self.version, self.requests = 1, 0

    async def change(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.headers["If-Match"] != f'"{self.version}"':
            raise web.HTTPPreconditionFailed
        self.version += 1
        request.transport.abort()
        return web.Response()


async def outcome(client: Callable, method: str) -> str:
    resource = Resource()
    app = web.Application()
    app.add_routes([web.route("*", "/", resource.change)])
    async with TestServer(app) as server, client(server) as session:
        try:
            async with session.request(method, "/", headers={"If-Match": '"1"'}) as response:
                told = str(response.status)
        except aiohttp.ClientError as exc:
            told = type(exc).__name__
    return f"{method} {told} after {resource.requests}"


def client_session(server: TestServer) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(server.make_url("/"))


async def main() -> None:
    print("aiohttp", aiohttp.__version__)
    seen = {
        name: [await outcome(client, method) for method in ("DELETE", "PUT", "PATCH")]
        for name, client in {"ClientSession": client_session, "TestClient": TestClient}.items()
    }
    print(*(f"{name}: {', '.join(outcomes)}" for name, outcomes in seen.items()), sep="\n")
    disconnected = "ServerDisconnectedError after 1"
    wanted = {
        "ClientSession": ["DELETE 412 after 2", "PUT 412 after 2", f"PATCH {disconnected}"],
        "TestClient": [f"DELETE {disconnected}", f"PUT {disconnected}", f"PATCH {disconnected}"],
    }
    raise SystemExit(seen != wanted)


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py"
