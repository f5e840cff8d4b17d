"""What puts a server under load: wrk for HTTP, fanout.c for sockets."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import NamedTuple

from ..tools.crowd import Crowd, Report, compiled
from ..tools.service import TICKS, Service, ended, writer

FANOUT = Path(__file__).with_name("fanout.c")
PRODUCTS = 1_000  # that are there at the start
LOAD = Path(__file__).with_name("load.lua")
PIPE = asyncio.subprocess.PIPE


class Request(NamedTuple):
    """What `connections` ask for as fast as they are answered; %d as in load.lua, %n the products created after the first thousand.
    `known`: with the ETag of an answer got before. `keyed`: each with a key of its own."""

    connections: int
    method: str
    path: str
    body: str = ""
    known: bool = False
    keyed: bool = False


def lacks() -> dict[str, str]:
    """The tools that this machine has not, and what that means."""
    said = {"wrk": "wrk, a Debian package: no row of HTTP", "cc": "cc, a C compiler: no row of sockets"}
    return {tool: words for tool, words in said.items() if not shutil.which(tool)}


def postgres_cpu(dsn: str) -> float:
    """Seconds of CPU that PostgreSQL's processes have used, those that have ended too."""
    with closing(writer(dsn)) as conn:
        backend = Path(f"/proc/{conn.get_backend_pid()}/stat").read_text().rpartition(")")[2].split()
        server = backend[1]
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        own = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
        ticks = sum(map(int, own[11:15]))
        for child in children:
            with suppress(FileNotFoundError):  # it has just ended
                words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                ticks += int(words[11]) + int(words[12])
    return ticks / TICKS


async def etag(service: Service, path: str) -> str | None:
    """The ETag of an answer; None where the server has none or does not know it again."""
    async with service.session.get(service.url + path) as resp:
        tag = resp.headers.get("ETag")
    async with service.session.get(service.url + path, headers={"If-None-Match": tag or "-"}) as resp:
        return tag if resp.status == 304 else None


async def load(service: Service, request: Request, seconds: int) -> tuple[float, float, float] | None:
    """Requests a second, and the milliseconds of an answer, p50 and p99; None where the server has no such thing."""
    _, method, path, body, known, keyed = request
    words = [method, path, body, "", "bench-" if keyed else ""]
    if known:
        if (tag := await etag(service, path)) is None:
            return None
        words[3] = tag
    if "%n" in path:
        rows = (await service.get(f"/api/productos?after={PRODUCTS}&limit=1"))["data"]
        if not rows or rows[0]["id"] <= PRODUCTS:
            return None
        words.append(str(rows[0]["id"]))
    command = ["wrk", "-t1", f"-c{request.connections}", f"-d{seconds}s", "-s", str(LOAD), service.url, "--", *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    async with ended(process), asyncio.timeout(seconds + 20):
        said = (await process.communicate())[0].decode()
    report = json.loads(said.splitlines()[-1])
    assert not report["failed"], f"{method} {path}: {said}"
    return report["requests"] / report["seconds"], report["p50"], report["p99"]


@asynccontextmanager
async def fanout(port: int, *options: str) -> AsyncIterator[Crowd]:
    """Takes the commands that stand in fanout.c."""
    process = await asyncio.create_subprocess_exec(compiled(FANOUT), str(port), *options, stdin=PIPE, stdout=PIPE)
    async with ended(process):
        yield Crowd(process)


async def floor(sockets: int, size: int, rounds: int) -> Report:
    words = ("floor", str(sockets), str(size), str(rounds))
    process = await asyncio.create_subprocess_exec(compiled(FANOUT), *words, stdout=PIPE)
    async with ended(process):
        return await Crowd(process).heard()
