"""`python -m tests.bench [--quick]`: this service beside its peers, in turns on one PostgreSQL. Only ratios hold."""

import asyncio
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from datetime import datetime

from ..tools import checks
from ..tools.client import dial
from ..tools.crowd import crowd
from ..tools.service import Service, database, insert, inventory, percentile, writer
from . import drivers, servers, table
from .drivers import fanout
from .rows import (
    ALONE,
    BESIDE,
    BROADCAST,
    COSTED,
    FAR,
    FEW,
    FLOODED,
    FLOOR,
    FULL,
    QUICK,
    REPLAY,
    REPORTED,
    REQUESTS,
    ROWS,
    Plan,
)
from .table import BEFORE, OURS

LIMIT = 600.0  # seconds, for all of it
SECONDS = 1  # of a turn of requests


class Bench:
    """The servers that run, and what was measured of them so far."""

    def __init__(self, plan: Plan, running: dict[str, Service], dsn: str) -> None:
        self.plan, self.running, self.dsn = plan, running, dsn
        self.found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.printed: set[str] = set()

    async def in_turns(self, turns: int, measure: Callable[[str, Service], Awaitable[None]]) -> None:
        for turn in range(turns):
            for name in list(self.running)[:: -1 if turn % 2 else 1]:
                await measure(name, self.running[name])

    def note(self, row: str, server: str, figure: float) -> None:
        self.found[row][server].append(figure)

    def show(self) -> None:
        """Prints the rows that are new."""
        for row in ROWS:
            if row.name in self.found and row.name not in self.printed:
                self.printed.add(row.name)
                print(table.line(row, self.found, servers.ALL), flush=True)

    async def idle(self, name: str, service: Service) -> None:
        """Comes first: a process that has had sockets does not need their memory again."""
        async with fanout(service.port) as clients:
            await clients.tell(f"grow {FEW}")
            await clients.tell("rounds 10 3")
            before = service.memory()
            await clients.tell(f"grow {self.plan.idle + FEW}")
            await asyncio.sleep(1)
            self.note("memory of an idle socket", name, (service.memory() - before) * 1024 / self.plan.idle)
        await alone(service)

    async def http(self) -> None:
        for request in (REQUESTS["GET one"], REQUESTS["POST, 20 connections"]):
            for service in self.running.values():
                await drivers.load(service, request, 1)  # a warm-up
        for row in self.plan.requests:

            async def measure(name: str, service: Service, row: str = row) -> None:
                cpu = service.cpu()[0] + drivers.postgres_cpu(self.dsn)
                if (figures := await drivers.load(service, REQUESTS[row], SECONDS)) is None:
                    return
                cpu = service.cpu()[0] + drivers.postgres_cpu(self.dsn) - cpu
                self.note(row, name, figures[0])
                if row in ALONE:
                    self.note(f"{row}: median", name, figures[1])
                    self.note(f"{row}: p99", name, figures[2])
                if row in COSTED:
                    self.note(f"{row}: CPU", name, cpu / (figures[0] * SECONDS) * 1e6)

            await self.in_turns(self.plan.turns, measure)
            self.show()

    async def beside(self, name: str, service: Service) -> None:
        """How late events are that 20 writers cause: of our builds alone, since the peers write the time when they send."""
        if name not in (OURS, BEFORE):
            return
        late: list[float] = []

        def heard(_: int, payload: bytes) -> None:
            if b'"PRODUCT_CREATED"' in payload:
                late.append((time.time() - datetime.fromisoformat(json.loads(payload)["timestamp"]).timestamp()) * 1000)

        clients = [await dial(service.port, heard if n == 0 else lambda *_: None) for n in range(FEW)]
        for client in clients:
            client.upgrade(service.port, "/ws")
        await drivers.load(service, REQUESTS["POST, 20 connections"], SECONDS)
        for client in clients:
            client.close()
        for row, part in zip(BESIDE, (0.5, 0.99), strict=True):
            self.note(row, name, percentile(late, part))

    async def climb(self, name: str, service: Service) -> None:
        """Ever more sockets on one server."""
        async with fanout(service.port) as clients:
            await clients.tell(f"grow {FEW}")
            await clients.tell("rounds 20 3")  # a warm-up
            for sockets, rounds, pause in self.plan.steps:
                opened = await clients.tell(f"grow {sockets}")
                report = await clients.tell(f"rounds {rounds} {pause}")
                assert not report["lost"], f"{name} lost events to {sockets} sockets: {report}"
                for word, what in REPORTED.items():
                    self.note(f"event to {sockets:,}: {what}", name, report[word])
                if sockets == 100 and self.plan.flooded:
                    await clients.tell(f"grow {self.plan.flooded}")
                    flood = await clients.tell("flood 20 2")
                    assert not flood["lost"], f"{name} lost events: {flood}"
                    self.note(FLOODED, name, flood["posts"] / flood["seconds"])
                if sockets == BROADCAST:
                    self.note("connections accepted", name, opened["opened"] / opened["seconds"])
                    self.note("bytes of an event", name, report["bytes"])
                    self.note(FLOOR, OURS, (await drivers.floor(sockets, int(report["bytes"]), 5))["floor"])
        await alone(service)

    async def compressed(self, server: str) -> None:
        async with servers.ours(server, "--compress") as service, fanout(service.port, "deflate") as clients:
            await clients.tell(f"grow {FEW}")
            self.note("bytes of an event, compressed", OURS, (await clients.tell("rounds 20 3"))["bytes"])

    async def replay(self, server: str) -> None:
        with database(server) as dsn, closing(writer(dsn)) as conn:
            async with inventory(dsn) as service:
                start, epoch = await service.position()
                for _ in range(FAR // 1000):
                    await asyncio.to_thread(insert, conn, 1000, servers.TEXT)
                await service.settled(start + FAR)
                for _ in range(self.plan.replays):
                    async with crowd(service.port, 1) as client:
                        await client.tell(f"expect {start} {start + FAR}")
                        await client.tell(f"go /ws?last_event_id={start}&epoch={epoch}")
                        report = await client.until(30, pause=0.05, reached=1)
                    assert report["reached"] and not report["gaps"] + report["repeats"], report
                    self.note(REPLAY, OURS, report["last"])


async def alike(running: dict[str, Service]) -> None:
    """The servers answer the same, or the rest means nothing."""
    for path, rows in (
        ("/api/productos/1", None),
        ("/api/productos?limit=100", 100),
        ("/api/productos?limit=1000", 1000),
    ):
        for name, service in running.items():
            data = (await service.get(path))["data"]
            one = data if rows is None else data[-1]
            assert rows in (None, len(data)), f"{name}: {len(data)} rows of {rows}"
            assert list(one) == ["id", "nombre", "descripcion", "precio", "stock", "created_at", "updated_at"], name
            assert isinstance(one["precio"], float), name


async def alone(service: Service) -> None:
    """Waits until the server has seen that its sockets are gone."""
    began = time.monotonic()
    while len(os.listdir(f"/proc/{service.pid}/fd")) > 200 and time.monotonic() - began < 20:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)


def machine(dsn: str) -> str:
    with closing(writer(dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("SHOW server_version")
        postgres = cursor.fetchone()[0].split()[0]
    found = shutil.which("node")
    node = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout if found else "none"
    return f"{os.cpu_count()} cores; Python {platform.python_version()}, Node.js {node.strip()}, PostgreSQL {postgres}"


async def main(plan: Plan, dsn: str) -> None:
    began, lacks = time.monotonic(), drivers.lacks()
    async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
        running, absent = {}, list(lacks.values())
        for name, start in servers.ALL.items():
            try:
                running[name] = await stack.enter_async_context(start(dsn))
            except servers.Absent as exc:
                absent.append(f"{name}: {exc}")
        await alike(running)
        print(f"{machine(dsn)}\n{servers.ABOUT}")
        print("".join(f"absent: {what}\n" for what in absent) + table.head(servers.ALL), flush=True)
        bench = Bench(plan, running, dsn)
        if "cc" not in lacks:
            await bench.in_turns(1, bench.idle)
            bench.show()
        if "wrk" not in lacks:
            await bench.http()
            await bench.in_turns(plan.turns, bench.beside)
            bench.show()
        if "cc" not in lacks:
            await bench.in_turns(plan.climbs, bench.climb)
            await bench.compressed(dsn)
            bench.show()
        if plan.replays:
            await bench.replay(dsn)
            bench.show()
        print(f"{table.tally(ROWS, bench.found)}; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with checks.server() as dsn:
        asyncio.run(main(QUICK if sys.argv[1:] == ["--quick"] else FULL, dsn))
