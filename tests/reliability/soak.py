"""The service at work for long: what it takes, it gives back."""

import asyncio
import os
import random
import re
import signal
import time
from contextlib import closing
from statistics import linear_regression

from psycopg2.extensions import connection

from ..tools.service import PATIENCE, Figure, Service, database, free_port, running, writer
from .accounts import kept
from .statements import SESSIONS, query

SOCKETS = 100
CHANGES = 50  # for each reconnection
WARM_UP = 180.0  # seconds until its memory is as large as it gets; of a shorter run, the first third
SLOPE = 1.0  # MiB that its memory may grow in 10 minutes
SHORT = 300.0  # seconds: from a shorter run no slope can be told


async def holdings(service: Service, conn: connection) -> dict[str, int]:
    """What the service holds: tasks, sockets of clients, and open files but the sessions of PostgreSQL, which come as they
    are needed and stay."""
    said = len(re.findall("^tasks:", service.log.read_text(), re.MULTILINE))
    os.kill(service.pid, signal.SIGUSR1)
    async with asyncio.timeout(5 * PATIENCE):
        while len(tasks := re.findall(r"^tasks: (\d+)$", service.log.read_text(), re.MULTILINE)) == said:
            await asyncio.sleep(0.02)
    sessions = await query(
        conn,
        """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'inventory_ws'
        """,
    )
    assert sessions[0][0] <= SESSIONS
    return {
        "tasks": int(tasks[-1]),
        "files": len(os.listdir(f"/proc/{service.pid}/fd")) - sessions[0][0],
        "sockets": (await service.health())["sockets"],
    }


async def check(server: str, seconds: float = 600.0, rate: float = 50.0) -> list[Figure]:
    """100 sockets, 50 changes a second and a reconnection every second, for 10 minutes"""
    port = free_port()
    with database(server) as dsn, closing(writer(dsn)) as conn:
        command = ("tests.reliability.watched", "--port", str(port), "--database-url", dsn)
        async with running(*command, ready="/api/salud", port=port) as service:
            deadline, before = time.monotonic() + 10 * PATIENCE, {}
            while (again := await holdings(service, conn)) != before and time.monotonic() < deadline:
                before = again  # the start may still be giving back something
                await asyncio.sleep(0.5)
            began, samples = time.monotonic(), []
            async with kept(port, rate=rate, listeners=SOCKETS) as accounts:
                while (now := time.monotonic() - began) < seconds:
                    samples.append((now, service.memory()))
                    random.choice(accounts.listeners).cut()
                    await asyncio.sleep(CHANGES / rate)
                during = await holdings(service, conn)
                figures = await accounts.balance(dsn)
            deadline = time.monotonic() + 10 * PATIENCE
            while (after := await holdings(service, conn)) != before and time.monotonic() < deadline:
                await asyncio.sleep(0.5)
            complaints = service.complaints()
    warm = [sample for sample in samples if sample[0] >= min(WARM_UP, seconds / 3)]
    slope = linear_regression(*zip(*warm, strict=True)).slope * 600
    memory = f"{samples[0][1]:.1f}, {warm[0][1]:.1f}, {warm[-1][1]:.1f}"
    return [
        *figures,
        Figure("memory, MiB: at first, warm, at last", "", memory),
        Figure(
            "its slope once warm, MiB in 10 minutes",
            f"< {SLOPE:.0f}",
            f"{slope:.2f}",
            slope < SLOPE if seconds >= SHORT else None,
        ),
        *(
            Figure(f"{name}: at work, afterwards", str(before[name]), f"{during[name]}, {after[name]}", same)
            for name in before
            for same in [after[name] == before[name]]
        ),
        complaints,
    ]
