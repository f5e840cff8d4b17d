"""Sockets that never read beside those that do."""

import asyncio
import time
from statistics import median

from inventory_ws.products.exact_json import encode

from ..tools.crowd import QUICK, Crowd, Report, crowd
from ..tools.service import Figure, Service, database, inventory, steadily

READERS, STALLED = 100, 20
WINDOW = 2_000  # events; the figures are medians of windows, since the machine has other work
ALONE, BESIDE = 3, 10  # windows before the stalled ones come, and with them
RATE, ROWS = (500 if QUICK else 300), 10  # events a second, in transactions of so many
TEXT = "Pantalla de 13 pulgadas, 16 GB de memoria, 512 GB de disco, teclado en español. ".ljust(240, "x")
STALL_TIMEOUT = 30.0  # seconds, the service's
SLACK = 5.0


async def load(service: Service, dsn: str, readers: Crowd, windows: int) -> tuple[list[Report], float, float]:
    """Writes the events. Returns what the readers counted in each window, the events a second, and the service's
    largest memory."""
    reports, events, most = [], windows * WINDOW, service.memory()
    start, _ = await service.position()
    await readers.tell("reset")
    await readers.tell(f"expect {start} {start + events}")
    writing = asyncio.create_task(asyncio.to_thread(steadily, dsn, events, RATE, ROWS, TEXT))
    for number in range(windows):
        last = number == windows - 1
        while not writing.done() if last else (await readers.tell("report"))["frames"] < READERS * WINDOW:
            await asyncio.wait([writing], timeout=0.2)
            most = max(most, service.memory())
        reports.append(await (readers.until(10, reached=READERS) if last else readers.tell("report")))
        await readers.tell("reset")
    return reports, await writing, most


def delays(reports: list[Report]) -> tuple[float, float, float]:
    """Milliseconds from the INSERT to the arrival: the median's and the p99's median window, and the worst p99."""
    tails = [report["p99"] for report in reports]
    return median(report["p50"] for report in reports), median(tails), max(tails)


async def check(server: str) -> list[Figure]:
    """100 sockets that read, 20 that never do, 20,000 events of 500 bytes"""
    with database(server) as dsn:
        async with inventory(dsn) as service, crowd(service.port, READERS) as readers:
            await readers.tell("time")
            await readers.tell("go /ws")
            await readers.until(10, welcomed=READERS)
            alone, _, _ = await load(service, dsn, readers, ALONE)
            before, sockets = service.memory(), await service.connections()
            async with crowd(service.port, STALLED) as idle:
                await idle.tell("go /ws")
                await idle.until(10, welcomed=STALLED)
                await idle.tell("stall")
                beside, rate, most = await load(service, dsn, readers, BESIDE)
                ended = time.monotonic()
                while (left := (await service.health())["sockets"] - READERS) > 0:
                    if time.monotonic() - ended > STALL_TIMEOUT + SLACK:
                        break
                    await asyncio.sleep(0.2)
                gone = time.monotonic() - ended
                await asyncio.sleep(3)
                kept, after = await service.connections() - sockets, service.memory()
            events = (await service.get(f"/api/eventos?after={WINDOW}&limit=100"))["data"]
            complaints = service.complaints()
    size = len(encode(events)) / len(events)
    (middle, tail, worst), (middle_beside, tail_beside, worst_beside) = delays(alone), delays(beside)
    whole, ratio = int(beside[-1]["reached"]), tail_beside / tail
    lost = int(beside[-1]["gaps"]), int(beside[-1]["repeats"])
    return [
        Figure("events a second; in a transaction; bytes of one", "", f"{rate:.0f}; {ROWS}; {size:.0f}"),
        Figure("readers that got all of it", str(READERS), str(whole), whole == READERS),
        Figure("gaps, duplicates", "0, 0", f"{lost[0]}, {lost[1]}", lost == (0, 0)),
        Figure("delivery alone, ms: median, p99, worst window's", "", f"{middle:.1f}, {tail:.1f}, {worst:.1f}"),
        Figure("beside the stalled", "", f"{middle_beside:.1f}, {tail_beside:.1f}, {worst_beside:.1f}"),
        Figure("p99 beside / alone", "<= 2", f"{ratio:.2f}", ratio <= 2),
        Figure("growth of memory under load, MiB", "<= 40", f"{most - before:.1f}", most - before <= 40),
        Figure("growth of memory that stays, MiB", "<= 15", f"{after - before:.1f}", after - before <= 15),
        Figure("stalled sockets left", "0", str(left), left == 0),
        Figure("the last gone after the last event, s", f"<= {STALL_TIMEOUT + SLACK:.0f}", f"{gone:.1f}", left == 0),
        Figure("connections that stay with the service", "0", str(kept), kept <= 0),
        complaints,
    ]
