import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws import create_app, security

from .says import expecting


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
    assert there, "Se esperaba la función tickets(secret) en inventory_ws/security.py, que no existe todavía"


async def demand(client: TestClient, text: str, status: int, what: str) -> None:
    written()
    got = (await client.get("/api/productos", headers={"Authorization": f"Bearer {text}"})).status
    assert got == status, f"Se esperaba {status} con {what}; llegó {got}"


async def test_ticket_is_good_until_it_expires(client: TestClient) -> None:
    await demand(client, ticket(60), 200, "una entrada que vale un minuto más")
    await demand(client, ticket(-2), 401, "una entrada que caducó hace dos segundos")


async def test_ticket_that_was_not_given_out_is_worth_nothing(client: TestClient) -> None:
    expiry, _, signature = ticket(60).partition(".")
    await demand(client, ticket(60, "otro"), 401, "una entrada firmada con otro secreto")
    await demand(client, f"{int(expiry) + 60}.{signature}", 401, "una entrada a la que se le cambió la hora")
    for wrong in (expiry, f"{expiry}.", f".{signature}", ".", "x.y", "ñ.ñ", ""):
        await demand(client, wrong, 401, f"el texto «{wrong}», que no es una entrada")


async def test_browser_offers_its_ticket_as_a_subprotocol(client: TestClient) -> None:
    written()
    for seconds, code, what in ((60, None, "siguiera abierto"), (-2, 4401, "se cerrara con 4401")):
        text = urlsafe_b64encode(ticket(seconds).encode()).decode().rstrip("=")
        whose = "de una entrada que vale" if code is None else "de una entrada caducada"
        with expecting(f"Se esperaba que el socket {whose} se abriera y {what}; se rechazó el saludo o no llegó nada"):
            ws = await client.ws_connect("/ws", protocols=("inventario.v1", f"bearer.{text}"))
            await ws.receive(timeout=5)
        assert ws.close_code == code, f"Se esperaba que el socket {whose} {what}; su código de cierre: {ws.close_code}"
        await ws.close()
