import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws import create_app, security


def ticket(seconds: float, secret: str = "secreto") -> str:
    """A ticket that expires in so many seconds."""
    expiry = str(int(time.time() + seconds))
    return f"{expiry}.{hmac.new(secret.encode(), expiry.encode(), hashlib.sha256).hexdigest()}"


@pytest.fixture
async def client(dsn: str, aiohttp_client: Callable) -> TestClient:
    """The service, for whoever has a ticket; for everybody where there are none yet."""
    tickets = getattr(security, "tickets", lambda _: None)
    return await aiohttp_client(create_app(dsn=dsn, authenticate=tickets("secreto")))


async def ask(client: TestClient, text: str) -> int:
    return (await client.get("/api/productos", headers={"Authorization": f"Bearer {text}"})).status


async def test_ticket_is_good_until_it_expires(client: TestClient) -> None:
    assert [await ask(client, ticket(60)), await ask(client, ticket(-2))] == [200, 401]


async def test_ticket_that_was_not_given_out_is_worth_nothing(client: TestClient) -> None:
    expiry, _, signature = ticket(60).partition(".")
    assert await ask(client, ticket(60, "otro")) == 401
    for wrong in (f"{int(expiry) + 60}.{signature}", expiry, f"{expiry}.", f".{signature}", ".", "x.y", "ñ.ñ", ""):
        assert await ask(client, wrong) == 401


async def test_browser_offers_its_ticket_as_a_subprotocol(client: TestClient) -> None:
    for seconds, code in ((60, None), (-2, 4401)):
        text = urlsafe_b64encode(ticket(seconds).encode()).decode().rstrip("=")
        ws = await client.ws_connect("/ws", protocols=("inventario.v1", f"bearer.{text}"))
        await ws.receive(timeout=2)
        assert ws.close_code == code
        await ws.close()
