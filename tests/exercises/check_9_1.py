from collections.abc import Callable

from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from ..test_page import Visit, browser, card, connected, visit  # noqa: F401

INSERT = "INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)"


async def test_page_is_stopped_and_goes_on(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await page.get_by_role("button", name="Desconectar").click(timeout=3000)
    await expect(page.locator("#connectionStatus")).to_contain_text("Detenido")
    await expect(page.get_by_role("button", name="Desconectar")).to_be_hidden()
    psql(INSERT)
    await page.wait_for_timeout(1500)  # it does not come back by itself, which takes it a second at most
    await expect(card(page, "Teclado")).to_have_count(0)
    await page.get_by_role("button", name="Conectar ahora").click()
    await expect(card(page, "Teclado")).to_be_visible()
    await expect(page.get_by_role("button", name="Desconectar")).to_be_visible()
