from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import PRODUCT, create, error


async def post(client: TestClient, request_id: str) -> object:
    return await client.post("/api/productos", json=PRODUCT, headers={"X-Request-Id": request_id})


async def test_event_says_which_request_it_comes_from(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    assert (await post(client, "caja-3_0001")).status == 201
    await create(client)
    marked, plain = [await ws.receive_json(timeout=2) for _ in range(2)]
    assert marked.get("request_id") == "caja-3_0001"
    assert not plain.get("request_id")
    assert (await (await client.get("/api/eventos?limit=1")).json())["data"] == [marked]


async def test_mark_of_one_request_is_not_left_on_the_connection(client: TestClient, listen: Callable) -> None:
    """The next ones, on whichever connection, have none."""
    ws = await listen()
    for number in range(20):
        await post(client, f"n{number}")
        await client.patch("/api/productos/1", json={"stock": number})
    marks = [(await ws.receive_json(timeout=2)).get("request_id") for _ in range(40)]
    assert marks[::2] == [f"n{number}" for number in range(20)]
    assert not any(marks[1::2])


async def test_mark_that_is_none_is_refused(client: TestClient) -> None:
    for wrong in ("x" * 65, "a b", "<b>", "ñ"):
        await error(await post(client, wrong), 400)
