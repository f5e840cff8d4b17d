"""The network between the service and PostgreSQL: it swallows, resets, crawls, and comes back."""

import asyncio
import time
from contextlib import ExitStack
from itertools import chain

from inventory_ws.pg.database import POOL_SIZE

from ..tools.service import PATIENCE, Figure, Service, database, inventory, percentile
from .accounts import kept
from .proxy import FAULTS, proxied

AT_ONCE = 100


async def broken(dsn: str, fault: str, seconds: float, rate: float = 30.0, readers: int = AT_ONCE) -> list[Figure]:
    """One fault under so many changes a second and reads at once, and the return from it."""
    limit, health, burst = 4.2 * PATIENCE, 5 * PATIENCE, PATIENCE
    async with proxied(dsn) as proxy, inventory(proxy.dsn) as service, kept(service.port, rate=rate) as accounts:
        await asyncio.sleep(1)
        proxy.fault = fault
        await asyncio.sleep(0.5)
        before = accounts.count("ok")
        crowd, waits = await asyncio.gather(at_once(service, readers), poll(service, seconds))
        during = accounts.count("ok") - before
        proxy.fault = None
        healed = await healthy(service)
        began, good = time.monotonic(), False
        while not good and time.monotonic() < began + 12 * burst:
            answers = await asyncio.gather(*(accounts.change() for _ in range(POOL_SIZE)))
            good = all(write.outcome == "ok" for write in answers)
        took = time.monotonic() - began
        figures = await accounts.balance(dsn)
    statuses = {status for status, _, _ in crowd + waits}
    unsaid = sum(status == 503 and not said for status, _, said in crowd + waits)
    most, slowest = max(wait for _, wait, _ in crowd), max(wait for _, wait, _ in waits)
    times = sorted(seconds for write in accounts.writes for status, seconds in write.attempts if status)
    return [
        Figure("", "", ""),
        Figure(f"-- {fault}", "", ""),
        Figure("writes acknowledged meanwhile", "", str(during)),
        Figure(
            "statuses of reads; 503 without Retry-After",
            "200, 503; 0",
            f"{statuses}; {unsaid}",
            statuses <= {200, 503} and not unsaid,
        ),
        Figure(f"the longest wait, s: of {readers} reads at once", f"<= {limit:.1f}", f"{most:.2f}", most <= limit),
        Figure("of reads one after another", f"<= {limit:.1f}", f"{slowest:.2f}", slowest <= limit),
        Figure(
            "of writes: p99, max",
            f"<= {limit:.1f}",
            f"{percentile(times, 0.99):.2f}, {times[-1]:.2f}",
            times[-1] <= limit,
        ),
        Figure("health 200 again after, s", f"<= {health:.1f}", f"{healed:.2f}", healed <= health),
        # The tests ask whether they are made; how soon is asked of a machine that does nothing else.
        Figure(
            f"{POOL_SIZE} writes at once after that, s",
            f"<= {burst:.1f}",
            f"{took:.2f}",
            good and (took <= burst or PATIENCE > 1),
        ),
        *figures,
    ]


async def ask(service: Service, path: str = "/api/productos?limit=1") -> tuple[int, float, bool]:
    """The status of a read, the seconds it took, and whether it says when to come back."""
    began = time.monotonic()
    async with service.session.get(service.url + path) as resp:
        await resp.read()
        return resp.status, time.monotonic() - began, "Retry-After" in resp.headers


async def at_once(service: Service, readers: int) -> list[tuple[int, float, bool]]:
    return await asyncio.gather(*(ask(service) for _ in range(readers)))


async def poll(service: Service, seconds: float) -> list[tuple[int, float, bool]]:
    began, asked = time.monotonic(), []
    while time.monotonic() - began < seconds:
        asked.append(await ask(service))
        await asyncio.sleep(0.1)
    return asked


async def healthy(service: Service, limit: float = 20.0 * PATIENCE) -> float:
    """The seconds until the service is in health."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        if (await ask(service, "/api/salud"))[0] == 200:
            return time.monotonic() - began
        await asyncio.sleep(0.02)
    return float("inf")


async def check(server: str, seconds: float = 30.0) -> list[Figure]:
    """each fault for 30 s under 30 changes a second: 503 and health in time, and nothing lost"""
    figures = []
    for fault in FAULTS:
        with database(server) as dsn:
            figures += await broken(dsn, fault, seconds)
    return figures


async def check_together(server: str, seconds: float) -> list[Figure]:
    """the same with all faults at once, each before a service of its own"""
    with ExitStack() as stack:  # to drop a database can take seconds, for which the other proxies would be deaf
        databases = [stack.enter_context(database(server)) for _ in FAULTS]
        # All together as many as otherwise one alone: what is tested is not the machine.
        rate, readers = 30 / len(FAULTS), AT_ONCE // len(FAULTS)
        checks = (broken(dsn, fault, seconds, rate, readers) for dsn, fault in zip(databases, FAULTS, strict=True))
        return [*chain(*await asyncio.gather(*checks))]
