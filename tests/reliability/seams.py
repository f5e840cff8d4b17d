"""Ordinary work on the tables of a shop that is open: loads, moved triggers, changed types, deleted events, lost backends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import aiohttp

from inventory_ws.pg.schema import sql_file

from ..tools.screen import Screen, agree, run, shown
from ..tools.service import PATIENCE, Figure, database, inventory
from .failover import create

TOLD = 2.0 * PATIENCE  # seconds until health says what is wrong, and that it is no more
SETTLED = 10.0 * PATIENCE  # seconds until every screen shows what the table holds
RATE = 30.0
OFF, ON = "ALTER TABLE productos DISABLE TRIGGER USER", "ALTER TABLE productos ENABLE TRIGGER USER"
LOAD = "INSERT INTO productos (nombre, precio) SELECT 'load ' || gen_random_uuid(), n FROM generate_series(1, 100) AS n"
BACKEND = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
UNNOTICED = {  # what is put right before anybody could see it
    "a load between DISABLE and ENABLE TRIGGER": (f"BEGIN; {OFF}; {LOAD}; {ON}; COMMIT",),
    "a load as a replica": ("SET session_replication_role = replica", LOAD, "RESET session_replication_role", OFF, ON),
    "ALTER COLUMN TYPE": ("ALTER TABLE productos ALTER nombre TYPE varchar(255) USING nombre || '.'",),
    "VACUUM FULL": ("VACUUM FULL productos",),
    "events deleted by hand": ("DELETE FROM eventos WHERE id < (SELECT max(id) FROM eventos) - 5",),
    "the schema, applied again": (sql_file("schema.sql"),),
    "all connections ended": (BACKEND,),
}
REPORTED = {  # what lasts until the owner applies the schema
    "triggers left disabled by a load": (OFF, LOAD),
    "triggers that wait for replicas": ("ALTER TABLE productos ENABLE REPLICA TRIGGER eventos_registrar", LOAD),
    "a sequence with a cache": ("ALTER SEQUENCE eventos_id_seq CACHE 20",),
    "a trigger dropped": ("DROP TRIGGER eventos_registrar ON productos",),
}


class Writer:
    """Creates products at the rate while it is `open`; each is asked for until it is acknowledged."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session, self.acknowledged = session, set[str]()
        self.open = asyncio.Event()
        self.waiting = set[asyncio.Task[None]]()

    async def run(self) -> None:
        """Writes until cancelled."""
        for number in count():
            await self.open.wait()
            task = asyncio.create_task(create(self.session, f"p{number}", self.acknowledged))
            self.waiting.add(task)
            task.add_done_callback(self.waiting.discard)
            await asyncio.sleep(1 / RATE)

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """No change is under way."""
        self.open.clear()
        async with asyncio.timeout(SETTLED):
            await asyncio.gather(*self.waiting)
        yield
        self.open.set()


async def until(session: aiohttp.ClientSession, status: int) -> float:
    """Waits until health has the status; returns the seconds."""
    began = time.monotonic()
    while time.monotonic() < began + 5 * TOLD:
        async with session.get("/api/salud") as resp:
            if resp.status == status:
                break
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def settle(writer: Writer, screens: list[Screen], dsn: str) -> float:
    """Waits until all screens show the table; returns the seconds."""
    async with writer.at_rest():
        began = time.monotonic()
        await agree(screens, dsn)
        return time.monotonic() - began


async def check(server: str, seconds: float = 0.5) -> list[Figure]:
    """work on the tables under 30 changes a second: nothing is lost, every screen is right, health says what is wrong"""
    settled, told = {}, {}
    with database(server) as dsn:
        async with (
            inventory(dsn) as service,
            aiohttp.ClientSession(service.url) as session,
            shown(session, 3) as screens,
        ):
            writer = Writer(session)
            writing = asyncio.create_task(writer.run())
            writer.open.set()
            for name, statements in {**UNNOTICED, **REPORTED}.items():
                await asyncio.sleep(seconds)
                await asyncio.to_thread(run, dsn, *statements)
                if name in REPORTED:
                    bad = await until(session, 503)
                    await asyncio.sleep(seconds)  # changes that no screen hears of
                    await asyncio.to_thread(run, dsn, sql_file("schema.sql"))
                    told[name] = max(bad, await until(session, 200))
                settled[name] = await settle(writer, screens, dsn)
            writing.cancel()
            names = [name.rstrip(".") for (name,) in run(dsn, "SELECT nombre FROM productos")]
    lost, twice = len(writer.acknowledged - set(names)), len(names) - len(set(names))
    late, slow = max(told, key=lambda name: told[name]), max(settled, key=lambda name: settled[name])
    return [
        Figure("procedures; changes acknowledged", "some", f"{len(settled)}; {len(writer.acknowledged)}"),
        Figure("lost; twice", "0; 0", f"{lost}; {twice}", lost == twice == 0),
        Figure(f"health was wrong: {late}, s", f"<= {TOLD:.0f}", f"{told[late]:.2f}", told[late] <= TOLD),
        Figure(f"screens were wrong: {slow}, s", f"<= {SETTLED:.0f}", f"{settled[slow]:.2f}", settled[slow] <= SETTLED),
    ]
