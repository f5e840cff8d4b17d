"""What an event tells beside the product: what was there before, who did it, and why."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from inventory_ws import Lost, create_app, snapshot, watch
from inventory_ws.live.log import LOG

from .conftest import PRODUCT, create, error, receive, settled
from .test_readme import README
from .tools.markdown import blocks

Serve = Callable[..., Awaitable[TestClient]]


async def named(request: web.Request) -> bool | str:
    """Whoever says who he is; one without a name may come too."""
    return request.headers.get("X-Who", True)


@pytest.fixture
async def client(dsn: str, aiohttp_client: Callable[..., Awaitable[TestClient]]) -> TestClient:
    return await aiohttp_client(create_app(dsn=dsn, authenticate=named))


async def test_change_in_the_name_of_somebody_else_is_refused(client: TestClient) -> None:
    for actor, status in (("ana", 401), ("Mar%C3%ADa", 201), ("", 401)):
        resp = await client.post("/api/productos", json=PRODUCT, headers={"X-Who": "María", "X-Actor": actor})
        assert resp.status == status, actor
    assert (await client.post("/api/productos", json=PRODUCT, headers={"X-Actor": "ana"})).status == 401


async def last(client: TestClient, number: int) -> dict[str, Any]:
    await settled(client, number)
    return (await (await client.get(f"/api/eventos?after={number - 1}")).json())["data"][-1]


@pytest.mark.parametrize(
    ("change", "before"),
    [
        ({"stock": 3}, {"stock": 10}),
        ({"nombre": 'Ñandú "1"\n', "precio": 0.1}, {"nombre": "Laptop Dell", "precio": 1299.99}),
        ({"descripcion": None}, {"descripcion": "Laptop potente"}),
        ({"stock": 3, "precio": 1299.99}, {"stock": 10}),
    ],
)
async def test_update_event_has_the_former_values(client: TestClient, change: Any, before: Any) -> None:
    await create(client)
    assert "antes" not in await last(client, 1)
    await client.patch("/api/productos/1", json=change)
    event = await last(client, 2)
    assert event["antes"] == before
    assert list(event) == ["type", "id", "data", "timestamp", "antes"]
    await client.patch("/api/productos/1", json=event["antes"])  # which undoes it
    assert (await last(client, 3))["data"] | PRODUCT == (await last(client, 3))["data"]


async def test_update_event_has_the_former_value_of_every_field(client: TestClient) -> None:
    product = await create(client)
    fields = product.keys() - {"id", "created_at", "updated_at"}
    for number, name in enumerate(fields, 2):
        other = 7 if isinstance(product[name], int | float) else "otro"
        await client.patch("/api/productos/1", json={name: other})
        assert (await last(client, number))["antes"] == {name: product[name]}


async def test_update_event_has_former_null_and_unusual_texts(client: TestClient) -> None:
    odd = {"nombre": '"}\\', "descripcion": None}
    await create(client, **odd)
    await client.patch("/api/productos/1", json={"nombre": "x", "descripcion": "y"})
    assert (await last(client, 2))["antes"] == odd


async def test_deletion_event_has_the_whole_product(client: TestClient, psql: Callable) -> None:
    product = await create(client)
    psql("DELETE FROM productos")
    event = await last(client, 2)
    assert (event["data"], event["antes"]) == ({"id": 1}, product)


async def test_actor_is_the_same_in_every_place_an_event_is_read(client: TestClient, dsn: str) -> None:
    ws = await client.ws_connect("/ws")
    await ws.receive_json(timeout=5)
    told = watch(client.app, last_event_id=0)
    maria = {"X-Who": 'María "la jefa"'}
    await client.post("/api/productos", json=PRODUCT, headers=maria)
    await client.put("/api/productos/1", json={"stock": 5}, headers=maria)
    move = {"delta": 24, "motivo": " entrega "}
    await client.post("/api/productos/1/stock", json=move, headers=maria)
    await client.delete("/api/productos/1", headers=maria)
    events = await receive(ws, 4)
    assert [event.get("actor") for event in events] == [maria["X-Who"]] * 4
    assert [event.get("motivo") for event in events] == [None, None, "entrega", None]
    await settled(client, 4)
    assert (await (await client.get("/api/eventos")).json())["data"] == events
    seen = [await anext(told) for _ in events]
    assert [event.actor for event in seen] == [maria["X-Who"]] * 4
    assert [event.reason for event in seen] == [None, None, "entrega", None]
    assert [event.before and event.before.get("stock") for event in seen] == [None, 10, 5, 29]
    assert seen[3].before["precio"] == Decimal("1299.99")


async def test_every_event_of_a_sale_has_its_cause(client: TestClient, psql: Callable) -> None:
    await create(client)
    await create(client)
    sale = {"movimientos": [{"id": 2, "delta": -1}, {"id": 1, "delta": -1}], "motivo": "venta"}
    await client.post("/api/stock", json=sale, headers={"X-Who": "ana", "Idempotency-Key": "k"})
    await settled(client, 4)
    events = (await (await client.get("/api/eventos?after=2")).json())["data"]
    assert [(event["actor"], event["motivo"]) for event in events] == [("ana", "venta")] * 2
    assert psql("SELECT clave FROM eventos ORDER BY id") == [(None,), (None,), ("k",), (None,)]


async def test_request_without_a_user_name_has_no_actor(client: TestClient, psql: Callable) -> None:
    await client.post("/api/productos", json=PRODUCT, headers={"X-Who": "maria"})
    for _ in range(9):  # on every connection of the pool, also the one that has had a name
        await create(client)
    await settled(client, 10)
    events = (await (await client.get("/api/eventos")).json())["data"]
    assert [event.get("actor") for event in events] == ["maria"] + [None] * 9
    assert list(events[1]) == ["type", "id", "data", "timestamp"]
    await error(await client.get("/api/productos", headers={"X-Who": ""}), 401)


async def test_sql_can_set_actor_and_reason(client: TestClient, connect: Callable) -> None:
    """That of the README."""
    await create(client)
    (sql,) = [block.text for block in blocks(README, "sql") if "inventory_ws.causa" in block.text]
    session = connect()
    session.cursor().execute(sql.replace("id = 7", "id = 1"))
    session.cursor().execute("UPDATE productos SET stock = 1")
    await settled(client, 3)
    events = (await (await client.get("/api/eventos?after=1")).json())["data"]
    assert [(event["data"]["stock"], event.get("actor"), event.get("motivo")) for event in events] == [
        (9, "ana", "web 1042"),
        (1, None, None),
    ]


@pytest.mark.parametrize("reason", [7, "x" * 256, "\x00", None])
async def test_invalid_reason_is_400(client: TestClient, reason: object) -> None:
    await create(client)
    body = await error(await client.post("/api/productos/1/stock", json={"delta": 1, "motivo": reason}), 400)
    assert body["errors"][0]["field"] == "motivo"


async def test_socket_closes_when_its_authentication_expires(
    dsn: str, aiohttp_client: Callable[..., Awaitable[TestClient]]
) -> None:
    known, asked = {"maria", "juan"}, Counter[str]()

    async def signed_in(request: web.Request) -> bool | str:
        asked[request.query["who"]] += 1
        return request.query["who"] in known and request.query["who"]

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=signed_in, authenticate_every=0.1))
    sockets = {who: await client.ws_connect(f"/ws?who={who}") for who in ("maria", "juan")}
    for ws in sockets.values():
        await ws.receive_json(timeout=5)
    async with asyncio.timeout(5):
        while min(asked.values()) < 3:
            await asyncio.sleep(0.01)
    known.remove("juan")
    assert (await sockets["juan"].receive(timeout=5)).data == 4401
    await sockets["maria"].send_json({"type": "PING"})
    assert (await sockets["maria"].receive_json(timeout=5))["type"] == "PONG"


async def test_socket_stays_open_when_the_check_fails(
    dsn: str, aiohttp_client: Callable[..., Awaitable[TestClient]], caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    async def failing(request: web.Request) -> bool:
        asked.append(request)
        if len(asked) in (2, 3):
            raise RuntimeError("the list of names is not there")
        return True

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=failing, authenticate_every=0.05))
    ws = await client.ws_connect("/ws")
    await ws.receive_json(timeout=5)
    async with asyncio.timeout(5):
        while len(asked) < 5:
            await asyncio.sleep(0.01)
    await ws.send_json({"type": "PING"})
    assert (await ws.receive_json(timeout=5))["type"] == "PONG"
    assert "the list of names is not there" in caplog.text


async def test_products_and_watch_together_miss_nothing(client: TestClient, psql: Callable) -> None:
    writers = [asyncio.to_thread(psql, "INSERT INTO productos (nombre, precio) VALUES ('psql', 1.10)")]
    posts = [create(client) for _ in range(20)]
    tasks = [asyncio.ensure_future(each) for each in (*posts[:10], *writers, *posts[10:])]
    await asyncio.sleep(0.02)
    rows, position, epoch = await snapshot(client.app)
    ids = {row["id"]: row["updated_at"] for row in rows}
    await asyncio.gather(*tasks)
    await settled(client, 21)
    events = watch(client.app, last_event_id=position, epoch=epoch)
    while position < 21:  # the products may have been all of them
        event = await anext(events)
        ids[event.data["id"]] = event.data["updated_at"]
        position = event.id
    assert ids == dict(
        psql("SELECT id, to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') FROM productos")
    )


async def test_products_include_those_older_than_the_log(attentive: None, client: TestClient, psql: Callable) -> None:
    await create(client, precio=0.1)
    await settled(client, 1)
    psql("SELECT eventos_podar(1, 0)")
    async with asyncio.timeout(10):
        while not client.app[LOG].floor:
            await asyncio.sleep(0.01)
    with pytest.raises(Lost):
        await anext(watch(client.app, last_event_id=0))
    rows, position, _ = await snapshot(client.app)
    assert [row["precio"] for row in rows] == [Decimal("0.10")]
    await client.patch("/api/productos/1", json={"stock": 4})
    assert (await anext(watch(client.app, last_event_id=position))).before == {"stock": 10}


async def test_products_refuse_the_host_application(dsn: str) -> None:
    with pytest.raises(TypeError, match="not its host"):
        await snapshot(web.Application())
