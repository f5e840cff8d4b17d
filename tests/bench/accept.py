"""`python -m tests.bench.accept [TURNS]`: what a socket costs beside a bare handler of aiohttp, in turns of new processes.

Seconds of CPU are compared and not the rate, which tells who else uses the cores.
"""

import asyncio
import resource
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

from ..stress.resume import SOCKETS, get_steadily
from ..tools import checks
from ..tools.crowd import crowd
from ..tools.service import Service, free_port, percentile, running
from . import servers
from .__main__ import alone
from .drivers import fanout
from .rows import FEW

TURNS, IDLE = 7, 4_000
ROWS = ("CPU us an accepted socket", "KiB an idle socket", "GET meanwhile: p99, ms", "GET meanwhile: worst, ms")


@asynccontextmanager
async def bare(_: str) -> AsyncIterator[Service]:
    port = free_port()
    async with running("tests.bench.bare", str(port), ready="/api/productos/1", port=port) as service:
        yield service


async def accept(service: Service) -> tuple[float, float]:
    """Microseconds and KiB of an accepted socket; few at a time are on their way."""
    async with fanout(service.port) as clients:
        await clients.tell(f"grow {FEW}")
        await asyncio.sleep(0.5)
        memory, cpu = service.memory(), service.cpu()[0]
        await clients.tell(f"grow {IDLE + FEW}")
        cpu = service.cpu()[0] - cpu
        await asyncio.sleep(1)
        return cpu / IDLE * 1e6, (service.memory() - memory) * 1024 / IDLE


async def reconnect(service: Service) -> tuple[float, float]:
    """The p99 and the worst GET, in milliseconds, while all the sockets that were cut come back at once."""
    async with crowd(service.port, SOCKETS) as clients:
        await clients.tell("go /ws")
        await clients.until(60, welcomed=SOCKETS)
        await clients.tell("leave")
        await alone(service)
        stop = asyncio.Event()
        getting = asyncio.create_task(get_steadily(service, stop))
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        await clients.tell("again /ws")
        report = await clients.until(60, pause=0.05, welcomed=2 * SOCKETS)
        stop.set()
        times = [ms for due, ms in (await getting).items() if due > began - 0.02]
    assert report["welcomed"] == 2 * SOCKETS, report
    return percentile(times, 0.99), max(times)


async def main(turns: int, server: str) -> None:
    found: dict[str, list[list[float]]] = defaultdict(list)
    starts = {"ours": servers.ours, "bare": bare}
    for turn in range(turns):
        for name in list(starts)[:: -1 if turn % 2 else 1]:
            async with starts[name](server) as service:
                figures = await accept(service)
                await alone(service)
                found[name].append([*figures, *await reconnect(service)])
    print(f"{'':28}{'ours':>8}{'bare':>8}  turns of ours; of bare")
    for number, row in enumerate(ROWS):
        columns = [[figures[number] for figures in found[name]] for name in starts]
        each = "; ".join(" ".join(f"{figure:.1f}" for figure in column) for column in columns)
        print(f"{row:28}" + "".join(f"{median(column):8.1f}" for column in columns) + f"  {each}")
    (cpu, memory, *_), (bare_cpu, bare_memory, *_) = (map(median, zip(*found[name], strict=True)) for name in starts)
    print(f"accepts a CPU second, of the bare handler's: {bare_cpu / cpu:.2f} (goal 0.95)")
    print(f"more KiB an idle socket: {memory - bare_memory:.1f} (goal 1.5)")


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with checks.server() as dsn:
        asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else TURNS, dsn))
