from collections.abc import Callable

from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from ..test_page import Visit, browser, card, connected, visit  # noqa: F401
from .conftest import expected

INSERT = "INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)"


async def test_page_is_stopped_and_goes_on(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    page = await visit()
    with expected("que la página se conectara al abrirla"):
        await connected(page)
    stop, go_on = (page.get_by_role("button", name=name) for name in ("Desconectar", "Conectar ahora"))
    with expected("un botón «Desconectar» que se vea y se deje pulsar"):
        await expect(stop).to_be_visible(timeout=3000)
        await stop.click()
    with expected("el estado «Detenido» tras pulsar «Desconectar»"):
        await expect(page.locator("#connectionStatus")).to_contain_text("Detenido")
    with expected("que «Desconectar» desapareciera mientras la página está parada"):
        await expect(stop).to_be_hidden(timeout=3000)
    psql(INSERT)
    await page.wait_for_timeout(1500)  # it does not come back by itself, which takes it a second at most
    came = await card(page, "Teclado").count()
    assert not came, "Se esperaba que la página parada no volviera sola ni recibiera el producto nuevo; lo recibió"
    with expected("un botón «Conectar ahora» que se vea mientras la página está parada"):
        await expect(go_on).to_be_visible(timeout=3000)
        await go_on.click()
    with expected("el producto creado durante la parada tras pulsar «Conectar ahora»"):
        await expect(card(page, "Teclado")).to_be_visible()
    with expected("que «Desconectar» volviera a verse con la página otra vez en marcha"):
        await expect(stop).to_be_visible(timeout=3000)
