"""Changes that arrive together are committed together, and nobody can tell."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory_ws import create_app
from inventory_ws.pg.database import DATABASE
from inventory_ws.products import batching
from inventory_ws.products.batching import BatchingDatabase

from .conftest import PRODUCT, create

Request = tuple[str, str, dict[str, Any] | None, dict[str, str]]
Serve = Callable[..., Awaitable[TestClient]]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Changes wait for the one under way as long as it takes. Returns how long they wait else."""
    seconds = batching.PATIENCE
    monkeypatch.setattr(batching, "PATIENCE", 60)
    return seconds


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The changes that were made alone after a batch."""
    changes: list[Any] = []
    make = BatchingDatabase.make

    async def recorded(db: Any, change: Any, alone: Any) -> Any:
        async def after_batch(seconds: float | None) -> Any:
            if seconds is not None:
                changes.append(change)
            return await alone(seconds)

        return await make(db, change, after_batch)

    monkeypatch.setattr(BatchingDatabase, "make", recorded)
    return changes


async def together(client: TestClient, *requests: Request) -> list[asyncio.Task[ClientResponse]]:
    """Sends the requests one by one while a change is under way, so that they are one batch."""
    db: Any = client.app[DATABASE]
    turn = db._begin()
    asking: list[asyncio.Task[ClientResponse]] = []
    for method, path, body, headers in requests:
        asking.append(asyncio.ensure_future(client.request(method, path, json=body, headers=headers)))
        async with asyncio.timeout(10):
            while len(db._waiting) < len(asking):
                await asyncio.sleep(0)
    db._end(turn)
    return asking


async def statuses(asking: list[asyncio.Task[ClientResponse]]) -> list[int]:
    return [resp.status for resp in await asyncio.gather(*asking)]


def move(product: int, delta: int = 1, **headers: str) -> Request:
    return "POST", f"/api/productos/{product}/stock", {"delta": delta}, headers


def post(key: str = "", **fields: Any) -> Request:
    return "POST", "/api/productos", {**PRODUCT, **fields}, {"Idempotency-Key": key} if key else {}


# What an owner may have added: constraints, and triggers that refuse, skip, or change other products, some at the commit.
OWNERS = """
CREATE UNIQUE INDEX ON productos (nombre);
CREATE FUNCTION mandar() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.precio = 13 THEN
        RAISE EXCEPTION 'trae mala suerte';
    ELSIF NEW.precio = 14 THEN
        RETURN NULL;
    ELSIF NEW.precio = 15 THEN
        UPDATE productos SET stock = stock + 100
        WHERE id <> NEW.id AND precio = 16 AND left(nombre, 9) = left(NEW.nombre, 9);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mandar BEFORE INSERT OR UPDATE OF precio ON productos FOR EACH ROW EXECUTE FUNCTION mandar();
CREATE FUNCTION barato() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE productos SET descripcion = 'barato' WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER barato AFTER UPDATE OF precio ON productos FOR EACH ROW WHEN (NEW.precio = 12) EXECUTE FUNCTION barato();
CREATE FUNCTION al_final() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'cinco no'; END $$;
CREATE CONSTRAINT TRIGGER al_final AFTER UPDATE ON productos DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.stock = 5) EXECUTE FUNCTION al_final()
"""
CHANGES = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("POST"), st.just(None), st.fixed_dictionaries({"nombre": st.sampled_from("abc")})),
            st.tuples(st.just("PATCH"), st.integers(0, 2), st.fixed_dictionaries({"precio": st.integers(12, 16)})),
            st.tuples(st.just("PUT"), st.integers(0, 2), st.fixed_dictionaries({"stock": st.integers(2, 5)})),
            st.tuples(st.just("DELETE"), st.integers(0, 2), st.none()),
            st.tuples(
                st.just("POST"), st.integers(0, 2), st.fixed_dictionaries({"delta": st.sampled_from([-2, -1, 3])})
            ),
        ),
        st.sampled_from([None, None, "k1", "k2"]),  # Idempotency-Key
        st.sampled_from([None, None, None, "old", "current"]),  # If-Match
    ),
    min_size=2,
    max_size=9,
)


RUNS = count()


class Shop:
    """Three products of a run, and what is asked of them; what is compared tells nothing of the run."""

    def __init__(self, client: TestClient, psql: Callable, name: str) -> None:
        self.client, self.psql, self.name = client, psql, name
        self.products: list[dict[str, Any]] = []

    async def open(self, changes: list[Any]) -> list[Request]:
        """The products, and the requests that the changes are."""
        ((self.start,),) = self.psql("SELECT coalesce(max(id), 0) FROM eventos")
        for price in (1, 16, 16):
            self.products.append(
                await create(self.client, nombre=f"{self.name}{len(self.products)}", precio=price, stock=2)
            )
        return [self._request(number, *change) for number, change in enumerate(changes)]

    def _request(self, number: int, change: Any, key: str | None, version: str | None) -> Request:
        method, product, body = change
        headers = {"X-Who": f"user {number}"} if number % 2 else {}
        if key:
            headers = {"Idempotency-Key": f"{self.name}{key}"}
        path = "/api/productos"
        if product is not None:
            path += f"/{self.products[product]['id']}"
            if version and method != "POST":
                tag = "2024-01-30T10:00:00.000Z" if version == "old" else self.products[product]["updated_at"]
                headers["If-Match"] = f'"{tag}"'
        if body and "nombre" in body:
            body = {**PRODUCT, "nombre": self.name + body["nombre"]}
        elif body and "delta" in body:
            path += "/stock"
            body = {**body, "motivo": f"reason {number}"} if number % 3 else body
        return method, path, body, headers

    def _told(self, text: str, ids: dict[int, int]) -> Any:
        told = json.loads(re.sub(r"\d{4}-[-\d]+T[:.\d]+Z", "then", text.replace(self.name, "")))
        for data in (told.get("data"), told.get("antes")):
            if data and "id" in data:
                data["id"] = ids.setdefault(data["id"], len(ids))
        told.pop("id", None)
        return told

    async def compared(self, answers: list[ClientResponse]) -> Any:
        """The log, the table and the answers. The product in a refusal may be read later than it was refused."""
        ids: dict[int, int] = {}
        log = "SELECT mensaje::text, clave FROM eventos WHERE id > %s ORDER BY id"
        events = [
            (self._told(text, ids), key and key.replace(self.name, "")) for text, key in self.psql(log, [self.start])
        ]
        table = "SELECT id, nombre, descripcion, precio, stock, updated_at > created_at FROM productos WHERE left(nombre, 9) = %s"
        rows = [
            (ids[number], name.replace(self.name, ""), *row) for number, name, *row in self.psql(table, [self.name])
        ]
        told = []
        for resp in answers:
            body = self._told(text := await resp.text(), ids)
            if resp.status < 300:
                assert f'"updated_at":{resp.headers["ETag"]}' in text
            else:
                body.pop("data", None)
            told.append((resp.status, body, resp.headers.get("Idempotency-Replayed"), "Location" in resp.headers))
        return events, sorted(rows), told


@pytest.fixture
async def owned(dsn: str, psql: Callable, aiohttp_client: Serve) -> TestClient:
    """A client of a service whose database has an owner, and whose users have names."""

    async def named(request: web.Request) -> bool | str:
        return request.headers.get("X-Who", True)

    psql(OWNERS)
    return await aiohttp_client(create_app(dsn=dsn, authenticate=named))


@settings(max_examples=40, deadline=None, database=None)
@given(changes=CHANGES)
async def test_alone_or_together_nobody_can_tell(owned: TestClient, psql: Callable, changes: list[Any]) -> None:
    """Requests sent together, and the same ones sent one by one: first those that the batch made, then those it left."""
    shop = Shop(owned, psql, f"{next(RUNS):08}-")
    requests = await shop.open(changes)
    answered: dict[int, ClientResponse] = {}
    left: list[int] = []
    asked, in_turn, make = iter(range(len(requests))), asyncio.Lock(), BatchingDatabase.make

    async def recorded(db: Any, change: Any, alone: Any) -> Any:
        number = next(asked)

        async def after_batch(seconds: float | None) -> Any:
            await in_turn.acquire()  # until its answer has come: a refusal reads the product
            left.append(number)
            return await alone(seconds)

        return await make(db, change, after_batch)

    async def answer(number: int, asking: asyncio.Task[ClientResponse]) -> None:
        answered[number] = await asking
        if number in left:
            in_turn.release()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchingDatabase, "make", recorded)
        asking = await together(owned, *requests)
        await asyncio.gather(*(answer(*each) for each in enumerate(asking)))
    order = [number for number in range(len(requests)) if number not in left] + left
    at_once = await shop.compared([answered[number] for number in order])
    other = Shop(owned, psql, f"{next(RUNS):08}-")
    requests = await other.open(changes)
    one_by_one = []
    for number in order:
        method, path, body, headers = requests[number]
        one_by_one.append(await owned.request(method, path, json=body, headers=headers))
    assert at_once == await other.compared(one_by_one)
