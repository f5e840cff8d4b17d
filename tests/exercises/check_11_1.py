from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import heard, same
from .says import quiet, say

NAMES = ("Teclado español", "Ratón", "Miniteclados", "MONITOR 27")
WORDS = ["teclado", "monitor", "webcam", "altavoz", "cable", "pantalla", "micro", "funda"]


async def create_some(client: TestClient) -> None:
    for nombre in NAMES:
        await create(client, nombre=nombre, descripcion="Con teclado")  # which is not its name


async def hears(ws: ClientWebSocketResponse, room: str, *numbers: int) -> None:
    for number in numbers:
        event = await heard(ws, f"el evento {number} en la sala {room}")
        same(event.get("id"), number, f"como id del evento siguiente en la sala {room}")


async def test_room_of_words_hears_of_the_products_with_one_of_them(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    answer = await say(ws, {"type": "SUBSCRIBE", "palabras": WORDS}, "SUBSCRIBED")
    same(answer.get("palabras"), sorted(WORDS), "como palabras de SUBSCRIBED, ordenadas")
    await create_some(client)
    await hears(ws, "de teclado y monitor", 1, 3, 4)
    await quiet(ws, "que en la sala de teclado y monitor no llegara nada más")


async def test_room_of_words_hears_of_every_deletion(client: TestClient, listen: Callable) -> None:
    """Its event has only the id: who does not know the product passes over it."""
    path = "/ws?palabras=teclado&eventos=PRODUCT_CREATED,PRODUCT_DELETED"
    ws = await listen(path)
    await create_some(client)
    await client.patch("/api/productos/1", json={"precio": 1})
    await client.delete("/api/productos/2")
    await create(client, nombre="teclado inglés")
    await hears(ws, path, 1, 3)
    await hears(ws, f"{path} (un PRODUCT_DELETED pasa siempre)", 6)
    await hears(ws, path, 7)


async def test_room_of_words_is_the_same_for_the_past(client: TestClient, listen: Callable) -> None:
    await create_some(client)
    path = "/ws?palabras=teclado&last_event_id=0"
    await hears(await listen(path), path, 1, 3)
    path = "/ws?palabras=TECLADO,ratón&last_event_id=0"
    await hears(await listen(path), path, 1, 2, 3)
