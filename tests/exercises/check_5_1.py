from collections.abc import Callable

from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from ..conftest import create
from ..test_page import Visit, browser, connected, fill, visit  # noqa: F401


async def test_title_counts_what_nobody_has_looked_at(visit: Visit, client: TestClient) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await expect(page).to_have_title("Inventario")
    await create(client)
    await expect(page).to_have_title("(1) Inventario", timeout=3000)
    await client.delete("/api/productos/1")
    await expect(page).to_have_title("(2) Inventario")
    await page.locator("#listTitle").click()
    await expect(page).to_have_title("Inventario")


async def test_own_changes_do_not_count(visit: Visit, psql: Callable) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await fill(page, Nombre="Teclado", Precio="89,90", Stock="5")
    await page.keyboard.press("Enter")
    await expect(page.locator(".product-card")).to_have_count(1)
    await page.wait_for_timeout(500)
    await expect(page).to_have_title("Inventario")
    psql("UPDATE productos SET stock = 7")
    await expect(page).to_have_title("(1) Inventario", timeout=3000)
