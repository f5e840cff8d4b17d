import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws import create_app
from inventory_ws.web import security

from .conftest import expected, same


def ticket(seconds: float, secret: str = "secreto") -> str:
    """A ticket that expires in so many seconds."""
    expiry = str(int(time.time() + seconds))
    return f"{expiry}.{hmac.new(secret.encode(), expiry.encode(), hashlib.sha256).hexdigest()}"


@pytest.fixture
async def client(dsn: str, aiohttp_client: Callable) -> TestClient:
    """The service, for whoever has a ticket; for everybody where there are none yet."""
    tickets = getattr(security, "tickets", lambda _: None)
    return await aiohttp_client(create_app(dsn=dsn, authenticate=tickets("secreto")))


def written() -> None:
    there = callable(getattr(security, "tickets", None))
    assert there, "Se esperaba la función tickets(secret) en inventory_ws/web/security.py; no existe todavía"


async def demand(client: TestClient, text: str, status: int, what: str) -> None:
    written()
    resp = await client.get("/api/productos", headers={"Authorization": f"Bearer {text}"})
    same(resp.status, status, f"con {what}")


async def test_ticket_is_good_until_it_expires(client: TestClient) -> None:
    await demand(client, ticket(60), 200, "un pase que aún vale un minuto")
    await demand(client, ticket(-2), 401, "un pase que caducó hace dos segundos")


async def test_ticket_that_was_not_given_out_is_worth_nothing(client: TestClient) -> None:
    expiry, _, signature = ticket(60).partition(".")
    await demand(client, ticket(60, "otro"), 401, "un pase firmado con otro secreto")
    await demand(client, f"{int(expiry) + 60}.{signature}", 401, "un pase con la hora cambiada")
    for wrong in (expiry, f"{expiry}.", f".{signature}", ".", "x.y", "ñ.ñ", ""):
        await demand(client, wrong, 401, f"«{wrong}», que no es un pase")


async def test_browser_offers_its_ticket_as_a_subprotocol(client: TestClient) -> None:
    written()
    for seconds, whose in ((60, "con un pase que aún vale"), (-2, "con un pase caducado")):
        text = urlsafe_b64encode(ticket(seconds).encode()).decode().rstrip("=")
        with expected(f"que el saludo se aceptara, y un mensaje o un cierre, {whose} como subprotocolo"):
            ws = await client.ws_connect("/ws", protocols=("inventario.v1", f"bearer.{text}"))
            await ws.receive(timeout=5)
        came = "abierto" if ws.close_code is None else f"cerrado con {ws.close_code}"
        same(came, "abierto" if seconds > 0 else "cerrado con 4401", f"como socket {whose} como subprotocolo")
        await ws.close()
