"""PostgreSQL's primary dies, and its standby takes over: the service is given both, and finds who may be written to."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from uuid import uuid4

import aiohttp

from ..tools.cluster import Cluster
from ..tools.screen import agree, run, shown
from ..tools.service import PATIENCE, Figure, inventory, temporary, writer
from .accounts import kept
from .killed import kill_all

BACK = 5.0 * PATIENCE  # seconds from the promotion
SCREENS = 3
GONE = 0.5  # seconds of changes that the standby does not get
REPLICA = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{}'"


@contextmanager
def clusters() -> Iterator[tuple[Cluster, Cluster, str]]:
    """A primary, one to be its standby, and the DSN of whichever of them may be written to."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(Cluster(temporary() / f"{time.monotonic_ns()}")) for _ in range(2))
        first.create()
        hosts = f"host={first.folder},{second.folder} port=5432,5432"
        yield first, second, f"{hosts} user=postgres dbname=inventario target_session_attrs=read-write"


async def follow(standby: Cluster, primary: Cluster, synchronous: bool) -> None:
    """Makes the one, anew, the standby of the other; a commit waits for it where it is synchronous."""
    await asyncio.to_thread(standby.follow, primary)
    await asyncio.to_thread(standby.start)
    wait_for(primary, "*" if synchronous else "")
    async with asyncio.timeout(20 * PATIENCE):
        while not run(primary.dsn, REPLICA.format("sync" if synchronous else "async")):
            await asyncio.sleep(0.02)


def wait_for(primary: Cluster, standbys: str) -> None:
    """Sets for which standbys a commit waits."""
    run(primary.dsn, f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'", "SELECT pg_reload_conf()")


async def kill(primary: Cluster) -> None:
    """kill -9 of all its processes."""
    postmaster = int((primary.folder / "cluster" / "postmaster.pid").read_text().split()[0])
    await asyncio.to_thread(kill_all, postmaster, primary.folder)
    await asyncio.to_thread(primary.stop)


def back(what: str, seconds: list[float]) -> Figure:
    """How long it took at most after a promotion."""
    most = max(seconds)
    return Figure(f"promotions; {what}, s", f"<= {BACK:.0f}", f"{len(seconds)}; {most:.2f}", most <= BACK)


async def synchronous(times: int) -> list[Figure]:
    """A commit is answered when the standby has it too."""
    backs = []
    with clusters() as (primary, standby, dsn):
        async with inventory(dsn) as service, kept(service.port) as accounts:
            await follow(standby, primary, synchronous=True)
            for _ in range(times):
                await asyncio.sleep(random.uniform(0.5, 1.5))
                await kill(primary)
                await asyncio.to_thread(standby.promote)  # five seconds, where it waits for its primary just then
                promoted = time.monotonic()
                primary, standby = standby, primary
                wait_for(primary, "")  # there is none just now
                with closing(writer(primary.dsn)) as conn:
                    while not any(write.answered > promoted and write.outcome == "ok" for write in accounts.writes):
                        await asyncio.sleep(0.01)
                    await accounts.insert(conn)
                backs.append(time.monotonic() - promoted)
                await follow(standby, primary, synchronous=True)
            figures = await accounts.balance(primary.dsn, answers=4.2 * PATIENCE)
    return [
        Figure("", "", ""),
        Figure("-- synchronous", "", ""),
        back("until all hear of changes again", backs),
        *figures,
    ]


async def create(session: aiohttp.ClientSession, name: str, acknowledged: set[str]) -> None:
    """Creates a product of this name, asked for until it is acknowledged."""
    headers, body = {"Idempotency-Key": uuid4().hex}, {"nombre": name, "precio": 1}
    while name not in acknowledged:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.post("/api/productos", json=body, headers=headers) as resp:
                if resp.status == 201:
                    acknowledged.add(name)
        await asyncio.sleep(random.uniform(0.1, 0.3))


async def asynchronous(times: int, rate: float = 30.0) -> list[Figure]:
    """A commit is answered at once; what the standby has not got by then is lost with its primary."""
    backs, acknowledged = [], set[str]()
    creations: list[asyncio.Task[None]] = []
    with clusters() as (primary, standby, dsn):
        async with inventory(dsn) as service, aiohttp.ClientSession(service.url) as session:
            await follow(standby, primary, synchronous=False)

            async def write() -> None:
                for number in count():
                    creations.append(asyncio.create_task(create(session, f"p{number}", acknowledged)))
                    await asyncio.sleep(1 / rate)

            writing = asyncio.create_task(write())
            async with shown(session, SCREENS) as screens:
                for _ in range(times):
                    await asyncio.sleep(random.uniform(0.5, 1.5))
                    await asyncio.to_thread(standby.stop)
                    before = [screen.recovered.count(False) for screen in screens]
                    await asyncio.sleep(GONE)
                    await kill(primary)
                    known = len(acknowledged)
                    await asyncio.to_thread(standby.start)
                    await asyncio.to_thread(standby.promote)
                    promoted = time.monotonic()
                    primary, standby = standby, primary
                    while len(acknowledged) == known:
                        await asyncio.sleep(0.01)
                    backs.append(time.monotonic() - promoted)
                    async with asyncio.timeout(BACK):
                        while any(
                            screen.recovered.count(False) == one for screen, one in zip(screens, before, strict=True)
                        ):
                            await asyncio.sleep(0.01)
                    await follow(standby, primary, synchronous=False)
                writing.cancel()
                async with asyncio.timeout(BACK):
                    await asyncio.gather(*creations)
                await agree(screens, primary.dsn)
                told = [screen.recovered[1:].count(False) for screen in screens]
            names = [name for (name,) in run(primary.dsn, "SELECT nombre FROM productos")]
    lost, twice = len(acknowledged - set(names)), len(names) - len(set(names))
    return [
        Figure("", "", ""),
        Figure("-- asynchronous", "", ""),
        back("until a change is acknowledged", backs),
        Figure(
            "acknowledged; lost by PostgreSQL; twice",
            "some; some; 0",
            f"{len(acknowledged)}; {lost}; {twice}",
            lost > 0 and not twice,
        ),
        Figure(f"losses that {SCREENS} screens were told of", f">= {times} each", str(told), min(told) >= times),
    ]


async def check(_: str, times: int = 10) -> list[Figure]:
    """a primary killed under 30 changes a second and its standby promoted, 10 times, synchronous and asynchronous"""
    return [*await synchronous(times), *await asynchronous(times)]
