from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create
from .says import hear, quiet, say


async def create_some(client: TestClient) -> None:
    for nombre in ("Teclado español", "Ratón", "MONITOR 27", "teclado inglés"):
        await create(client, nombre=nombre)


async def hears(ws: ClientWebSocketResponse, *numbers: int, room: str) -> None:
    for number in numbers:
        event = await hear(ws, f"el evento {number} en la sala {room}")
        assert event.get("id") == number, f"Se esperaba el evento {number} en la sala {room}; llegó {event}"


async def test_room_of_words_hears_of_the_products_with_one_of_them(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    what = 'un SUBSCRIBED con "palabras":["monitor","teclado"]'
    answer = await say(ws, {"type": "SUBSCRIBE", "palabras": ["teclado", "monitor"]}, what)
    assert answer["type"] == "SUBSCRIBED", f"Se esperaba {what}; llegó {answer}"
    assert answer.get("palabras") == ["monitor", "teclado"], f"Se esperaba {what}; llegó {answer}"
    await create_some(client)
    await hears(ws, 1, 3, 4, room="de teclado y monitor")
    await quiet(ws, "No se esperaba ningún evento más en la sala de teclado y monitor")


async def test_room_of_words_hears_of_every_deletion(client: TestClient, listen: Callable) -> None:
    """Its event has only the id: who does not know the product passes over it."""
    ws = await listen("/ws?palabras=teclado&eventos=PRODUCT_CREATED,PRODUCT_DELETED")
    await create_some(client)
    await client.patch("/api/productos/1", json={"precio": 1})
    await client.delete("/api/productos/2")
    await hears(ws, 1, 4, 6, room="?palabras=teclado&eventos=PRODUCT_CREATED,PRODUCT_DELETED")


async def test_room_of_words_is_the_same_for_the_past(client: TestClient, listen: Callable) -> None:
    await create_some(client)
    ws = await listen("/ws?palabras=teclado&last_event_id=0")
    await hears(ws, 1, 4, room="?palabras=teclado&last_event_id=0")
