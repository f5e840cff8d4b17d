"""The line between a browser and the service: it is slow, it stalls, it breaks."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

LATENCIES = 0.0, 0.4, 2.0  # seconds from a request to its answer, besides the service's own


class Line:
    """A TCP proxy on loopback. `latency`: seconds there and back. `stalled`: nothing gets through, and nobody is told."""

    def __init__(self, host: str, port: int) -> None:
        self.service = host, port
        self.url = ""
        self.latency = 0.0
        self._free = asyncio.Event()
        self._free.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    @property
    def stalled(self) -> bool:
        return not self._free.is_set()

    @stalled.setter
    def stalled(self, stalled: bool) -> None:
        if stalled:
            self._free.clear()
        else:
            self._free.set()

    def cut(self) -> None:
        """Breaks all connections. What was on its way is lost."""
        for end in list(self._ends):
            end.transport.abort()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection of the browser's."""
        try:
            back, inside = await asyncio.open_connection(*self.service)
        except OSError:
            client.close()
            return
        self._ends |= {client, inside}
        self.start(self._pump(reader, inside))
        self.start(self._pump(back, client))

    async def _pump(self, reader: asyncio.StreamReader, end: asyncio.StreamWriter) -> None:
        """Passes on each piece when its time has come; many are on their way at once."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            with suppress(OSError):
                while True:
                    due, data = await pieces.get()
                    await asyncio.sleep(due - loop.time())
                    await self._free.wait()
                    if not data:
                        return end.close()
                    end.write(data)

        self.start(deliver())
        data = b"."
        with suppress(OSError):
            while data:
                data = await reader.read(1 << 16)
                pieces.put_nowait((loop.time() + self.latency / 2, data))

    async def end(self) -> None:
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def line(host: str, port: int) -> AsyncIterator[Line]:
    """A line to the service at this port, at first a fast one."""
    line = Line(host, port)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield line
    finally:
        server.close()
        await line.end()
        await server.wait_closed()
