"""PostgreSQL behind HAProxy, where Patroni decides which server takes the changes, and each way to lose that server."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import psutil

from ..tools.patroni import Managed, Node, managed, missing
from ..tools.service import PATIENCE, Figure, Service, inventory, temporary
from .accounts import Accounts, kept
from .statements import SESSIONS

BACK = 60.0 * PATIENCE  # seconds until all hear of changes again
LIED = 2.5 * PATIENCE  # seconds of health while nothing is heard: a change has to wait for two
READ = 1.0 * PATIENCE  # seconds for a GET while changes wait for a standby
READERS = 4

Roles = dict[str, Node]
Fault = Callable[[Managed, Roles, "Watched"], Awaitable[None]]


class Watched:
    """What the service says meanwhile. `lied`: the longest time in seconds in which health was good and nothing was heard.
    `reads`: the status of each GET, and its seconds. `backends`: how many a server had for the service, at most."""

    def __init__(self, service: Service, accounts: Accounts, nodes: list[Node]) -> None:
        self.lied, self.backends = 0.0, 0
        self.reads: list[tuple[int, float]] = []
        self.reading = asyncio.Event()
        self._service, self._accounts, self._nodes = service, accounts, nodes

    def position(self) -> int:
        """What all listeners have heard."""
        return min(listener.position for listener in self._accounts.listeners)

    async def health(self) -> None:
        good_since, heard = None, 0
        while True:
            asked = time.monotonic()
            async with self._service.session.get(f"{self._service.url}/api/salud") as resp:
                good = resp.status == 200
            if not good or self.position() != heard:
                good_since, heard = None, self.position()
            else:
                good_since = good_since or asked
                self.lied = max(self.lied, asked - good_since)
            await asyncio.sleep(0.05)

    async def read(self) -> None:
        while True:
            await self.reading.wait()
            began = time.monotonic()
            async with self._service.session.get(f"{self._service.url}/api/productos?limit=1") as resp:
                await resp.read()
            self.reads.append((resp.status, time.monotonic() - began))
            await asyncio.sleep(0.02)

    async def count(self) -> None:
        before = [0 for _ in self._nodes]
        while True:
            counts = [await asyncio.to_thread(backends, node) for node in self._nodes]
            # One whose connection was closed just now has not ended yet.
            self.backends = max(self.backends, *map(min, counts, before))
            before = counts
            await asyncio.sleep(0.5)


def backends(node: Node) -> int:
    """How many backends it has for the service."""
    found = 0
    for process in node.processes():
        with suppress(psutil.NoSuchProcess):
            found += "postgres inventario" in " ".join(process.cmdline())
    return found


@asynccontextmanager
async def watched(service: Service, accounts: Accounts, cluster: Managed) -> AsyncIterator[Watched]:
    """Watches, for the block."""
    watch = Watched(service, accounts, cluster.nodes)
    tasks = [asyncio.create_task(work()) for work in (watch.health, watch.count, *[watch.read] * READERS)]
    try:
        yield watch
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


async def switch_over(cluster: Managed, roles: Roles, _: Watched) -> None:
    await cluster.switch_over(roles["leader"])


async def kill_postgresql(_: Managed, roles: Roles, __: Watched) -> None:
    roles["leader"].kill_postgresql()


async def kill_patroni(cluster: Managed, roles: Roles, _: Watched) -> None:
    await lose(cluster, roles, roles["leader"].kill_patroni)


async def kill_both(cluster: Managed, roles: Roles, _: Watched) -> None:
    await lose(cluster, roles, roles["leader"].kill)


async def lose(cluster: Managed, roles: Roles, kill: Callable[[], None]) -> None:
    """The primary comes back when it has a successor."""
    old = roles["leader"]
    kill()
    await cluster.until(lambda roles: roles.get("leader") not in (None, old))
    old.start()


async def hang(cluster: Managed, roles: Roles, watch: Watched) -> None:
    """The synchronous standby stops; the other one takes its place."""
    standby = roles["sync_standby"]
    stopped = standby.processes()
    for process in stopped:
        process.suspend()
    watch.reading.set()
    await cluster.until(lambda roles: roles.get("sync_standby") not in (None, standby))
    watch.reading.clear()
    for process in stopped:
        process.resume()


FAULTS: dict[str, Fault] = {
    "a switchover": switch_over,
    "PostgreSQL killed": kill_postgresql,
    "its Patroni killed": kill_patroni,
    "a standby hung": hang,
    "the primary's machine lost": kill_both,
}


async def again(accounts: Accounts, since: float) -> None:
    """Waits until all listeners have heard of a change that was asked for later."""
    async with asyncio.timeout(BACK):
        while not any(write.sent > since and write.outcome == "ok" for write in accounts.writes):
            await asyncio.sleep(0.01)
        last = max(listener.position for listener in accounts.listeners)
        while not all(listener.position > last for listener in accounts.listeners):
            await asyncio.sleep(0.01)


async def check(_: str) -> list[Figure]:
    """three servers of Patroni behind HAProxy, under 30 changes a second: the primary is lost in every way"""
    if lacking := missing():
        return [Figure(f"not tried: there is no {lacking}", "", "")]
    silences = {}
    async with (
        managed(temporary() / f"patroni-{time.monotonic_ns()}") as cluster,
        inventory(cluster.dsn) as service,
        kept(service.port) as accounts,
        watched(service, accounts, cluster) as watch,
    ):
        for name, fault in FAULTS.items():
            roles = await cluster.whole()
            await asyncio.sleep(2)
            for listener in accounts.listeners:
                listener.silence = 0.0
            await fault(cluster, roles, watch)
            await again(accounts, time.monotonic())
            silences[name] = max(listener.silence for listener in accounts.listeners)
        await cluster.whole()
        rewound = sum("running pg_rewind" in node.log for node in cluster.nodes)
        figures = await accounts.balance(cluster.dsn)
    statuses, slowest = {status for status, _ in watch.reads}, max(seconds for _, seconds in watch.reads)
    read = statuses == {200} and slowest <= READ
    return [
        *(Figure(f"{name}: the longest silence, s", "", f"{seconds:.1f}") for name, seconds in silences.items()),
        Figure("old primaries that were rewound", ">= 1", str(rewound), rewound > 0),
        Figure("health was good and nothing heard, s", f"<= {LIED}", f"{watch.lied:.2f}", watch.lied <= LIED),
        Figure("backends of the service, at most", f"<= {SESSIONS}", str(watch.backends), watch.backends <= SESSIONS),
        Figure("GETs while a standby hangs; the longest, s", f"200; {READ}", f"{statuses}; {slowest:.2f}", read),
        *figures,
    ]
