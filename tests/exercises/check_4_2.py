from collections.abc import Callable

from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import asked, heard, same


async def told(ws: ClientWebSocketResponse, number: int, when: str) -> None:
    """Sees that the next message says how many are connected."""
    message = await heard(ws, f"un CLIENTS con clientes {number} {when}")
    same([message["type"], message.get("clientes")], ["CLIENTS", number], f"como type y clientes {when}")
    assert message.get("timestamp"), "Se esperaba un timestamp en CLIENTS; falta"


async def test_everybody_is_told_how_many_are_listening(client: TestClient, listen: Callable) -> None:
    juan = await listen()
    await told(juan, 1, "para el primero, tras su bienvenida")
    maria = await listen()
    await told(juan, 2, "para el primero, al entrar la segunda")
    await told(maria, 2, "para la segunda, tras su bienvenida")
    await maria.close()
    await told(juan, 1, "para el primero, al irse la segunda")


async def test_number_is_no_event_of_the_log(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await told(ws, 1, "para el primero, tras su bienvenida")
    await create(client)
    event = await heard(ws, "el evento del producto")
    same([event["type"], event.get("id")], ["PRODUCT_CREATED", 1], "como type e id tras crear el primer producto")
    same(len((await asked(client, "/api/eventos"))["data"]), 1, "evento en el registro, sin CLIENTS")
