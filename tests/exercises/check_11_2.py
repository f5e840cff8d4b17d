from collections.abc import Callable
from typing import Any

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create
from .says import hear, quiet, say


async def room(ws: ClientWebSocketResponse, asked: dict[str, Any], productos: list[int] | None) -> dict[str, Any]:
    """Says something to the socket, whose room should then have these products; None: all."""
    what = (
        f"un SUBSCRIBED {f'con los productos {productos}' if productos is not None else 'sin productos'} tras {asked}"
    )
    answer = await say(ws, asked, what)
    assert answer["type"] == "SUBSCRIBED", f"Se esperaba {what}; llegó {answer}"
    got = answer.get("productos")
    assert (got if got is None else sorted(got)) == productos, f"Se esperaba {what}; llegó {answer}"
    return answer


async def test_products_join_the_room_and_leave_it(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await room(ws, {"type": "JOIN", "productos": [2]}, [2])
    await room(ws, {"type": "JOIN", "productos": [3, 1]}, [1, 2, 3])
    await room(ws, {"type": "LEAVE", "productos": [2, 9]}, [1, 3])
    for _ in range(4):
        await create(client)
    for product in (1, 3):
        event = await hear(ws, f"el evento del producto {product}, que está en la sala")
        assert event.get("data", {}).get("id") == product, f"Se esperaba el producto {product}; llegó {event}"
    await quiet(ws, "No se esperaba ningún evento de los productos 2 y 4, que no están en la sala")


async def test_the_rest_of_the_room_stays(client: TestClient, listen: Callable) -> None:
    ws = await listen("/ws?eventos=PRODUCT_DELETED")
    answer = await room(ws, {"type": "JOIN", "productos": [2]}, [2])
    got = answer.get("eventos")
    assert got == ["PRODUCT_DELETED"], f"Se esperaba que JOIN dejara eventos en ['PRODUCT_DELETED']; quedó en {got}"
    await room(ws, {"type": "LEAVE", "productos": [2]}, [])
    await create(client)
    await quiet(ws, "No se esperaba ningún evento en una sala de la que salió el último producto")
    await room(ws, {"type": "UNSUBSCRIBE"}, None)


async def test_nonsense_is_answered_and_changes_nothing(listen: Callable) -> None:
    ws = await listen()
    await room(ws, {"type": "JOIN", "productos": [7]}, [7])
    for wrong in ({}, {"productos": 5}, {"productos": ["x"]}, {"productos": None}):
        asked = {"type": "JOIN", **wrong}
        answer = await say(ws, asked, f"un ERROR tras {asked}")
        assert answer["type"] == "ERROR", f"Se esperaba un ERROR tras {asked}; llegó {answer}"
    await room(ws, {"type": "JOIN", "productos": [8]}, [7, 8])
