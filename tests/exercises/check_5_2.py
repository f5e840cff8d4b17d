from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from ..conftest import create
from ..test_page import Visit, browser, card, visit  # noqa: F401


async def test_card_shows_when_its_product_was_changed(visit: Visit, client: TestClient) -> None:  # noqa: F811
    created = await create(client, nombre="Teclado")
    page = await visit()
    time = card(page, "Teclado").locator("time")
    await expect(time).to_have_attribute("datetime", created["updated_at"], timeout=3000)
    shown = await page.evaluate("text => new Date(text).toLocaleTimeString('es')", created["updated_at"])
    await expect(time).to_contain_text(shown)
    resp = await client.patch("/api/productos/1", json={"descripcion": "Mecánico"})
    await expect(time).to_have_attribute("datetime", (await resp.json())["data"]["updated_at"])
