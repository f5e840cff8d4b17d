"""The service is killed, and its PostgreSQL is: the embedded one, on data of its own."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing, suppress
from pathlib import Path

import psutil
import psycopg2

from ..tools.service import PATIENCE, Figure, Service, free_port, running, temporary, writer
from .accounts import Accounts, kept

LIMIT = 10.0 * PATIENCE  # seconds until all is at work again


def data_folder() -> Path:
    """A new one, in a folder that any account can enter."""
    return temporary() / f"data-{time.monotonic_ns()}"


def serving(data: Path, port: int) -> AbstractAsyncContextManager[Service]:
    """The service with a PostgreSQL of its own."""
    command = ("inventory_ws", "--port", str(port), "--data-dir", str(data))
    return running(*command, ready="/api/salud", port=port)


def dsn_of(data: Path) -> str:
    return f"postgresql://postgres@/inventario?host={data}&port=5432"


def processes(data: Path) -> list[psutil.Process]:
    """The processes that work in a data folder: PostgreSQL's are in its cluster, their keeper above it."""
    found = []
    for process in psutil.process_iter(["cwd", "name"]):
        if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(data):
            found.append(process)
    return found


async def check_service(_: str, times: int = 20) -> list[Figure]:
    """kill -9 of the service, and with it of its PostgreSQL's keeper, 20 times under 30 changes a second"""
    data, port, starts = data_folder(), free_port(), []
    async with AsyncExitStack() as services:
        service = await services.enter_async_context(serving(data, port))
        async with kept(port) as accounts:
            for _ in range(times):
                await asyncio.sleep(random.uniform(0.3, 1.5))
                os.kill(service.pid, signal.SIGKILL)
                began = time.monotonic()
                service = await services.enter_async_context(serving(data, port))
                starts.append(time.monotonic() - began)
            await asyncio.sleep(0.5)
            figures = await accounts.balance(dsn_of(data))
    left = len(processes(data))
    return [
        Figure(
            "kills; the longest until it answers again, s",
            f"<= {LIMIT:.0f}",
            f"{times}; {max(starts):.1f}",
            max(starts) <= LIMIT,
        ),
        Figure("processes left after its clean end", "0", str(left), left == 0),
        *figures,
    ]


def kill_all(postmaster: int, data: Path) -> None:
    """kill -9 of every process of PostgreSQL, the first of them first, so that it starts none again."""
    others = [process for process in processes(data) if process.info["name"] == "postgres"]
    for process in sorted(others, key=lambda process: process.pid != postmaster):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def stop_immediately(postmaster: int, data: Path) -> None:
    """What `pg_ctl stop -m immediate` does."""
    os.kill(postmaster, signal.SIGQUIT)


async def outage(accounts: Accounts, data: Path, end: Callable[[int, Path], None]) -> tuple[float, float, float]:
    """One death of PostgreSQL. Returns the seconds from it to PostgreSQL's return, from there to the first write that
    is acknowledged, and from a commit by psql after that to the last listener."""
    postmaster = int((data / "cluster" / "postmaster.pid").read_text().split()[0])
    begin, killed = len(accounts.writes), time.monotonic()
    end(postmaster, data)
    while psutil.pid_exists(postmaster):
        await asyncio.sleep(0.01)
    while time.monotonic() < killed + 6 * LIMIT:
        with suppress(psycopg2.OperationalError), closing(writer(dsn_of(data))) as conn:
            back = time.monotonic()
            while not any(write.outcome == "ok" for write in accounts.writes[begin:]):
                await asyncio.sleep(0.01)
            acknowledged = min(write.answered for write in accounts.writes[begin:] if write.outcome == "ok")
            return back - killed, acknowledged - back, await accounts.insert(conn)
        await asyncio.sleep(0.02)
    raise TimeoutError("PostgreSQL does not come back")


async def check_postgres(_: str, times: int = 10) -> list[Figure]:
    """kill -9 of PostgreSQL, all its processes, 10 times, and its immediate stop 10 times, under 30 changes a second"""
    data, port = data_folder(), free_port()
    figures = []
    async with serving(data, port), kept(port) as accounts:
        for name, end in (("killed", kill_all), ("stopped", stop_immediately)):
            found = []
            for _ in range(times):
                await asyncio.sleep(random.uniform(0.3, 1.5))
                found.append(await outage(accounts, data, end))
            back, first, heard = (max(one) for one in zip(*found, strict=True))
            figures += [
                Figure(
                    f"{name}: times; the longest until it is back, s",
                    f"<= {LIMIT:.0f}",
                    f"{times}; {back:.1f}",
                    back <= LIMIT,
                ),
                Figure("from there to the first 2xx, s", f"<= {LIMIT:.0f}", f"{first:.2f}", first <= LIMIT),
                Figure(
                    "psql's next change to the last listener, s",
                    f"<= {2 * PATIENCE}",
                    f"{heard:.2f}",
                    heard <= 2 * PATIENCE,
                ),
            ]
        figures += await accounts.balance(dsn_of(data), answers=4.2 * PATIENCE)
    left = len(processes(data))
    return [*figures, Figure("processes left after its clean end", "0", str(left), left == 0)]
