import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from ..tools.service import ended

ROOT = Path(__file__).parents[2]


class Program:
    """A running program and what it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line it prints; "" when there is none in five seconds, or it has ended."""
        assert self.process.stdout
        try:
            async with asyncio.timeout(5):
                return (await self.process.stdout.readline()).decode().rstrip("\n")
        except TimeoutError:
            return ""

    async def output(self) -> str:
        """All that it prints until it ends, which it has to do well."""
        async with asyncio.timeout(10):
            out, _ = await self.process.communicate()
        assert self.process.returncode == 0, out
        return out.decode()


Start = Callable[..., Awaitable[Program]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts programs of ejercicios/, which end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, *args: object) -> Program:
            process = await asyncio.create_subprocess_exec(
                sys.executable, ROOT / "ejercicios" / name, *map(str, args), stdout=asyncio.subprocess.PIPE
            )
            await stack.enter_async_context(ended(process))
            return Program(process)

        yield start


@pytest.fixture
def url(client: TestClient) -> str:
    """Where the service is, as its programs are told."""
    return str(client.make_url("/")).rstrip("/")
