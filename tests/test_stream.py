"""Every socket is a cursor: resume, rooms, and what is kept of the log."""

import asyncio
import random
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient

from inventory_ws import create_app
from inventory_ws.live import eventlog
from inventory_ws.live.frames import deflated, frame
from inventory_ws.live.hub import HUB, SOCKETS
from inventory_ws.live.log import LOG, Log
from inventory_ws.pg.database import DATABASE
from inventory_ws.pg.errors import Unavailable

from .conftest import create, error, receive, settled, silence


async def resume(
    client: TestClient, position: object, epoch: str | None = None, **query: str
) -> tuple[ClientWebSocketResponse, dict[str, Any]]:
    """A socket that asks to go on after the position, and its welcome."""
    params = {"last_event_id": str(position), **({"epoch": epoch} if epoch else {}), **query}
    ws = await client.ws_connect("/ws", params=params)
    return ws, await ws.receive_json(timeout=5)


async def ids(ws: ClientWebSocketResponse, number: int) -> list[int]:
    return [event["id"] for event in await receive(ws, number)]


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a service that keeps next to nothing in memory: it must come before the service in a test's arguments."""
    monkeypatch.setattr("inventory_ws.live.log.RECENT", 1)


@pytest.fixture(params=["memory", "database"])
def source(request: pytest.FixtureRequest) -> str:
    """Where the past comes from, which must make no difference. As above it must come before the service."""
    if request.param == "database":
        request.getfixturevalue("forgetful")
    return request.param


async def test_resume_continues_after_the_position(source: str, client: TestClient) -> None:
    for _ in range(10):
        await create(client)
    await settled(client, 10)
    ws, welcome = await resume(client, 4, client.app[LOG].epoch)
    assert (welcome["recovered"], welcome["last_event_id"], welcome["newest_event_id"]) == (True, 4, 10)
    assert await ids(ws, 6) == [5, 6, 7, 8, 9, 10]
    await create(client)
    assert await ids(ws, 1) == [11]
    await silence(ws, client)


async def test_resume_at_the_head_is_live(source: str, client: TestClient) -> None:
    await create(client)
    await settled(client, 1)
    ws, welcome = await resume(client, 1)
    assert (welcome["recovered"], welcome["last_event_id"]) == (True, 1)
    await create(client)
    assert await ids(ws, 1) == [2]


async def test_resume_of_a_long_past_has_no_gap_while_others_write(
    source: str, client: TestClient, psql: Callable
) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'p', n FROM generate_series(1, 3000) n")
    await settled(client, 3000)
    ws, _ = await resume(client, 0)
    # On a busy machine the last of a hundred at once waits longer than anybody should.
    client.app[DATABASE].timeout = 60
    writing = asyncio.gather(*(create(client) for _ in range(100)))
    assert await ids(ws, 3100) == list(range(1, 3101))
    await writing
    await silence(ws, client)


async def test_replayed_events_equal_the_live_ones_byte_for_byte(
    source: str, client: TestClient, listen: Callable
) -> None:
    live = await listen()
    for number in range(5):
        await create(client, nombre=f"ñ{number}")
    heard = [(await live.receive(timeout=5)).data for _ in range(5)]
    await settled(client, 5)
    ws, _ = await resume(client, 0)
    assert [(await ws.receive(timeout=5)).data for _ in range(5)] == heard


async def test_resume_survives_a_restart_of_the_service(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn))
    for _ in range(3):
        await create(client)
    epoch = client.app[LOG].epoch
    await client.close()
    client = await aiohttp_client(create_app(dsn=dsn))
    ws, welcome = await resume(client, 1, epoch)
    assert welcome["recovered"] is True
    assert await ids(ws, 2) == [2, 3]


@pytest.mark.parametrize("position", ["3", "-1", "abc", "", "9" * 30, "1.0", "NaN"])
async def test_unknown_position_is_not_recovered(client: TestClient, position: str) -> None:
    await create(client)
    await create(client)
    await settled(client, 2)
    ws, welcome = await resume(client, position)
    assert (welcome["recovered"], welcome["last_event_id"]) == (False, 2)
    await create(client)
    assert await ids(ws, 1) == [3]


async def test_position_of_another_epoch_is_not_recovered(client: TestClient) -> None:
    await create(client)
    await settled(client, 1)
    _, welcome = await resume(client, 1, str(uuid.uuid4()))
    assert welcome["recovered"] is False
    _, welcome = await resume(client, 1, welcome["epoch"])
    assert welcome["recovered"] is True


async def test_position_is_refused_only_by_who_knows(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    log, check, away = client.app[LOG], Log.check, asyncio.Event()

    async def unknown(*args: Any) -> None:
        if log.live.is_set():
            return await check(*args)
        away.set()
        raise Unavailable

    monkeypatch.setattr(Log, "check", unknown)
    monkeypatch.setattr("inventory_ws.web.websocket.RESUME_TIMEOUT", 0.2)
    log.live.clear()
    ws = await client.ws_connect("/ws", params={"last_event_id": "0", "epoch": log.epoch})
    assert (await ws.receive(timeout=5)).type is WSMsgType.CLOSE
    assert ws.close_code == 1013
    monkeypatch.setattr("inventory_ws.web.websocket.RESUME_TIMEOUT", 5)
    away.clear()
    returning = asyncio.create_task(resume(client, 0, log.epoch))
    await away.wait()
    log.live.set()
    assert (await returning)[1]["recovered"] is True


async def test_position_before_a_truncate_is_not_recovered(
    client: TestClient, listen: Callable, psql: Callable
) -> None:
    await create(client)
    await settled(client, 1)
    epoch = client.app[LOG].epoch
    ws = await listen()
    psql("TRUNCATE productos")
    await ws.receive(timeout=5)
    assert ws.close_code == 1012
    for asked in (epoch, None):
        _, welcome = await resume(client, 0, asked)
        assert welcome["recovered"] is False
    body = await (await client.get("/api/productos")).json()
    assert body["epoch"] == welcome["epoch"] != epoch


async def test_position_ahead_of_this_instance_is_recovered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, psql: Callable
) -> None:
    """The client comes from another instance, whose feed was faster; it must not hear again what it has."""
    feed, held = client.app[HUB].feed, asyncio.Event()
    read = feed._read

    async def slow(*args: object) -> bool:
        await held.wait()
        return await read(*args)

    monkeypatch.setattr(feed, "_read", slow)
    psql("INSERT INTO productos (nombre, precio) VALUES ('a', 1), ('b', 1)")
    resuming = asyncio.create_task(resume(client, 1))
    async with asyncio.timeout(5):
        while not client.app[LOG].asked:
            await asyncio.sleep(0.01)
    assert client.app[LOG].head == 0
    held.set()
    ws, welcome = await resuming
    assert (welcome["recovered"], welcome["last_event_id"]) == (True, 1)
    assert await ids(ws, 1) == [2]
    await silence(ws, client)


async def test_sockets_cut_at_random_receive_each_event_once(source: str, client: TestClient, psql: Callable) -> None:
    changes, dice = 200, random.Random(7)

    async def write() -> None:
        for _ in range(changes):
            psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
            await asyncio.sleep(dice.random() / 200)

    async def follow() -> list[int]:
        heard, position, epoch = [], 0, None
        while len(heard) < changes:
            ws, welcome = await resume(client, position, epoch)
            assert welcome["recovered"] is True
            epoch = welcome["epoch"]
            for _ in range(dice.randint(1, 30)):
                if len(heard) == changes:
                    break
                position = (await ws.receive_json(timeout=10))["id"]
                heard.append(position)
            ws._response.close()  # without a word to the service
        return heard

    _, *lists = await asyncio.gather(write(), *(follow() for _ in range(8)))
    assert lists == [list(range(1, changes + 1))] * 8


ROOMS = [
    ({"productos": [1]}, [1, 3, 6]),
    ({"productos": [1, 2], "eventos": ["PRODUCT_DELETED"]}, [5, 6]),
    ({"eventos": ["PRODUCT_CREATED"]}, [1, 2]),
    ({"productos": []}, []),
]


async def history(client: TestClient) -> None:
    """Created 1, created 2, updated 1, updated 2, deleted 2, deleted 1."""
    for name in "ab":
        await create(client, nombre=name)
    for number in (1, 2):
        await client.patch(f"/api/productos/{number}", json={"stock": 77})
    for number in (2, 1):
        await client.delete(f"/api/productos/{number}")
    await settled(client, 6)


@pytest.mark.parametrize(("room", "wanted"), ROOMS)
async def test_room_receives_its_events_and_the_position_advances(
    client: TestClient, listen: Callable, room: dict[str, Any], wanted: list[int]
) -> None:
    ws, everything = await listen(), await listen()
    await ws.send_json({"type": "SUBSCRIBE", **room})
    (answer,) = await receive(ws, 1)
    assert answer == {"type": "SUBSCRIBED", **room, "timestamp": answer["timestamp"]}
    await history(client)
    assert await ids(ws, len(wanted)) == wanted
    assert await ids(everything, 6) == [1, 2, 3, 4, 5, 6]
    await ws.send_json({"type": "PING"})
    assert (await receive(ws, 1))[0]["last_event_id"] == 6
    await ws.send_json({"type": "UNSUBSCRIBE"})
    (answer,) = await receive(ws, 1)
    assert answer == {"type": "SUBSCRIBED", "timestamp": answer["timestamp"]}
    await create(client)
    assert await ids(ws, 1) == [7]


async def test_room_is_kept_across_a_resume(source: str, client: TestClient) -> None:
    await history(client)
    ws, _ = await resume(client, 0, productos="1", eventos="PRODUCT_CREATED,PRODUCT_DELETED")
    assert await ids(ws, 2) == [1, 6]
    await ws.send_json({"type": "PING"})
    assert (await receive(ws, 1))[0]["last_event_id"] == 6


@pytest.mark.parametrize("query", ["productos=x", "productos=", "productos=0", "eventos=NADA", "productos=1,,2"])
async def test_invalid_room_in_the_query_is_refused_before_the_upgrade(client: TestClient, query: str) -> None:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    body = await error(await client.get(f"/ws?{query}", headers=headers), 400)
    assert body["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    "room", [*(f'"productos":{ids}' for ids in ("7", '["1"]', "[true]", "[1.0]")), '"eventos":["NADA"]', '"eventos":{}']
)
async def test_invalid_room_in_a_message_is_an_error_and_changes_nothing(
    client: TestClient, listen: Callable, room: str
) -> None:
    ws = await listen()
    await ws.send_str(f'{{"type":"SUBSCRIBE",{room}}}')
    assert (await receive(ws, 1))[0]["type"] == "ERROR"
    await create(client)
    assert await ids(ws, 1) == [1]


async def prune(client: TestClient, **kept: float | None) -> int:
    """Returns how many events are gone."""
    db, sql = client.app[DATABASE], "SELECT count(*)::integer FROM eventos"
    ((before,),) = await db.fetch(sql)
    await eventlog.prune_events(db, kept.get("days"), kept.get("number"))
    ((left,),) = await db.fetch(sql)
    return before - left


async def test_retention_keeps_the_newest_and_a_position_before_them_is_not_recovered(
    source: str, client: TestClient, psql: Callable
) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'p', n FROM generate_series(1, 2500) n")
    await settled(client, 2500)
    assert await prune(client, number=100) == 2400
    assert psql("SELECT min(id), count(*) FROM eventos") == [(2401, 100)]
    await create(client)
    await settled(client, 2501)
    for position, recovered in ((2399, False), (2400, True), (2450, True)):
        ws, welcome = await resume(client, position)
        assert welcome["recovered"] is recovered, position
        if recovered:
            assert await ids(ws, 2501 - position) == list(range(position + 1, 2502))
    assert await prune(client, number=1000) == 0


async def test_retention_by_age_stops_at_the_first_recent_event(client: TestClient, psql: Callable) -> None:
    for _ in range(6):
        await create(client)
    await settled(client, 6)  # or the feed could find its own last event to be another
    psql(
        "UPDATE eventos SET mensaje = (jsonb_set(mensaje::jsonb, '{timestamp}', '\"2020-01-01T00:00:00.000Z\"'))::json"
        " WHERE id <= 4"
    )
    assert await prune(client, days=365.5) == 4
    assert psql("SELECT min(id) FROM eventos") == [(5,)]
    assert psql("SELECT desde FROM eventos_epoca") == [(4,)]


async def test_replay_of_pruned_events_closes_instead_of_leaving_a_gap(
    forgetful: None, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await create(client)
    await settled(client, 5)
    check = client.app[LOG].check

    async def pruned_after_the_check(position: int, epoch: str | None) -> None:
        await check(position, epoch)
        await prune(client, number=2)

    monkeypatch.setattr(client.app[LOG], "check", pruned_after_the_check)
    ws, welcome = await resume(client, 1)
    assert welcome["recovered"] is True
    await ws.receive(timeout=5)
    assert ws.close_code == 1012


async def test_service_prunes_as_configured(dsn: str, aiohttp_client: Callable, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'p', n FROM generate_series(1, 50) n")
    await aiohttp_client(create_app(dsn=dsn, keep_events=10))
    async with asyncio.timeout(5):
        while psql("SELECT count(*) FROM eventos") != [(10,)]:
            await asyncio.sleep(0.05)


async def test_compressed_socket_receives_the_same_events(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, compress=True))
    squeezed, plain = await client.ws_connect("/ws", compress=15), await client.ws_connect("/ws")
    assert squeezed.compress
    assert not plain.compress
    sizes = {one._form for one in client.app[SOCKETS]}
    assert sizes == {"plain", "deflated"}
    for number in range(20):
        await create(client, nombre=f"ñandú {number}", descripcion="x" * number * 40)
    heard = [[(await ws.receive(timeout=5)).data for _ in range(21)][1:] for ws in (squeezed, plain)]
    assert heard[0] == heard[1]
    await settled(client, 20)
    again = await client.ws_connect("/ws?last_event_id=0", compress=15)
    assert [(await again.receive(timeout=5)).data for _ in range(21)][1:] == heard[1]
    await squeezed.send_str('{"type":"PING","padding":"' + "x" * 1000 + '"}')
    assert (await receive(squeezed, 1))[0]["type"] == "PONG"


def test_deflated_frame_is_smaller_and_flagged() -> None:
    payload = b'{"type":"PRODUCT_UPDATED","data":' + b'{"nombre":"Laptop"}' * 20
    data = deflated(payload)
    assert data[0] == 0xC1
    assert len(data) < len(payload) / 2
    header = 2 if data[1] < 126 else 4
    assert zlib.decompressobj(wbits=-15).decompress(data[header:] + b"\x00\x00\xff\xff") == payload
    assert deflated(b"{}") == frame(b"{}")


async def test_failed_replay_closes_instead_of_leaving_a_gap(
    forgetful: None, client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        await create(client)
    await settled(client, 5)

    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(client.app[LOG], "past", broken)
    ws, welcome = await resume(client, 1)
    assert welcome["recovered"] is True
    await create(client)
    assert (await ws.receive(timeout=5)).data is None
    assert ws.closed
    assert "a fault of ours" in caplog.text
