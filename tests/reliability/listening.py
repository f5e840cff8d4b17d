"""The connection that listens is cut, or hears nothing."""

import asyncio
from contextlib import closing

from inventory_ws.live.feed import CHANNEL
from inventory_ws.pg.connection import _statement

from ..tools.service import PATIENCE, Figure, database, inventory, writer
from .accounts import kept

LOOK = 6.0 * PATIENCE  # seconds until the feed looks by itself
# A cut leaves the pool alone: the last that the feed's connection does is to wake the other instances.
CUT = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'inventory_ws'
    AND query = '{_statement(f"SELECT pg_notify('{CHANNEL}', '')")[2]}'
"""


async def check_cut(server: str, times: int = 50) -> list[Figure]:
    """pg_terminate_backend of the connection that listens, 50 times under 30 changes a second"""
    with database(server) as dsn, closing(writer(dsn)) as conn:
        async with inventory(dsn) as service, kept(service.port) as accounts:
            for _ in range(times):
                await asyncio.sleep(0.4)
                with conn.cursor() as cursor:
                    cursor.execute(CUT)
                    while not cursor.rowcount:
                        await asyncio.sleep(0.01)
                        cursor.execute(CUT)
            figures = await accounts.balance(dsn, within=PATIENCE, answers=PATIENCE)
            told = service.log.read_text().count("the feed lost PostgreSQL")
    return [Figure("cuts of which the feed has told", str(times), str(told), told == times), *figures]


async def check_no_bell(server: str, changes: int = 100, seconds: float = 10.0) -> list[Figure]:
    """100 changes by psql within 10 s, with NOTIFY taken out of the trigger"""

    async def later(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return await accounts.insert(conn)

    with database(server) as dsn, closing(writer(dsn)) as conn:
        with conn.cursor() as cursor:
            cursor.execute("SELECT pg_get_functiondef('eventos_registrar'::regproc)")
            source = cursor.fetchone()[0]
            assert "PERFORM pg_notify('inventory_ws', '');" in source
            silent = source.replace("PERFORM pg_notify('inventory_ws', '');", "NULL;")
        async with inventory(dsn) as service, kept(service.port, rate=0) as accounts:
            with conn.cursor() as cursor:
                cursor.execute(silent)  # the service has applied the schema, bell and all
            took = await asyncio.gather(*(later(seconds * number / changes) for number in range(changes)))
            figures = await accounts.balance(dsn)
    most = max(took)
    return [
        Figure("the longest from commit to last listener, s", f"<= {LOOK:.0f}", f"{most:.2f}", most <= LOOK),
        *figures,
    ]
