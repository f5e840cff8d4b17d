from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient
from psycopg2.extensions import parse_dsn

from ..conftest import create
from .says import hear, say

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'inventory_ws'"


async def get(ws: ClientWebSocketResponse, wanted: str, seconds: float = 5, **fields: object) -> dict[str, Any]:
    """Asks for a product over the socket; the answer should be of this type."""
    asked = {"type": "GET", **fields}
    answer = await say(ws, asked, f"un mensaje {wanted} tras {asked}", seconds)
    assert answer["type"] == wanted, f"Se esperaba un mensaje {wanted} tras {asked}; llegó {answer}"
    return answer


async def test_product_is_asked_for_over_the_socket(client: TestClient, listen: Callable) -> None:
    product = await create(client)
    ws = await listen("/ws?eventos=PRODUCT_DELETED")
    answer = await get(ws, "PRODUCT", id=1)
    assert answer.get("data") == product, f"Se esperaba en data el producto entero, {product}; llegó {answer}"
    answer = await say(ws, {"type": "PING"}, "un PONG tras un PING, como hasta ahora")
    assert answer["type"] == "PONG", f"Se esperaba un PONG tras un PING, como hasta ahora; llegó {answer}"


async def test_product_that_is_not_there_is_an_error(client: TestClient, listen: Callable) -> None:
    answer = await get(await listen(), "ERROR", id=7)
    told = answer.get("message", "")
    assert "no encontrado" in told.lower(), f"Se esperaba el ERROR «Producto no encontrado»; llegó «{told}»"


async def test_nonsense_is_an_error_and_the_socket_stays(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    for wrong in ({}, {"id": "x"}, {"id": None}, {"id": [1]}, {"id": 10**40}, {"id": -1}, {"id": 1.5}):
        await get(ws, "ERROR", **wrong)
    await create(client)
    event = await hear(ws, "el evento 1 en el socket que preguntó mal, que sigue abierto")
    assert event.get("id") == 1, f"Se esperaba el evento 1 en el socket que preguntó mal; llegó {event}"
    await get(ws, "PRODUCT", id=1)


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
    await get(ws, "ERROR", seconds=10, id=1)
    answer = await say(ws, {"type": "PING"}, "un PONG en el socket, que sigue abierto sin base de datos")
    assert answer["type"] == "PONG", f"Se esperaba un PONG en el socket, que sigue abierto sin base; llegó {answer}"
