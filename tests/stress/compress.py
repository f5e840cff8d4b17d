"""What permessage-deflate costs and saves."""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from statistics import median

from inventory_ws.products.exact_json import encode

from ..tools.client import DEFLATE, RSV1, dial
from ..tools.crowd import QUICK, Crowd, crowd
from ..tools.service import Figure, Service, database, free_port, insert, inventory, running, writer

SOCKETS, ROUNDS, EACH = (2_000 if QUICK else 1_000), 10, 20  # 200 events, in turns of 20
TEXT = "Pantalla de 13 pulgadas, 16 GB de memoria, 512 GB de disco, teclado en español"


class Variant:
    """A server with its clients, and what each round has cost it."""

    def __init__(self, service: Service, broadcast: Callable[[], Awaitable[None]]) -> None:
        self.service, self.broadcast = service, broadcast
        self.clients: Crowd
        self.cpu: list[float] = []  # milliseconds an event
        self.kernel: list[float] = []  # of those, sending
        self.bytes = 0.0
        self.memory = 0.0

    async def connect(self, stack: AsyncExitStack, *deflate: str) -> None:
        await self.round()  # what it needs once, it has
        self.memory = self.service.memory()
        self.clients = await stack.enter_async_context(crowd(self.service.port, SOCKETS))
        await self.clients.tell("lazily")
        await self.clients.tell(" ".join(["go /ws", *deflate]))
        await asyncio.sleep(1)
        report = await self.clients.until(20, **({"deflating": SOCKETS} if deflate else {"welcomed": SOCKETS}))
        assert report["deflating"] == (SOCKETS if deflate else 0), report
        await asyncio.sleep(1)

    async def round(self) -> None:
        for _ in range(EACH):
            await self.broadcast()

    async def measure(self) -> None:
        await self.clients.tell("reset")
        before = self.service.cpu()
        await self.round()
        report = await self.clients.until(30, pause=0.05, frames=SOCKETS * EACH)
        assert report["frames"] == SOCKETS * EACH, report
        for costs, since, now in zip((self.cpu, self.kernel), before, self.service.cpu(), strict=True):
            costs.append((now - since) * 1000 / EACH)
        self.bytes += report["bytes"]

    def row(self, name: str) -> Figure:
        size = self.bytes / SOCKETS / EACH / ROUNDS
        memory = (self.service.memory() - self.memory) * 1024 / SOCKETS
        return Figure(name, "", f"{size:.0f}, {median(self.cpu):.1f} ({median(self.kernel):.1f}), {memory:.0f}")


async def check(server: str) -> list[Figure]:
    """2,000 sockets, 200 events in turns: without compression, with ours (once for all), with aiohttp's (each its own)"""
    async with AsyncExitStack() as stack:
        variants, heard = [], []
        for flags in ([], ["--compress"]):
            dsn = stack.enter_context(database(server))
            conn = stack.enter_context(closing(writer(dsn)))
            service = await stack.enter_async_context(inventory(dsn, *flags))

            async def write(conn=conn) -> None:
                insert(conn, 1, TEXT)
                await asyncio.sleep(0.03)

            variants.append(Variant(service, write))
        port = free_port()
        lesson = await stack.enter_async_context(running("tests.stress.lesson", str(port), ready="/", port=port))

        async def post() -> None:
            async with lesson.session.post(f"{lesson.url}/broadcast", data=next(texts).encode()) as resp:
                assert resp.status == 200

        off, ours = variants
        for _ in range(ROUNDS + 1):  # events like those of the others
            await off.round()
        texts = map(encode, await events(off.service))
        theirs = Variant(lesson, post)
        await off.connect(stack)
        await ours.connect(stack, "deflate")
        await theirs.connect(stack, "deflate")

        start, _ = await ours.service.position()
        witness = await dial(ours.service.port, lambda *frame: heard.append(frame))
        witness.upgrade(ours.service.port, "/ws", DEFLATE)
        for number in range(ROUNDS):
            for variant in (off, ours, theirs)[:: -1 if number % 2 else 1]:
                await variant.measure()
        oracle = await events(ours.service, start)
        window = zlib.decompressobj(wbits=-15)  # one for all its messages, as a browser has it
        plain = [
            json.loads(window.decompress(data + b"\0\0\xff\xff") if first & RSV1 else data) for first, data in heard
        ]
        rows = [off.row("off"), ours.row("ours"), theirs.row("aiohttp's")]
        complaints = [off.service.complaints(), ours.service.complaints()]
    to_off = median(a / b for a, b in zip(ours.cpu, off.cpu, strict=True))
    to_theirs = median(a / b for a, b in zip(ours.cpu, theirs.cpu, strict=True))
    return [
        Figure("bytes and CPU ms (in the kernel) an event, KiB a socket", "", ""),
        *rows,
        Figure("CPU: ours / off", "<= 1.3", f"{to_off:.2f}", to_off <= 1.3),
        Figure("CPU: ours / aiohttp's", "<= 0.5", f"{to_theirs:.2f}", to_theirs <= 0.5),
        Figure(
            "a client inflates what GET /api/eventos has", str(len(oracle)), str(len(plain) - 1), plain[1:] == oracle
        ),
        *complaints,
    ]


async def events(service: Service, after: int = 0) -> list[object]:
    return (await service.get(f"/api/eventos?after={after}"))["data"]
