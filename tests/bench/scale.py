"""`python -m tests.bench.scale`: one, two and four instances on one PostgreSQL, and what the log costs it.

Microseconds of CPU are what holds on another machine: they say how many requests a core can bear.
"""

import asyncio
import resource
import time
from contextlib import AsyncExitStack, closing
from statistics import median

import psycopg2

from ..tools import checks
from ..tools.client import dial
from ..tools.service import database, insert, inventory, writer
from . import drivers
from .__main__ import machine
from .rows import REQUESTS

SECONDS, TURNS = 4, 3
ROWS = 20_000


async def instances(server: str, number: int) -> str:
    """Writes at every instance at once."""
    async with AsyncExitStack() as stack:
        dsn = stack.enter_context(database(server))
        services = [await stack.enter_async_context(inventory(dsn)) for _ in range(number)]
        heard: list[list[int]] = [[] for _ in services]
        for service, ids in zip(services, heard, strict=True):
            client = await dial(service.port, lambda _, payload, ids=ids: ids.append(len(payload)))
            client.upgrade(service.port, "/ws")
        figures = []
        for _ in range(TURNS):
            before = [service.cpu()[0] for service in services], drivers.postgres_cpu(dsn)
            loads = await asyncio.gather(
                *(drivers.load(service, REQUESTS["POST, 20 connections"], SECONDS) for service in services)
            )
            posts = sum(load[0] for load in loads if load) * SECONDS
            ours = sum(service.cpu()[0] for service in services) - sum(before[0])
            figures.append((posts / SECONDS, ours / posts * 1e6, (drivers.postgres_cpu(dsn) - before[1]) / posts * 1e6))
        last = (await services[0].get("/api/eventos?limit=1"))["data"][0]["id"]
        with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cursor:
            cursor.execute("SELECT count(*), max(id) FROM eventos")
            events, last = cursor.fetchone()
        for service in services:
            await service.settled(last)
        await asyncio.sleep(0.5)
        assert all(len(ids) == events + 1 for ids in heard), (events, [len(ids) for ids in heard])
        posts, ours, theirs = (median(column) for column in zip(*figures, strict=True))
        return f"{number:9} {posts:12,.0f} {ours:20.0f} {theirs:20.0f}"


def rows(dsn: str, logged: bool) -> float:
    """Microseconds a row of one large INSERT."""
    with database(dsn) as own, closing(writer(own)) as conn:
        if not logged:
            with conn.cursor() as cursor:
                cursor.execute("ALTER TABLE productos DISABLE TRIGGER eventos_registrar")
        began = time.perf_counter()
        insert(conn, ROWS, "x")
        return (time.perf_counter() - began) / ROWS * 1e6


async def main(dsn: str) -> None:
    print(f"{machine(dsn)}\ninstances  POST/s in all   CPU us a POST: ours    and of PostgreSQL")
    for number in (1, 2, 4):
        print(await instances(dsn, number), flush=True)
    plain, logged = (median(rows(dsn, logged) for _ in range(TURNS)) for logged in (False, True))
    print(f"a row of {ROWS:,} in one INSERT: {logged:.0f} us with the log, {plain:.0f} without")


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with checks.server() as dsn:
        asyncio.run(main(dsn))
