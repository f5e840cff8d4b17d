"""The page in a real browser, two of them where it is about two people."""

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import Browser, Page, Route, expect

from inventory_ws import create_app
from inventory_ws.live import eventlog
from inventory_ws.live.hub import SOCKETS
from inventory_ws.live.stream import Stream
from inventory_ws.pg.database import DATABASE
from inventory_ws.web.security import bearer

from .conftest import create
from .tools.browser import CHROMIUM, WITH_WINDOW, Browsers, chromium

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parent / "guide_client.html"


@pytest.fixture
async def browser(browsers: Browsers, request: pytest.FixtureRequest) -> AsyncIterator[Browser]:
    """Chromium, which is required where REQUIRE_ALL is set, as it is in CI; a test may ask for the one with a window."""
    start = getattr(request, "param", chromium)
    if (CHROMIUM if start is chromium else WITH_WINDOW) is None:
        if os.environ.get("REQUIRE_ALL"):
            pytest.fail("there is no Chromium")
        pytest.skip("there is no Chromium: the page is not tested")
    browser = await browsers.get(start, Browser.is_connected)
    yield browser
    for context in browser.contexts:
        await context.close()


Visit = Callable[..., Awaitable[Page]]


@pytest.fixture
async def visit(browser: Browser, client: TestClient) -> AsyncIterator[Visit]:
    """Opens the page as another person would; at the end, none may have had an error but the answers it asked for."""
    faults: list[str] = []

    async def visit(url: str = "", **options: object) -> Page:
        context = await browser.new_context(locale="es-ES", **{"viewport": {"width": 1280, "height": 800}, **options})
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: said.type == "error" and faults.append(f"{said.text} {said.location['url']}"))
        await page.goto(url or str(client.make_url("/")))
        return page

    visit.faults = lambda: [
        fault
        for fault in faults
        if not re.search(
            "status of (4(00|01|09|12|29)|503|404 .*/api/)|response code: 503|ERR_CONNECTION|ERR_INTERNET|before receiving a handshake|inline event handler|Forward Cache",
            fault,
        )
    ]
    yield visit
    assert visit.faults() == []


async def connected(page: Page) -> None:
    await expect(page.locator("#connectionStatus")).to_have_text("Conectado", timeout=20_000)


async def keep_notices(page: Page) -> None:
    """Keeps each notice from now on, as a pointer over it does: those that tell no error vanish after some seconds."""
    over = "for (const change of changes) for (const notice of change.addedNodes) notice.dispatchEvent(new Event('pointerenter'))"
    await page.evaluate(f"new MutationObserver((changes) => {{ {over} }}).observe(toasts, {{ childList: true }})")


def card(page: Page, name: str) -> object:
    return page.locator(".product-card").filter(has_text=name)


async def fill(page: Page, **fields: str) -> None:
    for label, text in fields.items():
        await page.locator("#createForm").get_by_label(label).fill(text)


async def test_product_created_in_one_browser_appears_in_the_other(visit: Visit) -> None:
    juan, maria = await visit(), await visit()
    for page in (juan, maria):
        await connected(page)
        await expect(page.locator("#productCount")).to_have_text("0")
    await fill(juan, Nombre="Teclado", Descripción="Mecánico", Precio="89,90", Stock="5")
    await juan.get_by_role("button", name="Crear producto").click()
    for page in (juan, maria):
        await expect(card(page, "Teclado")).to_contain_text("Mecánico")
        await expect(card(page, "Teclado")).to_contain_text("$89,90")
        await expect(page.locator("#productCount")).to_have_text("1")
        await expect(page.locator("#eventsLog > *").first).to_contain_text("Producto creado: Teclado")
    await expect(juan.locator(".toast")).to_contain_text("Producto creado exitosamente")
    await expect(maria.locator(".toast")).to_contain_text("Producto creado: Teclado")
    await expect(juan.locator("#nombre")).to_have_value("")


async def test_change_by_psql_appears(visit: Visit, psql: Callable) -> None:
    page = await visit()
    await connected(page)
    psql("INSERT INTO productos (nombre, precio, stock) VALUES ('Monitor', 379, 7)")
    await expect(card(page, "Monitor")).to_contain_text("7 unidades")
    psql("UPDATE productos SET stock = 0")
    await expect(card(page, "Monitor")).to_contain_text("agotado")
    psql("DELETE FROM productos")
    await expect(card(page, "Monitor")).to_have_count(0)


async def test_product_is_edited_and_deleted_everywhere(visit: Visit, client: TestClient) -> None:
    await create(client, nombre="Teclado")
    juan, maria = await visit(), await visit()
    await juan.get_by_role("button", name="Editar Teclado").click()
    await juan.locator("#editDialog").get_by_label("Nombre").fill("Teclado español")
    await juan.get_by_role("button", name="Guardar cambios").click()
    await expect(card(maria, "Teclado español")).to_be_visible()
    await maria.get_by_role("button", name="Eliminar Teclado español").click()
    await maria.locator("#confirmDelete").click()
    await expect(card(juan, "Teclado")).to_have_count(0)
    await expect(juan.locator("#productCount")).to_have_text("0")


async def test_notice_is_pressed_while_a_dialog_is_open(visit: Visit, client: TestClient) -> None:
    await create(client, nombre="Teclado", stock=5)
    page = await visit()
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    notice = page.locator(".toast").filter(has_text="Teclado: stock 4")
    await expect(notice).to_be_visible()
    await page.get_by_role("button", name="Editar Teclado").click()
    await page.locator("#editDialog").get_by_label("Precio").fill("20")
    await notice.get_by_role("button", name="Deshacer").click()
    await page.locator(".toast").filter(has_text="stock 5").get_by_role("button", name="Rehacer").click()
    await client.patch("/api/productos/1", json={"precio": 30})
    await page.get_by_role("button", name="Guardar cambios").click()
    await page.locator("#conflictDialog").wait_for()
    theirs = page.locator(".toast").filter(has_text="Teclado: precio")
    await theirs.get_by_role("button", name="Cerrar el aviso").click()
    await expect(theirs).to_have_count(0)
    await page.locator("#keepTheirs").click()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    await expect(page.locator(".toast").filter(has_text="Teclado: stock 4")).to_be_visible()


async def test_last_unit_is_sold_once_and_the_other_seller_gets_a_conflict(visit: Visit, client: TestClient) -> None:
    await create(client, nombre="Teclado", stock=1)
    page = await visit()
    take = page.get_by_role("button", name="−1 unidad de Teclado")
    await take.click()
    await expect(card(page, "Teclado")).to_contain_text("agotado")
    await take.click()
    await expect(page.locator(".toast.error")).to_contain_text("no queda ninguna unidad")


async def test_conflicting_edit_shows_both_versions(visit: Visit, client: TestClient) -> None:
    await create(client, nombre="Teclado", precio=10)
    page = await visit()
    await page.get_by_role("button", name="Editar Teclado").click()
    await page.locator("#editDialog").get_by_label("Precio").fill("20")
    assert (await client.patch("/api/productos/1", json={"precio": 30})).status == 200
    await expect(page.locator("#editNotice")).to_contain_text("Alguien lo cambió")
    await page.get_by_role("button", name="Guardar cambios").click()
    conflict = page.locator("#conflictDialog")
    await expect(conflict).to_contain_text("$20,00")
    await expect(conflict).to_contain_text("$30,00")
    await page.locator("#overwrite").click()
    await expect(card(page, "Teclado")).to_contain_text("$20,00")  # which is shown before it is made
    async with asyncio.timeout(20):
        while (await (await client.get("/api/productos/1")).json())["data"]["precio"] != 20:
            await asyncio.sleep(0.05)


EVIL = (
    "<img src=x onerror=stolen=1><script>stolen=2</script><svg onload=stolen=3>"
    "\"'><iframe srcdoc='<script>parent.stolen=4</script>'></iframe></textarea><a href=javascript:stolen=5>&lt;b&gt;"
)


async def test_text_is_never_markup(visit: Visit, client: TestClient) -> None:
    """Wherever the page shows what somebody typed, and without the policy that would stop a script at the last."""
    page = await visit(bypass_csp=True)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await connected(page)
    await create(client, nombre=EVIL, descripcion=EVIL)
    theirs = card(page, "#1")
    await expect(theirs.locator(".name")).to_have_text(EVIL)
    await expect(theirs.locator(".description")).to_have_text(EVIL)
    await expect(page.locator(".toast").first).to_contain_text("<img src=x")
    await fill(page, Nombre=f"{EVIL} mío", Descripción=EVIL, Precio="1", Stock="1")
    await page.get_by_role("button", name="Crear producto").click()
    await expect(card(page, "#2").locator(".name")).to_have_text(f"{EVIL} mío")
    await page.locator("#search").fill(f"{EVIL} de nadie")
    await expect(page.locator("#emptyText")).to_contain_text("<img src=x")
    await page.locator("#search").fill(EVIL)
    await theirs.locator("[data-action=follow]").click()
    await theirs.locator("[data-action=edit]").click()
    await expect(page.locator("#editTitle")).to_contain_text("<img src=x")
    await page.locator("#editDialog").get_by_label("Descripción").fill(f"{EVIL} mía")
    await client.patch("/api/productos/1", json={"nombre": f"{EVIL} suyo", "descripcion": f"{EVIL} suya"})
    await expect(page.locator("#editNotice")).not_to_be_empty()
    await page.get_by_role("button", name="Guardar cambios").click()
    for text in (f"{EVIL} suyo", f"{EVIL} suya", f"{EVIL} mía"):
        await expect(page.locator("#conflictRows")).to_contain_text(text)
    await expect(page.locator("#conflictText")).to_contain_text("<img src=x")
    await page.locator("#overwrite").click()
    await expect(theirs.locator(".description")).to_have_text(f"{EVIL} mía")
    await theirs.locator("[data-action=delete]").click()
    await expect(page.locator("#deleteText")).to_contain_text("<img src=x")
    await page.locator("#confirmDelete").click()
    await client.delete("/api/productos/2")
    await expect(page.locator(".product-card")).to_have_count(0)
    for summary in await page.locator("#eventsLog summary").all():
        await summary.dispatch_event("click")  # a notice may lie over it
    await expect(page.locator("#eventsLog")).to_contain_text("<img src=x")
    assert await page.evaluate("typeof stolen") == "undefined"
    assert await page.locator("img[src=x], script:not([src]), svg[onload], iframe, a[href^=javascript]").count() == 0
    assert dialogs == []


async def test_injected_script_does_not_run(visit: Visit) -> None:
    page = await visit()
    await connected(page)
    async with page.expect_console_message(lambda said: "Content Security Policy" in said.text):
        await page.evaluate("document.querySelector('h1').innerHTML = '<img src=favicon.svg onload=window.stolen=1>'")
    assert await page.evaluate("typeof stolen") == "undefined"


async def test_invalid_field_shows_its_error_and_keeps_its_value(visit: Visit, client: TestClient) -> None:
    page = await visit()
    await fill(page, Nombre="Teclado", Precio="1.299,999", Stock="x")
    await page.get_by_role("button", name="Crear producto").click()
    await expect(page.locator("#precio")).to_be_focused()
    await expect(page.locator("#precioError")).not_to_be_empty()
    await expect(page.locator("#stockError")).not_to_be_empty()
    await expect(page.locator("#nombre")).to_have_value("Teclado")
    await fill(page, Precio="12.5", Stock="3")
    await page.get_by_role("button", name="Crear producto").click()
    await expect(card(page, "Teclado")).to_contain_text("$12,50")


async def test_page_shows_that_it_reconnects_and_what_it_missed(
    visit: Visit, dsn: str, psql: Callable, aiohttp_server: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    drained = Stream._drained

    async def slowly(self: Stream) -> bool:
        await asyncio.sleep(0.6)
        return await drained(self)

    monkeypatch.setattr(Stream, "_drained", slowly)
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 1), ('Mouse', 1)")
    server: TestServer = await aiohttp_server(create_app(dsn=dsn))
    page = await visit(str(server.make_url("/")))
    await expect(page.locator("#productCount")).to_have_text("2")
    lists: list[str] = []
    page.on("request", lambda request: request.url.endswith("/api/productos") and lists.append(request.url))
    port = server.port
    await server.close()
    await expect(page.locator("#connectionStatus")).to_have_text(re.compile(r"^Reconectando en \d+ s$"))
    await expect(card(page, "Teclado")).to_be_visible()
    psql("DELETE FROM productos WHERE nombre = 'Mouse'; UPDATE productos SET stock = 7")
    await aiohttp_server(create_app(dsn=dsn), port=port)
    await connected(page)
    await expect(card(page, "Teclado")).to_contain_text("7 unidades")
    await expect(card(page, "Mouse")).to_have_count(0)
    await expect(page.locator("#toasts")).to_contain_text("2 cambios mientras no estabas")
    assert lists == [], "it resumes, and reloads nothing"


async def test_sale_with_a_lost_answer_is_made_once(visit: Visit, client: TestClient) -> None:
    await create(client, nombre="Teclado", stock=10)
    page = await visit()
    await connected(page)
    keys: list[str] = []

    async def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:  # it is done, and nobody hears of it
            await route.fetch()
            await route.abort("connectionreset")
        elif len(keys) == 2:
            await route.fulfill(status=503, headers={"Retry-After": "1"}, json={"success": False, "message": "no"})
        elif len(keys) == 3:
            await route.fulfill(status=429, body="<h1>Too Many Requests</h1>", content_type="text/html")
        elif len(keys) == 4:
            await route.fulfill(body='{"success":true,"da', content_type="application/json")
        else:
            await route.continue_()

    await page.route("**/stock", lose)
    await page.evaluate("Math.random = () => 0")  # it tries again at once
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(page.locator("#toasts .success")).to_contain_text("Teclado: stock 9", timeout=20_000)
    await expect(card(page, "Teclado")).to_contain_text("9 unidades")
    assert len(keys) == 5
    assert set(map(len, keys)) == {32}
    assert len(set(keys)) == 1
    await page.unroute("**/stock")
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(card(page, "Teclado")).to_contain_text("8 unidades")


async def test_change_saved_offline_is_sent_after_the_reconnect(
    browser: Browser, visit: Visit, dsn: str, psql: Callable, aiohttp_server: Callable
) -> None:
    server: TestServer = await aiohttp_server(create_app(dsn=dsn))
    page = await visit(str(server.make_url("/")))
    await connected(page)
    port = server.port
    await server.close()
    await expect(page.locator(".toast").last).to_contain_text("se envía cuando vuelva")
    await fill(page, Nombre="Teclado", Precio="1", Stock="3")
    await page.get_by_role("button", name="Crear producto").click()
    await expect(page.locator("#nombre")).to_have_value("")
    await expect(page.locator("#unsent")).to_contain_text("1 cambio sin enviar · desde ")
    assert psql("SELECT count(*) FROM productos") == [(0,)]
    await aiohttp_server(create_app(dsn=dsn), port=port)
    await expect(page.locator("#toasts .success")).to_contain_text("Teclado", timeout=30_000)
    await expect(page.locator("#nombre")).to_have_value("")
    await expect(page.locator(".product-card")).to_have_count(1)
    assert psql("SELECT count(*) FROM productos") == [(1,)]


async def test_page_works_by_keyboard_alone(visit: Visit, client: TestClient) -> None:
    page = await visit()
    await expect(page.locator("#productCount")).to_have_text("0")
    await page.locator("#nombre").focus()
    for text in ("Teclado", "Mecánico", "10", "2"):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(card(page, "Teclado")).to_be_visible()
    await page.locator("[data-action=delete]").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#deleteDialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-action=delete]")).to_be_focused()


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_fits_every_width_in_light_and_dark(
    visit: Visit, client: TestClient, width: int, scheme: str
) -> None:
    await create(
        client, nombre="Palabralarguísima" * 14, descripcion="x" * 2000, precio=9999999999.99, stock=2147483647
    )
    page = await visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    await expect(page.locator("#productCount")).to_have_text("1")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    shade = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(shade[:3]) > 380) is (scheme == "light")


@pytest.mark.parametrize("home", ["site", "file"])
async def test_client_of_the_guide_works_unchanged(
    visit: Visit, dsn: str, aiohttp_server: Callable, psql: Callable, tmp_path: Path, home: str
) -> None:
    """It is a page of another site, or of a file, which the service allows; only the address in it is the test's."""
    text: list[str] = []

    async def guide(request: web.Request) -> web.Response:
        return web.Response(text=text[0], content_type="text/html")

    async def icon(request: web.Request) -> web.Response:
        return web.Response(status=204)

    pages = web.Application()
    pages.add_routes([web.get("/", guide), web.get("/favicon.ico", icon)])
    site: TestServer = await aiohttp_server(pages)
    origin = str(site.make_url("/")).rstrip("/")
    allowed = {"site": origin, "file": "null"}[home]
    service: TestServer = await aiohttp_server(create_app(dsn=dsn, origins={allowed}))
    text.append(GUIDE.read_text().replace("localhost:3000", f"{service.host}:{service.port}"))
    (tmp_path / "guia.html").write_text(text[0])
    page = await visit({"site": origin, "file": (tmp_path / "guia.html").as_uri()}[home])
    page.on("dialog", lambda dialog: dialog.accept())
    await expect(page.locator("#connectionStatus")).to_have_text("✅ Conectado al WebSocket")
    for field, text in {"nombre": "Mouse", "descripcion": "Óptico", "precio": "12.5", "stock": "3"}.items():
        await page.locator(f"#{field}").fill(text)
    await page.get_by_role("button", name="Crear").click()
    await expect(page.locator(".product-card")).to_contain_text("Stock: 3 unidades")
    await expect(page.locator(".product-card")).to_contain_text("$12.5")
    await expect(page.locator("#eventsLog")).to_contain_text("Producto creado: Mouse")
    psql("UPDATE productos SET stock = 2")
    await expect(page.locator(".product-card")).to_contain_text("Stock: 2 unidades")
    psql("DELETE FROM productos")
    await expect(page.locator(".product-card")).to_have_count(0)
    await expect(page.locator("#eventsLog")).to_contain_text("Producto eliminado (ID: 1)")


async def test_filter_of_followed_products_hides_all_others(visit: Visit, client: TestClient, listen: Callable) -> None:
    await create(client, nombre="Teclado", stock=1)
    await create(client, nombre="Mouse", stock=1)
    page = await visit()
    await page.get_by_role("button", name="Seguir Teclado", exact=True).click()
    await page.get_by_role("button", name="Solo los que sigo").click()
    await expect(card(page, "Mouse")).to_have_count(0)
    async with asyncio.timeout(10):  # the page has drawn before its SUBSCRIBE arrives
        while {stream.subscription.productos for stream in client.app[SOCKETS]} != {frozenset({1})}:
            await asyncio.sleep(0.01)
    await client.patch("/api/productos/2", json={"stock": 50})
    await client.patch("/api/productos/1", json={"stock": 70})
    await expect(card(page, "Teclado")).to_contain_text("70 unidades")
    await expect(page.locator("#eventsLog")).not_to_contain_text("Mouse")
    await page.get_by_role("button", name="Solo los que sigo").click()
    await expect(card(page, "Mouse")).to_contain_text("50 unidades")


async def test_token_is_requested_once_and_kept_for_the_tab(visit: Visit, dsn: str, aiohttp_server: Callable) -> None:
    server: TestServer = await aiohttp_server(create_app(dsn=dsn, authenticate=bearer("clave ñ")))
    page = await visit(str(server.make_url("/")))
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("websocket", lambda socket: urls.append(socket.url))
    await page.get_by_label("Clave de acceso").fill("otra")
    await page.get_by_role("button", name="Entrar").click()
    await expect(page.locator("#keyError")).to_contain_text("no es válida")
    await page.get_by_label("Clave de acceso").fill("clave ñ")
    await page.get_by_role("button", name="Entrar").click()
    await connected(page)
    await fill(page, Nombre="Teclado", Precio="1", Stock="1")
    await page.get_by_role("button", name="Crear producto").click()
    await expect(card(page, "Teclado")).to_be_visible()
    await page.reload()
    await connected(page)
    await expect(page.locator("#keyDialog")).to_be_hidden()
    assert not [url for url in urls if "clave" in url]
    assert await page.evaluate("JSON.stringify(localStorage)") == "{}"


async def test_page_offers_to_enter_the_token_where_reading_needs_none(
    visit: Visit, dsn: str, aiohttp_server: Callable, psql: Callable
) -> None:
    psql("INSERT INTO productos (nombre, precio, stock) VALUES ('Teclado', 1, 5)")
    server: TestServer = await aiohttp_server(create_app(dsn=dsn, authenticate=bearer("clave", open_reads=True)))
    page = await visit(str(server.make_url("/")))
    changing = [
        page.locator("#createPanel"),
        page.locator("#import"),
        card(page, "Teclado").locator("footer"),
    ]
    await connected(page)
    psql("UPDATE productos SET stock = 4")
    await expect(card(page, "Teclado")).to_contain_text("4 unidades")
    for control in changing:
        await expect(control).to_be_hidden()
    await page.get_by_role("button", name="Tabla").click()
    await page.locator("[data-edit=stock]").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("i")
    await expect(page.locator(".editor, dialog[open]")).to_have_count(0)
    await page.get_by_role("button", name="Tabla").click()
    await page.get_by_role("button", name="Cambiar productos").click()
    await page.get_by_label("Clave de acceso").fill("otra")
    await page.get_by_role("button", name="Entrar").click()
    await expect(page.locator("#keyError")).to_contain_text("no es válida")
    await page.get_by_role("button", name="Cancelar").click()
    await connected(page)
    await page.get_by_role("button", name="Cambiar productos").click()
    await page.get_by_label("Clave de acceso").fill("clave")
    await page.get_by_role("button", name="Entrar").click()
    await expect(page.locator("#keyDialog")).to_be_hidden()
    for control in changing:
        await expect(control).to_be_visible()
    await card(page, "Teclado").get_by_role("button", name="−1").click()
    await expect(card(page, "Teclado")).to_contain_text("3 unidades")
    await expect(page.get_by_role("button", name="Cambiar productos")).to_be_hidden()


async def test_404_of_another_service_is_not_told_as_a_deletion(visit: Visit, client: TestClient) -> None:
    await create(client, nombre="Teclado")
    page = await visit()
    await connected(page)

    async def astray(route: Route) -> None:
        await route.fulfill(status=404, body="<h1>Not Found</h1>", content_type="text/html")

    await page.route("**/api/productos/1", astray)
    await card(page, "Teclado").get_by_role("button", name="Editar").click()
    await page.locator("#editNombre").fill("Ratón")
    await page.get_by_role("button", name="Guardar cambios").click()
    await expect(page.locator("#editDialog .form-error")).to_have_text("El servidor contestó con un error (404).")
    await expect(page.locator("#editNotice")).to_be_empty()


async def test_page_is_the_same_over_tls(visit: Visit, dsn: str, aiohttp_server: Callable) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server: TestServer = await aiohttp_server(create_app(dsn=dsn, hosts={"127.0.0.1"}), ssl=context)
    pages = [await visit(str(server.make_url("/")), ignore_https_errors=True) for _ in range(2)]
    assert pages[0].url.startswith("https:")
    for page in pages:
        await connected(page)
    await fill(pages[0], Nombre="Teclado", Precio="1", Stock="1")
    await pages[0].get_by_role("button", name="Crear producto").click()
    await expect(card(pages[1], "Teclado")).to_be_visible()


async def test_page_of_a_host_with_users_leads_to_their_login_and_back(
    visit: Visit, dsn: str, aiohttp_server: Callable
) -> None:
    users: set[str] = set()

    async def signed_in(request: web.Request) -> bool:
        return "ana" in users

    async def signed_in_to_change(request: web.Request) -> bool:
        return request.method == "GET" or "ana" in users

    async def forbidden(request: web.Request) -> bool:
        raise web.HTTPForbidden

    async def enter(request: web.Request) -> web.Response:
        users.add("ana")
        raise web.HTTPFound(request.query["next"])

    host = web.Application()
    host.add_routes([web.get("/entrar", enter)])
    host.add_subapp("/a/", create_app(dsn=dsn, authenticate=signed_in, login="/entrar?por=web", authenticate_every=0.1))
    host.add_subapp("/b/", create_app(dsn=dsn, authenticate=signed_in))
    host.add_subapp("/c/", create_app(dsn=dsn, authenticate=signed_in_to_change, login="/entrar"))
    host.add_subapp("/d/", create_app(dsn=dsn, authenticate=forbidden))
    server: TestServer = await aiohttp_server(host)
    page = await visit(str(server.make_url("/b/")))
    await expect(page.get_by_role("dialog")).to_contain_text("Hay que iniciar sesión")
    await expect(page.locator("#connectionStatus")).to_have_text("Detenido: hay que iniciar sesión")
    await expect(page.get_by_role("button", name="Iniciar sesión")).to_be_hidden()
    users.add("ana")
    await page.get_by_role("button", name="Reintentar").click()
    await connected(page)
    await expect(page.locator("#loginDialog")).to_be_hidden()
    await page.goto(str(server.make_url("/a/?q=mate")))
    await connected(page)
    users.clear()  # its socket is closed by the next check
    await page.get_by_role("button", name="Iniciar sesión").click()
    await connected(page)
    await expect(page).to_have_url(str(server.make_url("/a/?q=mate")))
    users.clear()
    await page.goto(str(server.make_url("/c/")))
    await connected(page)
    await expect(page.locator("#createPanel")).to_be_hidden()
    await page.get_by_role("button", name="Cambiar productos").click()
    await connected(page)
    await expect(page.locator("#createPanel")).to_be_visible()
    await expect(page.get_by_role("button", name="Cambiar productos")).to_be_hidden()
    await page.goto(str(server.make_url("/d/")))
    await expect(page.locator("#connectionStatus")).to_have_text("Detenido: no está permitido")
    await expect(page.locator("dialog[open]")).to_have_count(0)


async def test_what_a_user_has_not_sent_waits_for_that_user(
    visit: Visit, dsn: str, psql: Callable, aiohttp_server: Callable
) -> None:
    psql("INSERT INTO productos (nombre, precio, stock) VALUES ('Teclado', 1, 10)")
    names = {"now": "ana"}

    async def signed_in(request: web.Request) -> str:
        return names["now"]

    host = web.Application()
    host.add_subapp("/a/", create_app(dsn=dsn, authenticate=signed_in, login="/entrar"))
    server: TestServer = await aiohttp_server(host)
    page = await visit(str(server.make_url("/a/")))
    await connected(page)
    await page.context.set_offline(True)
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(page.locator("#unsent")).to_be_visible()
    names["now"] = "eva"  # who signs in in another tab
    await page.context.set_offline(False)
    async with page.expect_event("load"):
        await page.get_by_role("button", name="Reintentar").click()
    await connected(page)
    await expect(page.locator("#unsent")).to_be_hidden()
    await page.get_by_role("button", name="+1 unidad de Teclado").click()
    await expect(card(page, "Teclado")).to_contain_text("11 unidades")
    await expect(page.locator(".toast.success")).to_have_count(1)
    names["now"] = "ana"
    await page.reload()
    await expect(card(page, "Teclado")).to_contain_text("10 unidades")
    await expect(page.locator(".toast.success")).to_contain_text("1 cambio de antes, enviado")
    rows = psql("SELECT mensaje ->> 'actor', mensaje #>> '{data,stock}' FROM eventos ORDER BY id")
    assert rows == [(None, "10"), ("eva", "11"), ("ana", "10")]


async def test_many_events_are_drawn_in_few_frames(visit: Visit, client: TestClient, psql: Callable) -> None:
    page = await visit()
    await connected(page)
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable ' || n, 1 FROM generate_series(1, 300) AS n")
    await expect(page.locator("#productCount")).to_have_text("300")
    await page.evaluate(
        "window.draws = 0; const count = () => { draws += 1; };"
        "new MutationObserver(count).observe(productList, { subtree: true, childList: true, characterData: true })"
    )
    for _ in range(3):
        psql("UPDATE productos SET stock = stock + 1")
    await expect(card(page, "#300")).to_contain_text("3 unidades")
    assert 1 <= await page.evaluate("draws") < 100  # of 900 events


async def test_long_list_draws_only_the_visible_cards(visit: Visit, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable ' || n, 1 FROM generate_series(1, 1000) AS n")
    page = await visit()
    await expect(page.locator("#productCount")).to_have_text("1000")
    await expect(card(page, "#1000")).to_be_visible()
    await expect(page.locator('[data-id="1"]')).to_have_count(0)
    for _ in range(20):
        await page.keyboard.press("End")
        await page.wait_for_timeout(50)
    await expect(page.locator(".product-card").last).to_contain_text("#1")
    psql("INSERT INTO productos (nombre, precio) VALUES ('Nuevo', 1)")
    psql("UPDATE productos SET stock = 9 WHERE id = 1")
    await expect(page.locator(".product-card").last).to_contain_text("9 unidades")
    assert await page.locator(".product-card").count() < 300
    await page.keyboard.press("Home")
    await expect(page.locator(".product-card").first).to_contain_text("Nuevo")
    numbers = [
        int(text[1:])
        for text in await page.locator("#productList > .cards").first.locator(".number").all_text_contents()
    ]
    assert numbers == list(range(1001, 941, -1))


async def test_history_shows_the_list_as_it_was_and_returns_to_the_present(visit: Visit, client: TestClient) -> None:
    await create(client, nombre="Teclado", stock=1)
    await create(client, nombre="Mouse", stock=1)
    await client.patch("/api/productos/1", json={"stock": 9})
    await client.delete("/api/productos/2")
    page = await visit()
    await connected(page)
    await page.get_by_role("button", name="Historial", exact=True).click()
    await expect(page.locator("#momentText")).to_contain_text("Producto eliminado")
    await page.locator("#moment").fill("2")
    await expect(page.locator("#momentText")).to_contain_text("Producto creado: Mouse")
    await expect(card(page, "Mouse")).to_contain_text("1 unidad")
    await expect(card(page, "Teclado")).to_contain_text("1 unidad")
    await expect(page.locator(".product-card button:visible:not([data-action=events])")).to_have_count(0)
    await create(client, nombre="Monitor")
    await expect(page.locator("#moment")).to_have_attribute("max", "5")
    await expect(card(page, "Monitor")).to_have_count(0)
    await page.get_by_role("button", name="Evento siguiente").click()
    await expect(card(page, "Teclado")).to_contain_text("9 unidades")
    await page.get_by_role("button", name="Evento anterior").click()
    await expect(card(page, "Teclado")).to_contain_text("1 unidad")
    await expect(page.locator("#moment")).to_have_attribute("aria-valuetext", re.compile("Tras el evento 2 .*Mouse"))
    await page.keyboard.press("Escape")
    await expect(page.locator("#historyToggle")).to_be_focused()
    await expect(card(page, "Monitor")).to_be_visible()
    await expect(card(page, "Mouse")).to_have_count(0)


async def test_history_of_a_pruned_log_begins_at_its_oldest_event(visit: Visit, client: TestClient) -> None:
    for name in ("Teclado", "Mouse", "Monitor"):
        await create(client, nombre=name)
    await eventlog.prune_events(client.app[DATABASE], None, 1)
    page = await visit(viewport={"width": 390, "height": 800})
    await connected(page)
    await page.get_by_role("button", name="Historial", exact=True).click()
    await expect(page.locator("#momentText")).to_contain_text("Tras el evento 3 ")
    await expect(page.locator("#moment")).to_have_attribute("min", "3")
    await expect(page.locator("#productCount")).to_have_text("3")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_resized_window_keeps_the_length_of_the_list(visit: Visit, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable ' || n, 1 FROM generate_series(1, 3000) AS n")
    page = await visit()
    await expect(card(page, "#3000")).to_be_visible()
    for _ in range(20):
        await page.keyboard.press("End")
        await page.wait_for_timeout(50)
    before = await page.evaluate("productList.offsetHeight")
    await page.set_viewport_size({"width": 1280, "height": 760})
    await page.wait_for_timeout(1500)
    assert await page.locator(".product-card").count() < 300
    assert abs(await page.evaluate("productList.offsetHeight") / before - 1) < 0.1
