from collections.abc import Callable

from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from ..test_page import Visit, browser, card, connected, visit  # noqa: F401
from .says import expecting

INSERT = "INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)"


async def test_page_is_stopped_and_goes_on(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    page = await visit()
    with expecting("Se esperaba que la página se conectara al abrirla; si app.js tiene un error, se ve en la consola"):
        await connected(page)
    stop, go_on = (page.get_by_role("button", name=name) for name in ("Desconectar", "Conectar ahora"))
    with expecting("Se esperaba un botón «Desconectar» a la vista y que se deje pulsar"):
        await stop.click(timeout=3000)
    with expecting("Se esperaba que, tras «Desconectar», el estado dijera «Detenido»"):
        await expect(page.locator("#connectionStatus")).to_contain_text("Detenido")
    with expecting("Se esperaba que el botón «Desconectar» desapareciera mientras la página está parada"):
        await expect(stop).to_be_hidden()
    psql(INSERT)
    await page.wait_for_timeout(1500)  # it does not come back by itself, which takes it a second at most
    with expecting("Se esperaba que la página parada no recibiera cambios ni volviera sola; un producto nuevo salió"):
        await expect(card(page, "Teclado")).to_have_count(0)
    with expecting("Se esperaba el botón «Conectar ahora» a la vista mientras la página está parada"):
        await go_on.click(timeout=3000)
    with expecting("Se esperaba que, tras «Conectar ahora», saliera el producto creado durante la parada"):
        await expect(card(page, "Teclado")).to_be_visible()
    with expecting("Se esperaba que, otra vez en marcha, el botón «Desconectar» volviera a verse"):
        await expect(stop).to_be_visible()
