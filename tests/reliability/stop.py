"""The service is asked to end while it is at work."""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, closing, suppress

from psycopg2.extensions import connection

from inventory_ws.pg.database import POOL_SIZE

from ..tools.client import Client, dial
from ..tools.service import PATIENCE, Figure, Service, database, insert, inventory, writer
from .statements import ROW, holding, query

IDLE, STALLED, REQUESTS = 100, 5, 10  # more requests than the pool has connections
LIMIT = 10.0 * PATIENCE  # seconds
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'inventory_ws' AND wait_event_type = 'Lock'
"""


async def sell(port: int) -> int | None:
    """Takes one unit of the product; returns the status of the answer, or None where there was none."""
    head = f"POST /api/productos/1/stock HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    reader, end = await asyncio.open_connection("127.0.0.1", port)
    with closing(end), suppress(ConnectionError, IndexError):
        end.write(f'{head}Content-Length: 12\r\n\r\n{{"delta":-1}}'.encode())
        return int((await reader.readline()).split()[1])
    return None


async def clients(service: Service, number: int, target: str, stack: ExitStack) -> list[Client]:
    """So many open sockets, until the end of the stack."""
    opened = [stack.enter_context(closing(await dial(service.port, lambda *_: None))) for _ in range(number)]
    before = (await service.health())["sockets"]
    for client in opened:
        client.upgrade(service.port, target)
    async with asyncio.timeout(LIMIT):
        while (await service.health())["sockets"] < before + number:
            await asyncio.sleep(0.02)
    return opened


async def stop(dsn: str, conn: connection) -> tuple[int | None, float, Counter[int | None], Counter[int | None], int]:
    """One end. Returns the exit status, the seconds it took, the answers of the requests, what the idle were told, and
    the units sold beyond those answers."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(inventory(dsn))
        idle = await clients(service, IDLE, "/ws?eventos=PRODUCT_DELETED", stack)
        stalled = await clients(service, STALLED, "/ws", stack)
        for client in stalled:
            client.transport.pause_reading()
        await asyncio.to_thread(insert, conn, 600, "x" * 9000)
        ((last,),) = await query(conn, "SELECT max(id) FROM eventos")
        await service.settled(last)
        ((before,),) = await query(conn, "SELECT stock FROM productos WHERE id = 1")
        async with holding(dsn, ROW.format(1)):
            requests = [asyncio.create_task(sell(service.port)) for _ in range(REQUESTS)]
            async with asyncio.timeout(1.5):  # the service waits for a lock two seconds long
                while await query(conn, WAITING) != [(POOL_SIZE,)]:
                    await asyncio.sleep(0.02)
            began = time.monotonic()
            os.kill(service.pid, signal.SIGTERM)
            await asyncio.sleep(0.5)
        answers = Counter(await asyncio.gather(*requests))
        async with asyncio.timeout(3 * LIMIT):
            status = await service.process.wait()
        took = time.monotonic() - began
        ((after,),) = await query(conn, "SELECT stock FROM productos WHERE id = 1")
        return status, took, answers, Counter(client.code for client in idle), before - after - answers[200]


async def check(server: str, times: int = 10) -> list[Figure]:
    """SIGTERM 10 times, with 100 idle sockets, 5 that do not read, and 10 requests that wait for a row"""
    with database(server) as dsn, closing(writer(dsn)) as conn:
        await asyncio.to_thread(insert, conn, 1, "")
        await query(conn, "UPDATE productos SET stock = 1000")
        ends = [await stop(dsn, conn) for _ in range(times)]
    statuses, times_taken, answers, codes, sold = zip(*ends, strict=True)
    answered, told, most = sum(answers, Counter()), sum(codes, Counter()), max(times_taken)
    requests, idle = times * REQUESTS, times * IDLE
    return [
        Figure("exit statuses", f"{{0: {times}}}", str(dict(Counter(statuses))), set(statuses) == {0}),
        Figure("the longest end, s", f"<= {LIMIT:.0f}", f"{most:.1f}", most <= LIMIT),
        Figure("answers to the requests", f"{{200: {requests}}}", str(dict(answered)), answered == {200: requests}),
        Figure("units sold without an answer", "0", str(sum(sold)), not any(sold)),
        Figure("codes that the idle were closed with", f"{{1001: {idle}}}", str(dict(told)), told == {1001: idle}),
    ]
