"""Sockets that come back: very many at once, and one that was away for long."""

import asyncio
import json
import time
from collections.abc import Collection
from contextlib import closing

from ..tools.client import dial
from ..tools.crowd import QUICK, crowd
from ..tools.service import Figure, Service, database, insert, inventory, percentile, writer

SOCKETS, MISSED = (5_000 if QUICK else 500), 1_000
RATE, IDLE = 50, 6.0  # GETs a second; seconds of them before
FAR = 100_000  # events
TEXT = "Pantalla de 13 pulgadas, 16 GB de memoria, 512 GB de disco, teclado en español"


async def get_steadily(service: Service, done: asyncio.Event) -> dict[float, float]:
    """GETs of one product at a steady rate: the milliseconds of each, from when it was due. None waits for another, nor
    for a new connection, which would stand in the queue with all those that come back."""
    times: dict[float, float] = {}

    async def get(due: float) -> None:
        async with service.session.get(f"{service.url}/api/productos/1") as resp:
            assert resp.status == 200, await resp.text()
            await resp.read()
        times[due] = (time.monotonic() - due) * 1000

    await asyncio.gather(*(get(0.0) for _ in range(RATE)))
    times.clear()
    async with asyncio.TaskGroup() as group:
        due = time.monotonic()
        while not done.is_set():
            group.create_task(get(due))
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return times


def spread(times: Collection[float]) -> str:
    return ", ".join(f"{percentile(times, part):.1f}" for part in (0.5, 0.99, 1))


async def check(server: str) -> list[Figure]:
    """5,000 sockets that were cut come back at once, each 1,000 events behind: the middle one of three times"""
    times = sorted([await storm(server) for _ in range(3)], key=lambda found: found[0])
    return [
        *times[1][1],
        Figure("p99 meanwhile / idle, all three", "", ", ".join(f"{ratio:.1f}" for ratio, _ in times)),
    ]


async def storm(server: str) -> tuple[float, list[Figure]]:
    with database(server) as dsn, closing(writer(dsn)) as conn:
        insert(conn, 1, TEXT)
        async with inventory(dsn) as service:
            start, epoch = await service.position()
            async with crowd(service.port, SOCKETS) as clients:
                await clients.tell("go /ws")
                await clients.until(60, welcomed=SOCKETS)
                for _ in range(MISSED // 100):
                    insert(conn, 100, TEXT)
                await clients.until(60, frames=SOCKETS * MISSED)
                await clients.tell(f"expect {start} {start + MISSED}")
                before = await clients.tell("reset")
                await clients.tell("leave")
                async with asyncio.timeout(30):
                    while (await service.health())["sockets"]:
                        await asyncio.sleep(0.1)
                stop = asyncio.Event()
                asyncio.get_running_loop().call_later(IDLE, stop.set)
                idle = await get_steadily(service, stop)
                stop = asyncio.Event()
                getting = asyncio.create_task(get_steadily(service, stop))
                cpu = service.cpu()[0]
                began = time.monotonic()
                await clients.tell(f"again /ws?last_event_id={start}&epoch={epoch}")
                await clients.until(60, pause=0.05, welcomed=2 * SOCKETS)
                welcomed = time.monotonic() - began
                report = await clients.until(90, pause=0.25, reached=SOCKETS)
                cpu = service.cpu()[0] - cpu
                stop.set()
                busy = await getting
                complaints = service.complaints()
    later = [delay for due, delay in busy.items() if due > began + welcomed]
    quiet, loud = percentile(idle.values(), 0.99), percentile(busy.values(), 0.99)
    frames, size = int(report["frames"]), report["bytes"] / 2**20
    lost = tuple(int(report[name] - before[name]) for name in ("gaps", "repeats"))
    served = int(report["reached"])
    recovered = int(report["recovered"])
    return loud / quiet, [
        Figure("welcomes with recovered true", str(SOCKETS), str(recovered), recovered == SOCKETS),
        Figure("sockets that got all of it", str(SOCKETS), str(served), served == SOCKETS),
        Figure("events received", str(SOCKETS * MISSED), str(frames), frames == SOCKETS * MISSED),
        Figure("gaps, duplicates", "0, 0", f"{lost[0]}, {lost[1]}", lost == (0, 0)),
        Figure("seconds to half of them, to the last", "", f"{report['half']:.1f}, {report['last']:.1f}"),
        Figure("MiB received, CPU seconds of the service", "", f"{size:.0f}, {cpu:.1f}"),
        Figure("seconds to the last welcome", "", f"{welcomed:.2f}"),
        Figure("GET idle, ms: median, p99, max", "", spread(idle.values())),
        Figure("GET meanwhile", "", spread(busy.values())),
        Figure("of those, after the last welcome", "", spread(later)),
        Figure("p99 meanwhile / idle", "< 5", f"{loud / quiet:.2f}", loud / quiet < 5),
        complaints,
    ]


async def check_old(server: str) -> list[Figure]:
    """one socket resumes 100,000 events behind"""
    with database(server) as dsn, closing(writer(dsn)) as conn:
        async with inventory(dsn) as service:
            start, epoch = await service.position()
        for _ in range(FAR // 1000):
            await asyncio.to_thread(insert, conn, 1000, TEXT)
        async with inventory(dsn) as service:
            heard: list[int] = []
            live = asyncio.Event()

            def hear(_: int, payload: bytes) -> None:
                message = json.loads(payload)
                if "id" in message:
                    heard.append(message["id"])
                    if message["id"] == start + FAR + 1:
                        live.set()

            await service.settled(start + FAR)
            before, cpu, began = service.memory(), service.cpu()[0], time.monotonic()
            client = await dial(service.port, hear)
            client.upgrade(service.port, f"/ws?last_event_id={start}&epoch={epoch}")
            while len(heard) < FAR and time.monotonic() - began < 60:
                await asyncio.sleep(0.02)
            seconds, cpu, grown = time.monotonic() - began, service.cpu()[0] - cpu, service.memory() - before
            began = time.monotonic()
            insert(conn, 1, TEXT)  # is it live?
            async with asyncio.timeout(10):
                await live.wait()
            delay = (time.monotonic() - began) * 1000
            client.transport.abort()
            complaints = service.complaints()
    right = heard == list(range(start + 1, start + FAR + 2))
    return [
        Figure("events in order, none lost, none twice", str(FAR), str(len(heard) - 1), right),
        Figure("seconds until it is live", "<= 30", f"{seconds:.1f}", seconds <= 30),
        Figure("then a live event, ms", "", f"{delay:.0f}"),
        Figure("CPU seconds of the service; memory, MiB", "", f"{cpu:.1f}; {grown:+.1f}"),
        complaints,
    ]
