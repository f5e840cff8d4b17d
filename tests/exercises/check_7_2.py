from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create


async def test_change_says_which_fields_it_changed(client: TestClient, listen: Callable) -> None:
    await create(client, precio=10, stock=5)
    ws = await listen("/ws?last_event_id=1")
    for change in ({"precio": 12}, {"nombre": "Teclado", "stock": 6}, {"precio": 12, "descripcion": None}):
        assert (await client.patch("/api/productos/1", json=change)).status == 200
    events = [await ws.receive_json(timeout=2) for _ in range(3)]
    assert [event["type"] for event in events] == ["PRODUCT_UPDATED"] * 3
    assert [sorted(event["cambios"]) for event in events] == [["precio"], ["nombre", "stock"], ["descripcion"]]


async def test_change_of_psql_says_it_too(client: TestClient, listen: Callable, psql: Callable) -> None:
    ws = await listen()
    await create(client)
    psql("UPDATE productos SET stock = 1")
    created, updated = [await ws.receive_json(timeout=2) for _ in range(2)]
    assert not created.get("cambios")
    assert updated["cambios"] == ["stock"]
