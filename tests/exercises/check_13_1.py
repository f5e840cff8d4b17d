from collections.abc import Callable
from contextlib import closing

import psycopg2
from aiohttp.test_utils import TestClient
from psycopg2.extensions import parse_dsn

from ..conftest import create
from .conftest import heard, same
from .says import say

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'inventory_ws'"


async def test_product_is_asked_for_over_the_socket(client: TestClient, listen: Callable) -> None:
    product = await create(client)
    ws = await listen("/ws?eventos=PRODUCT_DELETED")
    answer = await say(ws, {"type": "GET", "id": 1}, "PRODUCT")
    same(answer.get("data"), product, "como data de PRODUCT")
    await say(ws, {"type": "PING"}, "PONG")


async def test_product_that_is_not_there_is_an_error(client: TestClient, listen: Callable) -> None:
    answer = await say(await listen(), {"type": "GET", "id": 7}, "ERROR")
    told = answer.get("message", "")
    right = "producto no encontrado" in told.lower()
    assert right, f"Se esperaba «Producto no encontrado» en el message del ERROR; llegó «{told}»"


async def test_nonsense_is_an_error_and_the_socket_stays(client: TestClient, listen: Callable) -> None:
    await create(client)
    ws = await listen("/ws?last_event_id=1")
    for wrong in (
        {},
        {"id": "x"},
        {"id": None},
        {"id": [1]},
        {"id": 10**40},
        {"id": -1},
        {"id": 1.5},
        {"id": "1"},
        {"id": True},
    ):
        code = (await say(ws, {"type": "GET", **wrong}, "ERROR")).get("code")
        assert code != "mensaje_desconocido", f"Se esperaba que GET fuera un tipo conocido tras {wrong}; llegó {code}"
    await create(client)
    event = await heard(ws, "un evento en el socket que preguntó mal, que sigue abierto")
    same(event.get("id"), 2, "como id del evento en el socket que preguntó mal")
    await say(ws, {"type": "GET", "id": 1}, "PRODUCT")


async def test_database_that_does_not_answer_is_an_error(
    server: str, dsn: str, client: TestClient, listen: Callable
) -> None:
    await create(client)
    ws = await listen("/ws?eventos=PRODUCT_DELETED")
    name = parse_dsn(dsn)["dbname"]
    with closing(psycopg2.connect(server)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.cursor().execute(CUT, (name,))
    await ws.send_json({"type": "GET", "id": 1})
    answer = await heard(ws, "un ERROR tras un GET si la base de datos no responde,", 15)
    same(answer.get("type"), "ERROR", "tras un GET si la base de datos no responde")
    await say(ws, {"type": "PING"}, "PONG")
