"""A TCP proxy before PostgreSQL: the network between it and the service, and what can befall a network."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg2.extensions import make_dsn, parse_dsn

FAULTS = "black hole", "reset", "1 KB/s", "slices", "latency"
LATENCY = 0.25  # seconds each way
CHUNK = 256  # bytes at once of a slow line


class Proxy:
    """`dsn` leads through it; `fault` is one of FAULTS, or none."""

    def __init__(self, dsn: str) -> None:
        self.words = parse_dsn(dsn)
        self.dsn = ""
        self._fault: str | None = None
        self._healed = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def fault(self) -> str | None:
        return self._fault

    @fault.setter
    def fault(self, fault: str | None) -> None:
        self._fault = fault
        self._healed.set()
        self._healed = asyncio.Event()
        if fault == "reset":
            for end in self._ends:
                _reset(end)

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection of the service's."""
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        ends = {client}
        try:
            while self._fault == "black hole":
                await self._healed.wait()
            if self._fault == "reset":
                return _reset(client)
            host, port = self.words.get("host", "127.0.0.1"), self.words.get("port", "5432")
            if host.startswith("/"):
                back, inside = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            else:
                back, inside = await asyncio.open_connection(host, int(port))
            ends.add(inside)
            self._ends.add(client)
            ways = [asyncio.create_task(self._pump(*way)) for way in ((reader, inside), (back, client))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # PostgreSQL is not there
        finally:
            self._ends.discard(client)
            self._tasks.discard(task)
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, end: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                for piece in self._pieces(data):
                    await self._delay(len(piece))
                    end.write(piece)
                    await end.drain()

    def _pieces(self, data: bytes) -> list[bytes]:
        size = {"slices": 1, "1 KB/s": CHUNK}.get(self._fault or "", len(data))
        return [data[at : at + size] for at in range(0, len(data), size)]

    async def _delay(self, size: int) -> None:
        """Waits as long as the fault keeps a piece back, and no longer than the fault lasts."""
        while self._fault == "black hole":
            await self._healed.wait()
        seconds = {"latency": LATENCY, "1 KB/s": size / 1024}.get(self._fault or "", 0.0)
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._healed.wait()
        else:
            await asyncio.sleep(0)  # a slice of its own for the peer


def _reset(end: asyncio.StreamWriter) -> None:
    sock = end.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()


@asynccontextmanager
async def proxied(dsn: str) -> AsyncIterator[Proxy]:
    """A proxy before the PostgreSQL of the DSN, whose connections end with the block."""
    proxy = Proxy(dsn)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.dsn = make_dsn(**{**proxy.words, "host": "127.0.0.1", "port": str(server.sockets[0].getsockname()[1])})
    try:
        yield proxy
    finally:
        server.close()
        tasks = list(proxy._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # the transports close their sockets
