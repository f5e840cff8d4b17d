"""The accounts of a run: what was asked for, what was acknowledged, what was logged and what was heard.

    async with kept(port) as accounts:  # writers and listeners are at work
        ...  # break something, and mend it
        figures = await accounts.balance(dsn)

A write whose answer does not come, or is a 503, is asked for again with its key, as the page does, until its outcome is
known; meanwhile its product is left alone. Each write is known by the event it would make, before its answer: names are
used once, and stock only goes down. The database has to be the accounts' own, from its first event on.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import count, pairwise
from statistics import median
from typing import Any
from uuid import uuid4

import aiohttp
from psycopg2.extensions import connection

from ..tools.client import Client, dial
from ..tools.service import PATIENCE, Figure, writer

STOCK = 1_000_000
HANG = 10.0 * PATIENCE  # seconds without an answer: nobody waits so long
AT_ONCE = 120  # writes that wait for their outcome: whoever made them makes no other meanwhile
GIVE_UP = 60.0 * PATIENCE  # seconds until a write whose outcome is not known is asked for no more
SETTLE = 20.0 * PATIENCE  # seconds for the listeners to come to the end of the log

Key = tuple[str, *tuple[object, ...]]
"""What names an event: its type, then the product's name and stock, or its id where it was deleted."""


def key(event: dict[str, Any]) -> Key:
    """The key of an event as it is sent."""
    data = event["data"]
    if event["type"] == "PRODUCT_DELETED":
        return event["type"], data["id"]
    return event["type"], data["nombre"], data["stock"]


@dataclass
class Write:
    """One change that was asked for. `outcome`: ok, failed (it was refused), unknown, or unheard (nobody waits for it).
    `attempts`: the status of each answer (None where none came) and the seconds that it took. `answered`: when the
    outcome was known. `product`: as the answer has it; `before`: as it was."""

    key: Key
    sent: float
    outcome: str = "unknown"
    attempts: list[tuple[int | None, float]] = field(default_factory=list)
    answered: float = float("inf")
    product: dict[str, Any] | None = None
    before: dict[str, Any] | None = None


class Listener:
    """One client that comes back to where it was, as the page does: what it has heard over all its connections."""

    def __init__(self, accounts: "Accounts", position: int, epoch: str) -> None:
        self.ids: list[int] = []
        self.connections = self.unrecovered = 0
        self.silence = 0.0  # the longest, in seconds
        self._heard = float("inf")
        self._accounts, self.position, self._epoch = accounts, position, epoch
        self._client: Client | None = None

    def cut(self) -> None:
        """Ends its connection without a word; it comes back by itself."""
        if self._client:
            self._client.transport.abort()

    def _hear(self, _: int, payload: bytes) -> None:
        now = time.monotonic()
        self.silence, self._heard = max(self.silence, now - self._heard), now
        message = json.loads(payload)
        if message["type"] == "CONNECTION_ESTABLISHED":
            self.connections += 1
            if not message["recovered"]:
                self.unrecovered += 1
                self.position = message["last_event_id"]
            self._epoch = message["epoch"]
        elif "id" in message:
            self.ids.append(message["id"])
            self.position = message["id"]
            self._accounts.note(message["id"], payload)

    async def listen(self) -> None:
        """Listens until cancelled."""
        port = self._accounts.port
        while True:
            try:
                self._client = await dial(port, self._hear)
                self._client.upgrade(port, f"/ws?last_event_id={self.position}&epoch={self._epoch}")
                await self._client.gone
            except OSError:
                pass  # the service is not there just now
            finally:
                self.cut()
            await asyncio.sleep(random.uniform(0.05, 0.2))


class Accounts:
    """The books of one run; `kept` opens them."""

    def __init__(self, port: int, session: aiohttp.ClientSession, rate: float) -> None:
        self.port, self.rate = port, rate
        self.writes: list[Write] = []
        self.listeners: list[Listener] = []
        self.resting = False  # the writers make a pause
        self.waiting = 0  # writes whose outcome is not known yet
        self.hung = 0  # requests without an answer, on a connection that stayed open
        self.unsaid = 0  # 503 without Retry-After
        self.differing = 0  # messages that another listener heard otherwise
        self._session = session
        self._url = f"http://127.0.0.1:{port}/api/productos"
        self._names = (f"{random.randrange(16**8):08x}-{number}" for number in count())
        self._idle: list[dict[str, Any]] = []  # products that no write is under way for
        self._heard: dict[int, bytes] = {}
        self._last_heard: dict[int, float] = {}
        self._stop = asyncio.Event()

    async def begin(self, position: int, epoch: str, listeners: int) -> None:
        """Sets listeners and writers to work, after the position."""
        self._start = position
        self.listeners = [Listener(self, position, epoch) for _ in range(listeners)]
        self._listening = [asyncio.create_task(listener.listen()) for listener in self.listeners]
        async with asyncio.timeout(HANG):
            while not all(listener.connections for listener in self.listeners):
                await asyncio.sleep(0.01)
        self._writing = asyncio.create_task(self.write())

    async def end(self) -> None:
        """Ends whoever is still at work."""
        tasks = [self._writing, *self._listening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def count(self, outcome: str) -> int:
        """How many writes had this outcome so far."""
        return sum(write.outcome == outcome for write in self.writes)

    def note(self, event: int, payload: bytes) -> None:
        """A listener has heard the event."""
        self.differing += self._heard.setdefault(event, payload) != payload
        self._last_heard[event] = time.monotonic()

    async def write(self) -> None:
        """Makes changes of every kind at the rate (0: none), until the balance is drawn; none while very many wait."""
        async with asyncio.TaskGroup() as group:
            due = time.monotonic()
            while self.rate and not self._stop.is_set():
                if not self.resting and self.waiting < AT_ONCE:
                    group.create_task(self.change())
                due += 1 / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def change(self) -> Write:
        """Makes one change of a product that no other is under way for, and keeps account of it."""
        kind = random.random()
        if kind < 0.35 or not self._idle:
            product, write = None, await self.create()
        else:
            product = self._idle.pop(random.randrange(len(self._idle)))
            if kind < 0.45:
                write = await self._ask("PRODUCT_DELETED", "DELETE", None, product)
            elif kind < 0.75:
                write = await self.rename(product)
            else:
                write = await self._ask("PRODUCT_UPDATED", "POST", {"delta": -random.randint(1, 5)}, product)
        if write.product and write.key[0] != "PRODUCT_DELETED":
            self._idle.append(write.product)
        elif write.outcome == "failed" and product:
            self._idle.append(product)
        return write

    async def create(self) -> Write:
        """Creates a product, for the caller alone, and keeps account of it."""
        return await self._ask("PRODUCT_CREATED", "POST", self._new())

    async def rename(self, product: dict[str, Any]) -> Write:
        """Gives the product a name of its own, and keeps account of it."""
        return await self._ask("PRODUCT_UPDATED", "PATCH", {"nombre": next(self._names)}, product)

    def unheard(self) -> bytes:
        """A request that creates a product, as it is sent, for somebody who will not wait for the answer."""
        new = self._new()
        self.writes.append(Write(key({"type": "PRODUCT_CREATED", "data": new}), time.monotonic(), "unheard"))
        body = json.dumps(new).encode()
        head = f"POST /api/productos HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _new(self) -> dict[str, Any]:
        return {"nombre": next(self._names), "descripcion": "Mouse inalámbrico", "precio": 24.5, "stock": STOCK}

    async def _ask(
        self, kind: str, method: str, body: dict[str, Any] | None, product: dict[str, Any] | None = None
    ) -> Write:
        delta = (body or {}).get("delta", 0)
        wanted = {**(product or {}), **(body or {})}
        wanted["stock"] += delta
        write = Write(key({"type": kind, "data": wanted}), time.monotonic(), before=product)
        self.writes.append(write)
        path = (f"/{product['id']}" if product else "") + ("/stock" if delta else "")
        headers, pause = {"Idempotency-Key": uuid4().hex}, 0.2
        self.waiting += 1
        while write.outcome == "unknown" and time.monotonic() < write.sent + GIVE_UP:
            if write.attempts:
                await asyncio.sleep(random.uniform(pause / 2, pause))
                pause = min(pause * 2, 1.0)
            began, status = time.monotonic(), None
            try:
                async with self._session.request(method, self._url + path, json=body, headers=headers) as resp:
                    answer = await resp.json()
                    status = resp.status
            except TimeoutError:
                self.hung += 1
            except (aiohttp.ClientError, ConnectionError):
                pass
            else:
                write.answered = time.monotonic()
                self.unsaid += status == 503 and "Retry-After" not in resp.headers
                if status < 500:
                    write.outcome = "ok" if status < 300 else "failed"
            write.attempts.append((status, time.monotonic() - began))
        self.waiting -= 1
        if write.outcome == "ok":
            write.product = answer["data"]
            if key({"type": kind, "data": write.product}) != write.key:
                raise AssertionError(f"{answer} is no answer to {method} {path} {body}")
        return write

    async def insert(self, conn: connection, limit: float = HANG) -> float:
        """Creates a product as psql would, and waits until every listener has heard of it. Returns the seconds that
        this took after the commit."""
        name = next(self._names)
        write = Write(("PRODUCT_CREATED", name, 1), time.monotonic())
        self.writes.append(write)

        def run() -> int:
            with conn.cursor() as cursor:
                cursor.execute("INSERT INTO productos (nombre, precio, stock) VALUES (%s, 1, 1)", [name])
                write.outcome, write.answered = "ok", time.monotonic()
                cursor.execute("SELECT id FROM eventos WHERE mensaje->'data'->>'nombre' = %s", [name])
                return cursor.fetchone()[0]

        event = await asyncio.to_thread(run)
        while time.monotonic() < write.answered + limit:
            if all(listener.position >= event for listener in self.listeners):
                return self._last_heard[event] - write.answered
            await asyncio.sleep(0.01)
        return float("inf")

    async def balance(self, dsn: str, *, within: float | None = None, answers: float | None = None) -> list[Figure]:
        """Ends the writers, lets the listeners come to the end of the log, and compares all there is.

        `within`: seconds from an answer to the last listener, at most. `answers`: seconds for an answer, at most.
        """
        self._stop.set()
        await self._writing
        deadline = time.monotonic() + SETTLE
        while True:
            log, products = await asyncio.to_thread(_read, dsn)
            last = log[-1][0] if log else 0
            if all(listener.position >= last for listener in self.listeners) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        events = [(number, key(json.loads(text)), text) for number, text in log]
        logged = Counter(found for _, found, _ in events)
        ids = {found: number for number, found, _ in events}
        ok = [write for write in self.writes if write.outcome == "ok"]
        possible = {write.key for write in self.writes if write.outcome != "failed"}
        lost = sum(write.key not in ids for write in ok)
        unexpected = sum(number - (found in possible) for found, number in logged.items())
        ok = [write for write in ok if write.key in ids]
        heard = [listener.ids for listener in self.listeners]
        expected = {number for number, _, _ in events if number > self._start}
        gaps = sum(len(expected - set(one)) for one in heard)
        repeats = sum(len(one) - len(set(one)) for one in heard)
        disorder = sum(a > b for one in heard for a, b in pairwise(one)) + _overtaken(ok, ids)
        texts = {number: text.encode() for number, _, text in events}
        self.differing += sum(texts.get(number) != text for number, text in self._heard.items())
        fold: dict[int, Any] = {}
        for _, text in log:
            event = json.loads(text)
            fold[event["data"]["id"]] = event["data"]
            if event["type"] == "PRODUCT_DELETED":
                del fold[event["data"]["id"]]
        other = sum(fold.get(number) != products.get(number) for number in fold.keys() | products.keys())
        counts = [self.count(outcome) for outcome in ("ok", "failed", "unheard", "unknown")]
        again = sum(len(write.attempts) > 1 for write in self.writes)
        attempts = [attempt for write in self.writes for attempt in write.attempts]
        connections = sum(listener.connections for listener in self.listeners)
        unrecovered = sum(listener.unrecovered for listener in self.listeners)
        statuses = Counter(status for status, _ in attempts if status not in (200, 201, None))
        times = [seconds for status, seconds in attempts if status]
        delays = [self._last_heard[ids[write.key]] - write.answered for write in ok if ids[write.key] in self._heard]
        sums = lost, unexpected, gaps, repeats, disorder
        figures = [
            Figure(
                "writes: ok, failed, unheard, unknown",
                "some ok, 0 unknown",
                ", ".join(map(str, counts)),
                counts[0] > 0 and not counts[-1],
            ),
            Figure("of them asked for again, until it was known", "", str(again)),
            Figure("statuses beside 200 and 201", "503", str(dict(statuses)), not {*statuses} - {503}),
            Figure("no answer at all; 503 without Retry-After", "0; 0", f"{self.hung}; {self.unsaid}"),
            Figure("events; listeners; their connections", "", f"{len(log)}; {len(heard)}; {connections}"),
            Figure("lost, unexpected, gap, duplicate, order", "0, 0, 0, 0, 0", str(sums)[1:-1], not any(sums)),
            Figure("messages that differ; resumes refused", "0; 0", f"{self.differing}; {unrecovered}"),
            Figure("products that differ from the log's fold", f"0 of {len(products)}", str(other), not other),
        ]
        for index, bad in ((3, self.hung or self.unsaid), (6, self.differing or unrecovered)):
            figures[index] = figures[index]._replace(ok=not bad)
        if answers:
            most = max(times, default=0.0)
            figures.append(
                Figure("the longest wait for an answer, s", f"<= {answers:.1f}", f"{most:.2f}", most <= answers)
            )
        if within:
            most = max(delays, default=float("inf"))
            shown = f"{median(delays or [0]):.3f}, {most:.2f}"
            figures.append(Figure("answer to last listener, s: median, max", f"<= {within:.1f}", shown, most <= within))
        return figures


def _overtaken(ok: list[Write], ids: dict[Key, int]) -> int:
    """How many writes were logged before one that was acknowledged before they were sent."""
    answered, newest, overtaken = sorted(ok, key=lambda write: write.answered), 0, 0
    for write in sorted(ok, key=lambda write: write.sent):
        while answered[0].answered < write.sent:
            newest = max(newest, ids[answered.pop(0).key])
        overtaken += ids[write.key] < newest
    return overtaken


def _read(dsn: str) -> tuple[list[tuple[int, str]], dict[int, Any]]:
    """The whole log and the whole table, of one moment."""
    with closing(writer(dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT id, mensaje::text FROM eventos ORDER BY id")
        log = cursor.fetchall()
        cursor.execute("SELECT p.id, j::text FROM productos AS p, producto_json(p) AS j")
        return log, {number: json.loads(text) for number, text in cursor.fetchall()}


@asynccontextmanager
async def kept(port: int, *, rate: float = 30.0, listeners: int = 3) -> AsyncIterator[Accounts]:
    """Writers and listeners at work on the service at the port, and their accounts."""
    # No connection is used twice, and none breaks unseen: aiohttp's client would ask again on its own, for DELETE also
    # where the first request was sent, and tell only of the second, which may not have found the service.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=HANG)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        session._retry_connection = False
        async with session.get(f"http://127.0.0.1:{port}/api/productos?limit=1") as resp:
            listed = await resp.json()
        accounts = Accounts(port, session, rate)
        await accounts.begin(listed["last_event_id"], listed["epoch"], listeners)
        try:
            yield accounts
        finally:
            await accounts.end()
