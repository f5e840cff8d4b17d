"""People who keep the rules, beside those who break them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import aiohttp

from ..tools.client import dial
from ..tools.service import PATIENCE, Figure, Service, percentile, steadily, writer

ROWS = 5  # events in a transaction
ASK = 0.02  # seconds between two requests
P99 = 100.0  # milliseconds for a GET, in 99 of 100 cases; not asked by the tests, whose machine does other things too
SETTLE = 20.0 * PATIENCE  # seconds for the socket to come to the end of the log


class Others:
    """What they have seen."""

    def __init__(self, after: int) -> None:
        self.after = after  # the events before do not count
        self.waits: list[float] = []  # milliseconds for a GET
        self.failures: list[str] = []
        self.ids: list[int] = []  # of the events that the socket heard
        self.last = 0  # event there is
        self.alive = False  # the socket is open at the end

    async def ask(self, service: Service) -> None:
        """GETs until cancelled, every other one on a connection of its own."""
        once = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession() as kept, aiohttp.ClientSession(connector=once) as fresh:
            while True:
                for session in (kept, fresh):
                    began = time.monotonic()
                    try:
                        async with session.get(f"{service.url}/api/productos?limit=1") as resp:
                            await resp.read()
                        resp.raise_for_status()
                    except aiohttp.ClientError as exc:
                        self.failures.append(str(exc))
                    self.waits.append((time.monotonic() - began) * 1000)
                    await asyncio.sleep(ASK)

    def figures(self) -> list[Figure]:
        middle, tail, worst = percentile(self.waits, 0.5), percentile(self.waits, 0.99), max(self.waits)
        failed, number = len(self.failures), len(self.waits)
        whole = self.alive and self.ids == list(range(self.after + 1, self.last + 1))
        return [
            Figure("others' GETs; failed", "0", f"{number}; {failed} {self.failures[:1] or ''}".strip(), not failed),
            Figure(
                "they took, ms: median, p99, max",
                f"p99 <= {P99:.0f}",
                f"{middle:.1f}, {tail:.1f}, {worst:.1f}",
                tail <= P99 if PATIENCE == 1 else None,
            ),
            Figure("their socket heard, of the events", str(self.last - self.after), str(len(self.ids)), whole),
        ]


@asynccontextmanager
async def others(service: Service, dsn: str, *, after: int = 0, rate: float = 50.0) -> AsyncIterator[Others]:
    """Somebody GETs, somebody listens, and somebody changes products in psql: `rate` a second; `after`: the last event
    so far."""
    seen, on = Others(after), True

    def hear(_: int, payload: bytes) -> None:
        if number := json.loads(payload).get("id"):
            seen.ids.append(number)

    with closing(await dial(service.port, hear)) as listener:
        listener.upgrade(service.port, "/ws")
        while not listener.answer:
            await asyncio.sleep(0.01)
        writing = asyncio.create_task(asyncio.to_thread(steadily, dsn, 10**6, rate, ROWS, "x", lambda: on))
        asking = asyncio.create_task(seen.ask(service))
        try:
            yield seen
        finally:
            on = False
            asking.cancel()
            await asyncio.wait([writing, asking])
        with closing(writer(dsn)) as conn, conn.cursor() as cursor:
            cursor.execute("SELECT max(id) FROM eventos")
            seen.last = cursor.fetchone()[0]
        deadline = time.monotonic() + SETTLE
        while len(seen.ids) < seen.last - after and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        seen.alive = not listener.gone.done()
