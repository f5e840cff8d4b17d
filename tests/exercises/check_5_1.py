from collections.abc import Callable

from aiohttp.test_utils import TestClient
from playwright.async_api import Page, expect

from ..conftest import create
from ..test_page import Visit, browser, connected, fill, visit  # noqa: F401
from .conftest import expected


async def titled(page: Page, title: str, when: str) -> None:
    with expected(f"el título «{title}» {when}"):
        await expect(page).to_have_title(title, timeout=3000)


async def test_title_counts_what_nobody_has_looked_at(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await titled(page, "Inventario", "al abrir la página")
    await create(client)
    await titled(page, "(1) Inventario", "tras un cambio de otro")
    await client.delete("/api/productos/1")
    await titled(page, "(2) Inventario", "tras dos cambios de otros")
    await page.locator("#listTitle").click()
    await titled(page, "Inventario", "tras un clic")
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 1), ('Ratón', 2)")
    await titled(page, "(2) Inventario", "tras dos cambios de otro, los dos de golpe, después del clic")
    await page.keyboard.press("Shift")
    await titled(page, "Inventario", "tras una tecla")


async def test_own_changes_do_not_count(visit: Visit, psql: Callable) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await fill(page, Nombre="Teclado", Precio="89,90", Stock="5")
    await page.keyboard.press("Enter")
    with expected("la tarjeta del producto que crea la propia página"):
        await expect(page.locator(".product-card")).to_have_count(1)
    await page.wait_for_timeout(500)
    await titled(page, "Inventario", "tras un cambio propio")
    psql("UPDATE productos SET stock = 7")
    await titled(page, "(1) Inventario", "tras un cambio de otro")
