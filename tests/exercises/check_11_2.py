from collections.abc import Callable
from typing import Any

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import heard, same
from .says import quiet, say


async def room(ws: ClientWebSocketResponse, asked: dict[str, Any], wanted: list[int] | None) -> dict[str, Any]:
    """Says something to the socket, whose room should then have these products; None: all."""
    answer = await say(ws, asked, "SUBSCRIBED")
    products = answer.get("productos")
    if wanted is None:
        assert products is None, f"Se esperaba un SUBSCRIBED sin productos tras {asked}; llegó {products}"
    else:
        same(sorted(products) if products else products, wanted, f"como productos de SUBSCRIBED tras {asked}")
    return answer


async def test_products_join_the_room_and_leave_it(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await room(ws, {"type": "JOIN", "productos": [2]}, [2])
    await room(ws, {"type": "JOIN", "productos": [3, 1]}, [1, 2, 3])
    await room(ws, {"type": "LEAVE", "productos": [2, 9]}, [1, 3])
    for _ in range(4):
        await create(client)
    for product in (1, 3):
        event = await heard(ws, f"el evento del producto {product}, que está en la sala")
        same(event.get("data", {}).get("id"), product, "como producto del evento, de los dos que están en la sala")
    await quiet(ws, "que no llegara nada de los productos 2 y 4, que no están en la sala")


async def test_the_rest_of_the_room_stays(client: TestClient, listen: Callable) -> None:
    ws = await listen("/ws?eventos=PRODUCT_DELETED")
    answer = await room(ws, {"type": "JOIN", "productos": [2]}, [2])
    same(answer.get("eventos"), ["PRODUCT_DELETED"], "como eventos de SUBSCRIBED, que JOIN no cambia")
    await room(ws, {"type": "LEAVE", "productos": [2]}, [])
    await create(client)
    await quiet(ws, "que no llegara nada a la sala de la que salió el último producto")
    await room(ws, {"type": "UNSUBSCRIBE"}, None)


async def test_nonsense_is_answered_and_changes_nothing(listen: Callable) -> None:
    ws = await listen()
    await room(ws, {"type": "JOIN", "productos": [7]}, [7])
    for kind in ("JOIN", "LEAVE"):
        for wrong in ({}, {"productos": 5}, {"productos": ["x"]}, {"productos": None}):
            await say(ws, {"type": kind, **wrong}, "ERROR")
    await room(ws, {"type": "JOIN", "productos": [8]}, [7, 8])


async def test_who_hears_all_and_leaves_hears_nothing(listen: Callable) -> None:
    await room(await listen(), {"type": "LEAVE", "productos": [1]}, [])
