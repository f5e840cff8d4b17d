"""Statements that wait, are cancelled by the server, or are left by their client."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from itertools import chain
from typing import Any

from aiohttp import web
from psycopg2.extensions import connection

from inventory_ws import create_app
from inventory_ws.pg.database import POOL_SIZE
from inventory_ws.pg.lanes import RESERVED

from ..tools.service import PATIENCE, Figure, database, inventory, writer
from .accounts import Accounts, kept

SESSIONS = POOL_SIZE + RESERVED + 2  # one for health, and one that listens
ROW = "SELECT FROM productos WHERE id = {} FOR UPDATE"
SLOW = """
CREATE FUNCTION lento() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(10); RETURN NEW; END $$;
CREATE TRIGGER lento BEFORE UPDATE ON productos FOR EACH ROW WHEN (OLD.id = {}) EXECUTE FUNCTION lento()
"""
CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'inventory_ws' AND wait_event_type = 'Lock'
"""


async def query(conn: connection, sql: str) -> list[Any]:
    """Runs one statement of psql's and returns its rows."""

    def run() -> list[Any]:
        with conn.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    return await asyncio.to_thread(run)


@asynccontextmanager
async def holding(dsn: str, locks: str) -> AsyncIterator[None]:
    """A transaction of psql's that stays open for the block, with the locks that its statements take."""
    with closing(writer(dsn)) as conn:
        await query(conn, f"BEGIN; {locks}")
        yield
        await query(conn, "ROLLBACK")


async def whole(accounts: Accounts, conn: connection) -> list[Figure]:
    """Whether the pool has all its connections, the feed is at work, and nothing is left in the database."""
    ours = "datname = current_database() AND application_name = 'inventory_ws'"
    accounts.resting = True
    began = time.monotonic()
    writes = await asyncio.gather(*(accounts.change() for _ in range(POOL_SIZE)))
    took, good = time.monotonic() - began, all(write.outcome == "ok" for write in writes)
    heard = await accounts.insert(conn)
    while True:
        sessions = await query(conn, f"SELECT state, count(*) FROM pg_stat_activity WHERE {ours} GROUP BY state")
        locks = await query(conn, f"SELECT mode FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE {ours}")
        clean = len(sessions) == 1 and sessions[0][0] == "idle" and sessions[0][1] <= SESSIONS and not locks
        if clean or time.monotonic() > began + 5 * PATIENCE:
            break
        await asyncio.sleep(0.05)
    accounts.resting = False
    return [
        Figure(f"{POOL_SIZE} writes at once after it, s", f"<= {PATIENCE}", f"{took:.2f}", good and took <= PATIENCE),
        Figure(
            "psql's next change to the last listener, s", f"<= {2 * PATIENCE}", f"{heard:.2f}", heard <= 2 * PATIENCE
        ),
        Figure("sessions; locks left", f"<= {SESSIONS} idle; 0", f"{dict(sessions)}; {len(locks)}", clean),
    ]


Trouble = Callable[[str, int], AbstractAsyncContextManager[None]]
"""What befalls the changes of the product in the database, for a block."""


def row_locked(dsn: str, product: int) -> AbstractAsyncContextManager[None]:
    """Somebody's transaction holds the row."""
    return holding(dsn, ROW.format(product))


@asynccontextmanager
async def slow(dsn: str, product: int) -> AsyncIterator[None]:
    """The change takes longer than statement_timeout."""
    with closing(writer(dsn)) as conn:
        await query(conn, SLOW.format(product))
        yield
        await query(conn, "DROP FUNCTION lento CASCADE")


@asynccontextmanager
async def cancelled(dsn: str, product: int) -> AsyncIterator[None]:
    """The server cancels whatever waits for a lock: the changes, and the feed."""

    async def cancel() -> None:
        with closing(writer(dsn)) as conn:
            while True:
                await query(conn, CANCEL)
                await asyncio.sleep(0.02)

    async with holding(dsn, f"{ROW.format(product)}; LOCK TABLE eventos_epoca"):
        cancelling = asyncio.create_task(cancel())
        yield
        cancelling.cancel()
        await asyncio.wait([cancelling])


async def refused(server: str, trouble: Trouble, requests: int, seconds: float) -> list[Figure]:
    """So many changes of one product at once, which all have to be refused in time; the trouble lasts so long."""
    with database(server) as dsn, closing(writer(dsn)) as conn:
        async with inventory(dsn) as service, kept(service.port, rate=10) as accounts:
            product = (await accounts.create()).product
            assert product
            async with trouble(dsn, product["id"]):
                changes = [asyncio.create_task(accounts.rename(product)) for _ in range(requests)]
                await asyncio.sleep(seconds)
                writes = [write for write in accounts.writes if write.before is product]
                while not all(write.attempts for write in writes):
                    await asyncio.sleep(0.01)
            statuses = Counter(write.attempts[0][0] for write in writes)
            await asyncio.gather(*changes)  # which are made now, when they are asked for again
            figures = await whole(accounts, conn)
            figures += await accounts.balance(dsn, answers=4.2 * PATIENCE)
            tracebacks = service.log.read_text().count("Traceback")
    return [
        Figure("", "", ""),
        Figure(f"-- {trouble.__doc__}", "", ""),
        Figure("answers", f"{{503: {requests}}}", str(dict(statuses)), statuses == {503: requests}),
        *figures,
        Figure("tracebacks logged", "0", str(tracebacks), tracebacks == 0),
    ]


TROUBLES = (row_locked, slow, cancelled)


async def check_refused(server: str, requests: int = 200, seconds: float = 10.0) -> list[Figure]:
    """200 changes at once: of a row that psql locks for 10 s, past statement_timeout, and cancelled by the server"""
    return [*chain(*[await refused(server, trouble, requests, seconds) for trouble in TROUBLES])]


async def check_refused_together(server: str, requests: int) -> list[Figure]:
    """the same with all three at once, each before a service of its own"""
    return [*chain(*await asyncio.gather(*(refused(server, trouble, requests, 0) for trouble in TROUBLES)))]


@asynccontextmanager
async def cancelling(dsn: str) -> AsyncIterator[int]:
    """The service in an application that cancels the handler whose client has left; yields its port."""
    runner = web.AppRunner(create_app(dsn=dsn), handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def patient(dsn: str) -> AsyncIterator[int]:
    """The service by itself, whose handlers end what they began; yields its port."""
    async with inventory(dsn) as service:
        yield service.port


async def leave(accounts: Accounts) -> None:
    """A client that sends a request, or a part of it, and is gone."""
    request = accounts.unheard()
    _, end = await asyncio.open_connection("127.0.0.1", accounts.port)
    end.write(request if random.random() < 0.7 else request[: random.randrange(len(request))])
    await asyncio.sleep(random.uniform(0, 0.05))
    end.transport.abort()


async def check_left(server: str, clients: int = 500) -> list[Figure]:
    """500 clients that leave in the midst of their request, with and without aiohttp's handler_cancellation"""
    figures = []
    for name, serving in (("patient", patient), ("cancelling", cancelling)):
        with database(server) as dsn, closing(writer(dsn)) as conn:
            async with serving(dsn) as port, kept(port, rate=10) as accounts:
                for _ in range(clients // 50):
                    async with holding(dsn, "LOCK TABLE productos IN SHARE MODE"):  # so that statements are under way
                        await asyncio.gather(*(leave(accounts) for _ in range(50)))
                    await asyncio.sleep(0.2)
                figures += [Figure("", "", ""), Figure(f"-- {name}", "", "")]
                figures += await whole(accounts, conn)
                figures += await accounts.balance(dsn, answers=4.2 * PATIENCE)
    return figures
