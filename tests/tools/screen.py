"""A client that follows the rules, as the page does: what it shows, and what it was told on the way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient

from .service import writer

NEWS = {"PRODUCT_CREATED", "PRODUCT_UPDATED", "PRODUCT_DELETED"}


class Screen:
    """`rows`: the products that it shows, by id. `position` and `epoch`: where it would go on. `recovered`: what each of
    its welcomes said. `told`: the ids of all events that it was sent. `closed`: the codes of its ends."""

    def __init__(self, client: TestClient | aiohttp.ClientSession) -> None:
        self.client = client
        self.rows: dict[int, dict[str, Any]] = {}
        self.position, self.epoch = 0, ""
        self.recovered: list[bool] = []
        self.told: list[int] = []
        self.closed: list[int | None] = []

    async def run(self) -> None:
        """Listens and comes back until cancelled."""
        while True:
            with suppress(aiohttp.ClientError, KeyError, TimeoutError):  # the service, or its database, is not there
                await self.listen()
            await asyncio.sleep(0.05)

    async def listen(self) -> None:
        """One connection, to its end."""
        query = {"last_event_id": str(self.position), "epoch": self.epoch} if self.epoch else {}
        async with self.client.ws_connect("/ws", params=query) as ws:
            welcome = await ws.receive_json(timeout=5)
            self.recovered.append(welcome["recovered"])
            if not welcome["recovered"]:
                answer = await (await self.client.get("/api/productos")).json()
                if answer["epoch"] != welcome["epoch"]:
                    return
                self.rows = {row["id"]: row for row in answer["data"]}
                self.position = max(answer["last_event_id"], welcome["last_event_id"])
            self.epoch = welcome["epoch"]
            async for received in ws:
                message = received.json()
                if message["type"] in NEWS:
                    self.told.append(message["id"])
                    if message["id"] > self.position:
                        self.apply(message)
                elif message["type"] == "PONG":
                    self.position, self.epoch = max(self.position, message["last_event_id"]), message["epoch"]
            self.closed.append(ws.close_code)

    def apply(self, event: dict[str, Any]) -> None:
        """Shows the change."""
        product, self.position = event["data"], event["id"]
        if event["type"] == "PRODUCT_DELETED":
            self.rows.pop(product["id"], None)
        elif product["updated_at"] > self.rows.get(product["id"], {}).get("updated_at", ""):
            self.rows[product["id"]] = product


def run(dsn: str, *statements: str) -> list[Any]:
    """Runs them as psql would, and returns the rows of the last."""
    with closing(writer(dsn)) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def shown(client: TestClient | aiohttp.ClientSession, number: int = 1) -> AsyncIterator[list[Screen]]:
    """Screens that have come to the end of the log."""
    screens = [Screen(client) for _ in range(number)]
    tasks = [asyncio.create_task(screen.run()) for screen in screens]
    try:
        async with asyncio.timeout(10):
            while not all(screen.recovered and screen.epoch for screen in screens):
                await asyncio.sleep(0.01)
        yield screens
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def agree(screens: list[Screen], dsn: str) -> None:
    """Waits until each shows what the table holds."""
    products = "SELECT p.id, j::text FROM productos AS p, producto_json(p) AS j"
    async with asyncio.timeout(20):
        while True:
            rows = {number: json.loads(text) for number, text in run(dsn, products)}
            ((last, epoch),) = run(dsn, "SELECT (SELECT max(id) FROM eventos), epoca FROM eventos_epoca")
            if all(
                (screen.rows, screen.epoch) == (rows, epoch) and screen.position >= (last or 0) for screen in screens
            ):
                return
            await asyncio.sleep(0.05)
