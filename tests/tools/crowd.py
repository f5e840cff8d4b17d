"""Many clients in a process of their own: crowd.c, compiled when it is first asked for, or crowd_slow.py without a cc."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from .service import ended, temporary

Report = dict[str, float]
QUICK = shutil.which("cc") is not None


@cache
def compiled(source: Path) -> Path:
    """The program of a file of C, made when it is first asked for."""
    program = temporary() / source.stem
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


def command() -> list[str]:
    """How a crowd is started."""
    if not QUICK:
        return [sys.executable, "-m", "tests.tools.crowd_slow"]
    return [str(compiled(Path(__file__).with_name("crowd.c")))]


class Crowd:
    """The clients; they have connected, and do the rest as they are told (the commands stand in crowd.c)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def heard(self) -> Report:
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            return json.loads(await self._process.stdout.readline())

    async def tell(self, line: str) -> Report:
        """Gives a command; returns what was counted so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return await self.heard()

    async def until(self, limit: float, pause: float = 0.1, **least: float) -> Report:
        """Waits until every count is at least as told, or `limit` seconds have passed; returns the counts."""
        deadline = asyncio.get_running_loop().time() + limit
        while True:
            report = await self.tell("report")
            if all(report[name] >= number for name, number in least.items()):
                return report
            if asyncio.get_running_loop().time() > deadline:
                return report
            await asyncio.sleep(pause)


@asynccontextmanager
async def crowd(port: int, count: int) -> AsyncIterator[Crowd]:
    """So many clients with open connections."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command(), str(port), str(count), stdin=pipe, stdout=pipe)
    async with ended(process):
        clients = Crowd(process)
        await clients.heard()
        yield clients
