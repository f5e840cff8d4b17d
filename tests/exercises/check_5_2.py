from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from ..conftest import create
from ..test_page import Visit, browser, card, visit  # noqa: F401
from .conftest import expected


async def test_card_shows_when_its_product_was_changed(visit: Visit, client: TestClient) -> None:  # noqa: F811
    created = await create(client, nombre="Teclado")
    page = await visit(timezone_id="Europe/Madrid")  # UTC is the local time of many a server
    time = card(page, "Teclado").locator("time")
    with expected("un solo <time> en la tarjeta"):
        await expect(time).to_have_count(1, timeout=3000)
    with expected(f"el datetime {created['updated_at']} en <time>"):
        await expect(time).to_have_attribute("datetime", created["updated_at"], timeout=3000)
    shown = await page.evaluate("text => new Date(text).toLocaleTimeString('es')", created["updated_at"])
    with expected(f"la hora local {shown} en el texto de <time>"):
        await expect(time).to_contain_text(shown)
    resp = await client.patch("/api/productos/1", json={"descripcion": "Mecánico"})
    changed = (await resp.json())["data"]["updated_at"]
    with expected(f"el datetime {changed} después de un cambio de otro"):
        await expect(time).to_have_attribute("datetime", changed)
