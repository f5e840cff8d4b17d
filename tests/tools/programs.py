"""Programs that a test starts, each with all that it starts in turn, and in folders of its own."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")


class Program:
    """A running program, and the file of what it writes."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    async def lost(self) -> AssertionError:
        """What to raise where it does not answer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), 1)
        said = self.log.read_text(errors="replace")[-4000:]
        return AssertionError(f"{self.name} (exit status {self.process.returncode}) wrote: {said}")

    async def until(self, look: Callable[[], Found | None]) -> Found:
        """Waits until it has come so far that there is something to be found."""
        for _ in range(600):
            if found := look():
                return found
            if self.process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise await self.lost()

    async def written(self, pattern: str) -> str:
        """Waits until it has written a line like this, and returns the group."""
        return (await self.until(lambda: re.search(pattern, self.log.read_text(errors="replace"), re.MULTILINE)))[1]


def listens(port: int) -> bool:
    """Whether somebody does."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@asynccontextmanager
async def program(home: Path, environment: dict[str, str], name: str, *arguments: str) -> AsyncIterator[Program]:
    """Ends, with the block, the program and all that it started."""
    log = home / f"{Path(name).name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            name, *arguments, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield Program(name, process, log)
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, TimeoutError):
                os.killpg(process.pid, number)
                await asyncio.wait_for(process.wait(), 5)


def environment(home: Path) -> dict[str, str]:
    """Nothing of the account's: neither its settings nor its screen nor its bus."""
    folders = {name: home / name.lower() for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
    for folder in folders.values():
        folder.mkdir(0o700)
    return {name: str(folder) for name, folder in folders.items()} | {
        "PATH": os.environ["PATH"],
        "LC_ALL": "es_ES.UTF-8",  # or, where it is not installed, English
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "NO_AT_BRIDGE": "1",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "MOZ_CRASHREPORTER_DISABLE": "1",
        "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",  # a container has no namespaces for it
    }
