from collections.abc import Callable
from typing import Any

from aiohttp.test_utils import TestClient

from ..conftest import PRODUCT, create
from .conftest import asked, heard_event, same


async def post(client: TestClient, request_id: str) -> Any:
    return await client.post("/api/productos", json=PRODUCT, headers={"X-Request-Id": request_id})


async def test_event_says_which_request_it_comes_from(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    same((await post(client, "caja-3_0001")).status, 201, "para X-Request-Id: caja-3_0001")
    await create(client)
    marked, plain = [await heard_event(ws, "un PRODUCT_CREATED") for _ in range(2)]
    same(marked.get("request_id"), "caja-3_0001", "como request_id del evento")
    assert not plain.get("request_id"), f"Se esperaba un evento sin request_id; llegó {plain['request_id']}"
    same((await asked(client, "/api/eventos?limit=1"))["data"], [marked], "en /api/eventos, como por el socket")


async def test_mark_of_one_request_is_not_left_on_the_connection(client: TestClient, listen: Callable) -> None:
    """The next ones, on whichever connection, have none."""
    ws = await listen()
    for number in range(20):
        await post(client, f"n{number}")
        await client.patch("/api/productos/1", json={"stock": number})
    marks = [(await heard_event(ws, "un evento por cada cambio")).get("request_id") for _ in range(40)]
    for number, mark in enumerate(marks[::2]):
        same(mark, f"n{number}", f"como request_id del producto creado con X-Request-Id: n{number}")
    left = [mark for mark in marks[1::2] if mark]
    assert not left, f"Se esperaban sin request_id los cambios siguientes; llegó {left[0]}, de otra petición"


async def test_mark_that_is_none_is_refused(client: TestClient) -> None:
    for wrong in ("x" * 65, "a b", "<b>", "ñ"):
        same((await post(client, wrong)).status, 400, f"para X-Request-Id: {wrong}")
    for right in ("x" * 64, "A.b-c_9"):
        same((await post(client, right)).status, 201, f"para X-Request-Id: {right}")
