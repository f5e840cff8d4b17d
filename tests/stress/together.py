"""Three instances whose batches change the same few products in every order, beside transactions of psql's that do, too."""

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import AsyncExitStack, closing
from itertools import count

from ..tools.service import Figure, Service, database, insert, inventory, writer

INSTANCES, WRITERS, PRODUCTS, SECONDS = 3, 15, 6, 60
START = 1_000_000  # units of each product
LOG = "SELECT producto_id, mensaje FROM eventos WHERE tipo = 'PRODUCT_UPDATED' ORDER BY id"


class Writer:
    """Moves stock, with and without keys. `moved`: the units of each product, in what was answered with 200."""

    numbers = count()

    def __init__(self, service: Service) -> None:
        self.service = service
        self.moved: Counter[int] = Counter()
        self.statuses: Counter[int] = Counter()

    async def write(self, until: float) -> None:
        while time.monotonic() < until:
            product, delta = random.randint(1, PRODUCTS), random.choice([-2, -1, 1, 3, -10 * START])
            key = {"Idempotency-Key": f"k{next(self.numbers)}"} if random.random() < 0.5 else {}
            path = f"{self.service.url}/api/productos/{product}/stock"
            async with self.service.session.post(path, json={"delta": delta}, headers=key) as resp:
                await resp.read()
            self.statuses[resp.status] += 1
            if resp.status == 200:
                self.moved[product] += delta


def transactions(dsn: str, until: float) -> Counter[int]:
    """Two products a transaction, in ascending order, so that psql's sessions never wait for one another in a circle."""
    moved: Counter[int] = Counter()
    with closing(writer(dsn)) as conn, conn.cursor() as cursor:
        while time.monotonic() < until:
            first, second = sorted(random.sample(range(1, PRODUCTS + 1), 2))
            cursor.execute("BEGIN")
            for product in (first, second):
                cursor.execute("UPDATE productos SET stock = stock + 1 WHERE id = %s", (product,))
                time.sleep(random.uniform(0, 0.005))
            cursor.execute("COMMIT")
            moved.update((first, second))
            time.sleep(0.02)
    return moved


async def check(server: str, seconds: int = SECONDS) -> list[Figure]:
    """three instances with 15 writers each, and two sessions of psql's, at six products for a minute"""
    async with AsyncExitStack() as stack:
        dsn = stack.enter_context(database(server))
        conn = stack.enter_context(closing(writer(dsn)))
        insert(conn, PRODUCTS, "x")
        cursor = stack.enter_context(conn.cursor())
        cursor.execute("UPDATE productos SET stock = %s", (START,))
        services = [await stack.enter_async_context(inventory(dsn)) for _ in range(INSTANCES)]
        writers = [Writer(service) for service in services for _ in range(WRITERS)]
        until = time.monotonic() + seconds
        sessions = [asyncio.to_thread(transactions, dsn, until) for _ in range(2)]
        done = await asyncio.gather(*sessions, *(each.write(until) for each in writers))
        statuses = sum((each.statuses for each in writers), Counter[int]())
        moved = sum(done[0].values()) + sum(done[1].values()) + sum(sum(each.moved.values()) for each in writers)
        cursor.execute("SELECT sum(stock) FROM productos")
        stock = cursor.fetchone()[0] - PRODUCTS * START
        cursor.execute(LOG)
        wrong, last = 0, dict.fromkeys(range(1, PRODUCTS + 1), None)
        for product, message in cursor.fetchall():
            event = message if isinstance(message, dict) else json.loads(message)
            wrong += last[product] not in (None, event["antes"]["stock"])
            last[product] = event["data"]["stock"]
        cursor.execute("SELECT deadlocks, xact_commit FROM pg_stat_database WHERE datname = current_database()")
        deadlocks, commits = cursor.fetchone()
        return [
            Figure("changes, refusals; commits in all", "", f"{statuses[200]}, {statuses[409]}; {commits}"),
            Figure("deadlocks", "0", str(deadlocks), not deadlocks),
            Figure(
                "statuses beside 200 and 409", "none", f"{ {*statuses} - {200, 409} or '' }", {*statuses} <= {200, 409}
            ),
            Figure("units moved, and those that the table has", "the same", f"{moved}, {stock}", moved == stock),
            Figure("events that do not continue the one before", "0", str(wrong), not wrong),
            *(service.complaints() for service in services),
        ]
