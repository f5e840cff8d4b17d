"""Sockets whose peer is gone without a word."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import chain

from ..tools.client import dial
from ..tools.service import Figure, database, insert, inventory, percentile, steadily, writer

SOCKETS = 20
LIMIT = 30.0 + 15.0 + 3.0  # seconds: a ping of the service, half as long for its answer, and slack
CLOSE_TIMEOUT = 3.0  # seconds that a connection may take to end after its socket is forgotten
RATE, ROWS = 100, 5  # events a second, in transactions of so many
TEXT = "x" * 2000  # so that the buffers of those who are not read from fill up


class Proxy:
    """Between the clients and the service: a network that stops to deliver and tells nobody."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cut = asyncio.Event()
        self._ends: list[asyncio.StreamWriter] = []
        self._never = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Yields the port that it listens on."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self._never.set()
            server.close()
            for end in self._ends:
                end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, end: asyncio.StreamWriter) -> None:
        # After the cut, what comes is swallowed on every other connection, and not even read on the rest.
        swallow = len(self._ends) % 4 == 0
        back, there = await asyncio.open_connection("127.0.0.1", self.port)
        self._ends += end, there
        await asyncio.gather(self._pump(reader, there, swallow), self._pump(back, end, swallow), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, end: asyncio.StreamWriter, swallow: bool) -> None:
        while data := await reader.read(1 << 16):
            if not self.cut.is_set():
                end.write(data)
            elif not swallow:
                await self._never.wait()


async def cut_off(server: str, busy: bool) -> list[Figure]:
    with database(server) as dsn, closing(writer(dsn)) as conn:
        async with inventory(dsn) as service:
            ids: list[int] = []
            delays: list[float] = []
            welcomes = 0

            def hear(_: int, payload: bytes) -> None:
                message = json.loads(payload)
                if "id" in message:
                    made = int(message["data"]["descripcion"].split()[0][1:])
                    delays.append(time.time() * 1000 - made / 1000)
                    ids.append(message["id"])

            def welcome(*_: object) -> None:
                nonlocal welcomes
                welcomes += 1

            proxy = Proxy(service.port)
            async with proxy.running() as port:
                healthy = await dial(service.port, hear)
                healthy.upgrade(service.port, "/ws")
                for _ in range(SOCKETS):
                    (await dial(port, welcome)).upgrade(service.port, "/ws")
                while welcomes < SOCKETS:
                    await asyncio.sleep(0.05)
                on = True
                writing = None
                if busy:
                    args = (dsn, 10**6, RATE, ROWS, TEXT, lambda: on)
                    writing = asyncio.create_task(asyncio.to_thread(steadily, *args))
                await asyncio.sleep(1)
                before, memory = await service.connections(), service.memory()
                proxy.cut.set()
                began, most, times = time.monotonic(), memory, []
                while len(times) < SOCKETS and time.monotonic() - began < LIMIT:
                    left = (await service.health())["sockets"] - 1
                    times += [time.monotonic() - began] * (SOCKETS - left - len(times))
                    most = max(most, service.memory())
                    await asyncio.sleep(0.1)
                await asyncio.sleep(CLOSE_TIMEOUT + 1)
                closed = before - await service.connections()
                on = False
                if writing:
                    await writing
                insert(conn, 1, TEXT)
                with conn.cursor() as cursor:
                    cursor.execute("SELECT max(id) FROM eventos")
                    last = cursor.fetchone()[0]
                for _ in range(50):
                    if ids and ids[-1] >= last:
                        break
                    await asyncio.sleep(0.1)
                alive = not healthy.gone.done()
                healthy.transport.abort()
            complaints = service.complaints()
    name = f"{RATE} events/s" if busy else "idle"
    whole = ids == list(range(1, last + 1))
    p99 = percentile(delays, 0.99)
    when = f"{times[0]:.1f}, {times[-1]:.1f}" if times else "never"
    return [
        Figure(f"{name}: dead sockets forgotten", str(SOCKETS), str(len(times)), len(times) == SOCKETS),
        Figure(f"{name}: the first, the last after, s", f"<= {LIMIT:.0f}", when, len(times) == SOCKETS),
        Figure(f"{name}: their connections closed", f">= {SOCKETS}", str(closed), closed >= SOCKETS),
        Figure(f"{name}: growth of memory, MiB", "<= 40", f"{most - memory:.1f}", most - memory <= 40),
        Figure(f"{name}: the healthy one heard all", str(last), str(len(ids)), whole and alive),
        Figure(
            f"{name}: its delivery, ms: median, p99",
            "p99 <= 250",
            f"{percentile(delays, 0.5):.1f}, {p99:.1f}",
            p99 <= 250,
        ),
        complaints,
    ]


async def check(server: str) -> list[Figure]:
    """20 sockets whose packets are dropped, beside a healthy one: while nothing is sent, and while much is"""
    return [*chain(*await asyncio.gather(cut_off(server, busy=False), cut_off(server, busy=True)))]
