"""Sockets that are cut again and again while the inventory changes."""

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any

from ..tools.client import dial
from ..tools.service import Figure, Service, database, inventory

SOCKETS, CUTS, RATE = 50, 20, 50
PRODUCT = {"nombre": "Laptop Dell", "descripcion": "Laptop potente", "precio": 1299.99, "stock": 10}


class Listener:
    """One client: what it has heard, spliced over all its connections."""

    def __init__(self, service: Service, position: int, epoch: str) -> None:
        self.service, self.position, self.epoch = service, position, epoch
        self.events: list[dict[str, Any]] = []
        self.welcomes: list[bool] = []
        self.lost = 0  # connections that were not ended by us

    def hear(self, _: int, payload: bytes) -> None:
        message = json.loads(payload)
        if message["type"] == "CONNECTION_ESTABLISHED":
            self.welcomes.append(message["recovered"])
            self.epoch = message["epoch"]
        else:
            self.events.append(message)
            self.position = message["id"]

    async def listen(self, chance: random.Random, calm: asyncio.Event, done: asyncio.Event) -> None:
        for cut in range(CUTS + 1):
            client = await dial(self.service.port, self.hear)
            client.upgrade(self.service.port, f"/ws?last_event_id={self.position}&epoch={self.epoch}")
            if cut == CUTS:
                calm.set()
                await done.wait()
            else:  # a quarter of them so soon that it may be in the handshake or the replay
                await asyncio.sleep(chance.uniform(0, 0.03) if chance.random() < 0.25 else chance.uniform(0, 1.5))
            self.lost += client.gone.done()
            client.transport.abort()


async def write(service: Service, chance: random.Random, done: asyncio.Event) -> Counter[int]:
    """Changes of every kind at a steady rate, whatever the answers take. Returns how often which status came."""
    statuses: Counter[int] = Counter()
    ids: list[int] = []

    async def change() -> None:
        kind, path = chance.random(), f"{service.url}/api/productos"
        if kind < 0.3 or len(ids) < 5:
            async with service.session.post(path, json=PRODUCT) as resp:
                ids.append((await resp.json())["data"]["id"])
        elif kind < 0.45:
            async with service.session.delete(f"{path}/{ids.pop(chance.randrange(len(ids)))}") as resp:
                await resp.read()
        elif kind < 0.75:
            price = {"precio": chance.randrange(1, 10**6) / 100}
            async with service.session.put(f"{path}/{chance.choice(ids)}", json=price) as resp:
                await resp.read()
        else:
            async with service.session.post(f"{path}/{chance.choice(ids)}/stock", json={"delta": 1}) as resp:
                await resp.read()
        statuses[resp.status] += 1

    async with asyncio.TaskGroup() as group:
        due = time.monotonic()
        while not done.is_set():
            group.create_task(change())
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return statuses


async def check(server: str) -> list[Figure]:
    """50 sockets, each cut 20 times at random moments and resumed, under 50 changes a second over HTTP"""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    with database(server) as dsn:
        async with inventory(dsn) as service:
            start, epoch = await service.position()
            stop, done = asyncio.Event(), asyncio.Event()
            listeners = [Listener(service, start, epoch) for _ in range(SOCKETS)]
            began = time.monotonic()
            writing = asyncio.create_task(write(service, chance, stop))
            calm = [asyncio.Event() for _ in listeners]
            listening = [
                asyncio.create_task(listener.listen(random.Random(chance.random()), event, done))
                for listener, event in zip(listeners, calm, strict=True)
            ]
            await asyncio.gather(*(event.wait() for event in calm))
            await asyncio.sleep(1)
            stop.set()
            statuses = await writing
            seconds = time.monotonic() - began
            oracle: list[dict[str, Any]] = []
            while page := (await service.get(f"/api/eventos?after={oracle[-1]['id'] if oracle else start}"))["data"]:
                oracle += page
            for _ in range(100):
                if all(listener.position == oracle[-1]["id"] for listener in listeners):
                    break
                await asyncio.sleep(0.1)
            done.set()
            await asyncio.gather(*listening)
            complaints = service.complaints()
    ids = [event["id"] for event in oracle]
    heard = [[event["id"] for event in listener.events] for listener in listeners]
    gaps = sum(len(set(ids) - set(one)) for one in heard)
    repeats = sum(len(one) - len(set(one)) for one in heard)
    disorder = sum(one != sorted(one) for one in heard)
    same = sum(listener.events == oracle for listener in listeners)
    welcomes = [welcome for listener in listeners for welcome in listener.welcomes]
    lost = sum(listener.lost for listener in listeners)
    failures = sum(number for status, number in statuses.items() if status >= 500)
    return [
        Figure("seed", "", str(seed)),
        Figure("changes a second, events in the range", "", f"{sum(statuses.values()) / seconds:.1f}, {len(ids)}"),
        Figure("connections; welcomes heard", "", f"{SOCKETS * (CUTS + 1)}; {len(welcomes)}"),
        Figure("statuses of the changes", "none of 5xx", dict(statuses).__repr__(), failures == 0 and len(ids) > 100),
        Figure("gaps, in all", "0", str(gaps), gaps == 0),
        Figure("duplicates, in all", "0", str(repeats), repeats == 0),
        Figure("sockets out of order", "0", str(disorder), disorder == 0),
        Figure("sockets whose events equal GET /api/eventos", str(SOCKETS), str(same), same == SOCKETS),
        Figure("welcomes with recovered false", "0", str(welcomes.count(False)), all(welcomes)),
        Figure("connections ended by the service", "0", str(lost), lost == 0),
        complaints,
    ]
