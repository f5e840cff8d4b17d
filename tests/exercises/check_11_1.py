from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, receive, silence


async def create_some(client: TestClient) -> None:
    for nombre in ("Teclado español", "Ratón", "MONITOR 27", "teclado inglés"):
        await create(client, nombre=nombre)


async def test_room_of_words_hears_of_the_products_with_one_of_them(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await ws.send_json({"type": "SUBSCRIBE", "palabras": ["teclado", "monitor"]})
    answer = await ws.receive_json(timeout=2)
    assert answer["type"] == "SUBSCRIBED"
    assert answer.get("palabras") == ["monitor", "teclado"]
    await create_some(client)
    assert [event["id"] for event in await receive(ws, 3)] == [1, 3, 4]
    await silence(ws)


async def test_room_of_words_hears_of_every_deletion(client: TestClient, listen: Callable) -> None:
    """Its event has only the id: who does not know the product passes over it."""
    ws = await listen("/ws?palabras=teclado&eventos=PRODUCT_CREATED,PRODUCT_DELETED")
    await create_some(client)
    await client.patch("/api/productos/1", json={"precio": 1})
    await client.delete("/api/productos/2")
    events = [await ws.receive_json(timeout=2) for _ in range(3)]
    assert [event["id"] for event in events] == [1, 4, 6]


async def test_room_of_words_is_the_same_for_the_past(client: TestClient, listen: Callable) -> None:
    await create_some(client)
    ws = await listen("/ws?palabras=teclado&last_event_id=0")
    assert [(await ws.receive_json(timeout=2))["id"] for _ in range(2)] == [1, 4]
