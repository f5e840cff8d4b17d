from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import heard, same


async def test_change_says_which_fields_it_changed(client: TestClient, listen: Callable) -> None:
    await create(client, precio=10, stock=5)
    ws = await listen("/ws?last_event_id=1")
    for change, fields in (
        ({"precio": 12}, ["precio"]),
        ({"nombre": "Teclado", "stock": 6}, ["nombre", "stock"]),
        ({"precio": 12, "descripcion": None}, ["descripcion"]),
    ):
        same((await client.patch("/api/productos/1", json=change)).status, 200, f"del PATCH {change}")
        event = await heard(ws, "un PRODUCT_UPDATED")
        same(event["type"], "PRODUCT_UPDATED", f"tras el PATCH {change}")
        same(sorted(event.get("cambios") or []), fields, f"como cambios del PATCH {change}")


async def test_change_of_psql_says_it_too(client: TestClient, listen: Callable, psql: Callable) -> None:
    ws = await listen()
    await create(client)
    psql("UPDATE productos SET stock = 1")
    psql("DELETE FROM productos")
    for kind, fields in (("PRODUCT_CREATED", None), ("PRODUCT_UPDATED", ["stock"]), ("PRODUCT_DELETED", None)):
        event = await heard(ws, f"un {kind}")
        what = f"como cambios de un {kind} que se hizo desde psql" if fields else f"como cambios de un {kind}"
        same(event.get("cambios") or None, fields, what)
