"""Programs in many languages, a few lines each in tests/clients/, hear what the README promises to any client."""

import asyncio
import json
import os
import sys
from asyncio import gather
from asyncio.subprocess import DEVNULL, create_subprocess_shell
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from .test_main import service  # noqa: F401
from .test_proxies import NOT_INSTALLED, QUIET, get, make, passed_on
from .tools.programs import Program, environment, program

CLIENTS = Path(__file__).with_name("clients")
DEBIAN = {"NODE_PATH": "/usr/share/nodejs", "GOPATH": "/usr/share/gocode", "GO111MODULE": "off"}
TEXTS = ["ñ€😀", "\x01" * 10_000, "\x02" * 10_000]  # the last event is as long as an event may be: 125 KB


class Client(NamedTuple):
    """`command FILE URL TOKEN` prints each message in a line, and then the code that its socket is closed with. `probe`: a line
    of the shell that succeeds where it is installed. `optional`: .ci/run does not install it. `tells`: whether it knows codes."""

    file: str
    command: tuple[str, ...] = (sys.executable,)
    probe: str = "true"
    optional: bool = False
    tells: bool = True


PROGRAMS = [
    Client("python_aiohttp.py"),
    Client("python_websockets.py"),
    Client("python_websocket_client.py"),
    Client("python_tornado.py"),
    Client("node_ws.cjs", ("node",), """node -e 'require("ws")'"""),
    Client("node_own.cjs", ("node", "--experimental-websocket"), "node --experimental-websocket -e 0", optional=True),
    Client("perl_mojolicious.pl", ("perl",), "perl -MMojo::UserAgent -e 0"),
    Client("libsoup.py", ("/usr/bin/python3",), '/usr/bin/python3 -c \'import gi; gi.require_version("Soup", "3.0")\''),
    Client("lua_http.lua", ("lua5.1",), "lua5.1 -lhttp.websocket -e ''"),
    Client("tcl_tcllib.tcl", ("tclsh",), "tclsh /usr/share/tcltk/tcllib*/websocket/websocket.tcl"),
    Client("ruby_faye.rb", ("ruby",), "ruby -rfaye/websocket -e 0"),
    Client("go_gorilla.go", ("go", "run"), "go version && ls $GOPATH/src/github.com/gorilla/websocket"),
    Client("go_x_net.go", ("go", "run"), "go version && ls $GOPATH/src/golang.org/x/net/websocket", tells=False),
    Client("java_net_http.java", ("java", "-Dfile.encoding=UTF-8"), "javac --version", optional=True),
]


async def is_installed(client: Client) -> bool:
    probe = await create_subprocess_shell(client.probe, stdout=DEVNULL, stderr=DEVNULL, env=os.environ | DEBIAN)
    return await probe.wait() == 0


def heard(listener: Program) -> list[Any]:
    """What it has printed in whole lines."""
    return [json.loads(line) for line in listener.log.read_text().split("\n")[:-1] if line.startswith("{")]


async def has_heard(listener: Program, number: int) -> None:
    await listener.until(lambda: len(heard(listener)) >= number)


async def listened(service: Callable, folder: Path) -> dict[str, BaseException | None]:  # noqa: F811
    """What each program does wrong, if anything: with a wrong token, and from a position on until the service ends."""
    installed = await gather(*map(is_installed, PROGRAMS))
    required = "REQUIRE_ALL" in os.environ
    here = [one for one, found in zip(PROGRAMS, installed, strict=True) if found or (required and not one.optional)]
    server = service("--compress", "--token", "clave")
    bearer = {"Authorization": "Bearer clave"}
    async with AsyncExitStack() as stack, aiohttp.ClientSession(server.url, headers=bearer) as session:

        async def start(client: Client, token: str) -> Program:
            (home := folder / f"{client.file}-{token}").mkdir()
            env = environment(home) | DEBIAN | {"GOCACHE": str(folder / "go")}
            words = (*client.command, str(CLIENTS / client.file), url, token)
            return await stack.enter_async_context(program(home, env, *words))

        path = [await make(session) for _ in range(3)][-1]
        _, listed = await get(session, "/api/productos?limit=1")
        url = f"{server.url.replace('http', 'ws')}/ws?last_event_id=1&epoch={listed['epoch']}"
        refused = [await start(client, "otra") for client in here]
        listeners = [await start(client, "clave") for client in here]
        await gather(*(has_heard(listener, 3) for listener in listeners), return_exceptions=True)
        await asyncio.sleep(QUIET)
        for text in TEXTS:
            async with session.patch(path, json={"descripcion": text}) as resp:
                assert resp.status == 200, await resp.text()
        await gather(*(has_heard(listener, 6) for listener in listeners), return_exceptions=True)
        _, past = await get(session, "/api/eventos?after=1")
        server.process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await gather(*(listener.process.wait() for listener in refused + listeners))
        assert server.process.wait(20) == 0
        server.stop()

    async def judge(client: Client, refused: Program, listener: Program) -> None:
        assert heard(refused) == [{"code": 4401 if client.tells else None}], refused.log.read_text()
        welcome, *events, last = heard(listener) or [{}, {}]
        told = [(message.get("type"), message.get("id"), message.get("code")) for message in (welcome, *events, last)]
        assert (welcome.get("last_event_id"), welcome.get("recovered")) == (1, True), told
        assert events == past["data"], told
        assert last == {"code": 1001 if client.tells else None}, told

    ends = await gather(*map(judge, here, refused, listeners), return_exceptions=True)
    faults = zip([client.file for client in here], ends, strict=True)
    return dict.fromkeys([client.file for client in PROGRAMS], NOT_INSTALLED) | dict(faults)


@pytest.mark.slow
async def test_proxies_and_clients_pass_through_a_while_of_quiet(
    service: Callable,  # noqa: F811
    folder: Path,
    subtests: pytest.Subtests,
) -> None:
    """All at the same time, because each of them waits for 45 s."""
    async with asyncio.TaskGroup() as both:
        works = [both.create_task(work(service, folder)) for work in (listened, passed_on)]
    for work in works:
        for name, fault in work.result().items():
            with subtests.test(name):
                if fault:
                    raise fault
