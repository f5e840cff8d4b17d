"""What the README says is what happens: its commands and its programs are run and their output compared."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from inventory_ws.cli.flags import parser

from .test_main import ROOT, Service, service  # noqa: F401
from .tools.markdown import blocks, commands, curl, timeless
from .tools.nginx import NGINX, nginx

pytestmark = pytest.mark.slow

SECRET = "bearer.Y2xhdmU"  # the token "clave", as a browser offers it
needs_nginx = pytest.mark.skipif(
    NGINX is None and "REQUIRE_ALL" not in os.environ, reason="there is no nginx: its configuration is not tested"
)
README = (ROOT / "README.md").read_text()


def test_session_of_the_readme_is_what_happens(service: Callable, psql: Callable, tmp_path: Path) -> None:  # noqa: F811
    one = service("--demo")
    listener = blocks(README, "python")[0].text.replace("http://localhost:3000", one.url)
    (heard,) = blocks(README, "json")
    session = "".join(block.text for block in blocks(README, "console"))
    (file,) = blocks(README, "csv")
    (tmp_path / "catalogo.csv").write_text(file.text)
    listening = subprocess.Popen([sys.executable, "-c", listener], stdout=subprocess.PIPE, text=True)
    try:
        out = [listening.stdout.readline()]
        for command, expected in commands(session):
            command = command.replace("http://localhost:3000", one.url).replace("@", f"@{tmp_path}/")
            if "/api/salud" in command:  # which tells how far the feed has come
                while [(one.get("/api/salud")["data"]["last_event_id"],)] != psql("SELECT max(id) FROM eventos"):
                    time.sleep(0.01)
            assert timeless(curl(command).replace("\r\n", "\n").strip() + "\n") == timeless(expected)
        out.append(listening.stdout.readline())
        assert timeless("".join(out)) == timeless(heard.text)
        assert len(list(commands(session))) == 7
    finally:
        listening.kill()
        listening.communicate()


def test_flags_of_the_readme_match_the_program() -> None:
    known = {option for action in parser()._actions for option in action.option_strings} - {"-h", "--help", "--version"}
    assert set(re.findall(r"^\| `(--[a-z-]+)`", README, re.MULTILINE)) == known


def test_routes_of_the_readme_match_the_program(service: Callable) -> None:  # noqa: F811
    one = service()
    for path in ("/api/productos?limit=1&after=0&q=x", "/api/eventos?after=0&limit=1", "/api/salud"):
        assert path.partition("?")[0] in README
        assert json.dumps(one.get(path))


@needs_nginx
async def test_nginx_of_the_readme_passes_requests_and_sockets(service: Callable, folder: Path) -> None:  # noqa: F811
    one = service("--hosts", "inventario.example", "--token", "clave")
    with nginx(folder / "nginx", [URL(one.url).port]) as port:
        await passes(one, f"http://127.0.0.1:{port}")


async def passes(one: Service, url: str) -> None:
    ours = {"Host": "inventario.example", "Authorization": "Bearer clave", "Origin": "https://inventario.example"}
    async with aiohttp.ClientSession(url, headers=ours) as session:

        async def create(**headers: str) -> int:
            async with session.post("/api/productos", json={"nombre": "Teclado", "precio": 1}, headers=headers) as resp:
                return resp.status

        async with session.get("/") as resp:
            assert "<title>Inventario</title>" in await resp.text()
        assert await create(Origin="https://evil.example") == 403
        assert await create(Host="evil.example") == 421
        assert await create(Authorization="Bearer otra") == 401
        async with session.get("/api/productos", headers={"X": "x" * 7000}) as resp:
            assert resp.status == 200
        async with session.post("/api/productos", json={"nombre": "x" * 70_000, "precio": 1}) as resp:
            assert resp.status == 413
            assert (await resp.json())["success"] is False
        rows = f";1;{'x' * 9000}\n" * 300  # 2.7 MB, and no name
        file = io.BytesIO(f"nombre;precio;descripcion\n{rows}".encode())
        async with session.post("/api/productos", data=file, headers={"Content-Type": "text/csv"}) as resp:
            assert resp.status == 400
        async with session.ws_connect("/ws") as ws:
            welcome = await ws.receive_json(timeout=5)
            assert await create() == 201
            assert (await ws.receive_json(timeout=5))["id"] == 1
        assert await create() == 201
        assert await create() == 201
        resume = f"/?last_event_id=1&epoch={welcome['epoch']}"
        async with session.ws_connect(resume, headers={"Authorization": ""}, protocols=("inventario.v1", SECRET)) as ws:
            assert (await ws.receive_json(timeout=5))["recovered"] is True
            assert [(await ws.receive_json(timeout=5))["id"] for _ in range(2)] == [2, 3]
            one.process.terminate()
            assert (await ws.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
            assert ws.close_code == 1001
    assert one.process.wait(20) == 0
    one.stop()
