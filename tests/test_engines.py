"""The page in the engines of Safari and of Firefox: the main paths, which test_page.py walks in Chromium too."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from inventory_ws import create_app

from .conftest import create
from .tools import engines
from .tools.browser import Browsers
from .tools.engines import Engine, Page
from .tools.line import line

pytestmark = pytest.mark.slow

BROWSERS = {"webkit": (engines.MINIBROWSER, engines.webkit), "firefox": (engines.FIREFOX, engines.firefox)}

CONNECTED = "document.querySelector('#connectionStatus').textContent === 'Conectado'"
SHADE = (
    "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b, 0)"
)
CARD = ".product-card"


@pytest.fixture(params=BROWSERS)
async def page(request: pytest.FixtureRequest, browsers: Browsers) -> AsyncIterator[Page]:
    """A browser of each engine, both required where REQUIRE_ALL is set; nothing may go wrong in its page."""
    installed, start = BROWSERS[request.param]
    if installed is None:
        if os.environ.get("REQUIRE_ALL"):
            pytest.fail(f"there is no {request.param}")
        pytest.skip(f"there is no {request.param}: the page is not tested in it")
    async with AsyncExitStack() as stack:
        try:
            page = await stack.enter_async_context((await browsers.get(start, Engine.alive)).page())
        except engines.NotStarted:
            page = await stack.enter_async_context((await browsers.get(start, Engine.alive)).page())
        yield page
        faults = [
            fault for fault in await page.faults() if "establish a connection" not in fault
        ]  # of the service that went
        assert faults == []


async def visit(page: Page, server: TestClient | TestServer) -> None:
    await page.goto(str(server.make_url("/")))
    await page.wait_for(CONNECTED)


async def shows(page: Page, selector: str, *texts: str) -> None:
    """Waits until an element of these has all the texts."""
    for text in texts:
        await page.wait_for(
            f"[...document.querySelectorAll('{selector}')].some((one) => one.innerText.includes('{text}'))"
        )


async def lacks(page: Page, selector: str) -> None:
    await page.wait_for(f"!document.querySelector('{selector}')")


async def test_product_is_created_sold_edited_and_deleted(page: Page, client: TestClient) -> None:
    await visit(page, client)
    for field, text in {"nombre": "Teclado", "descripcion": "Mecánico", "precio": "89,90", "stock": "5"}.items():
        await page.type(f"#{field}", text)
    await page.click("#createForm [type=submit]")
    await shows(page, CARD, "Teclado", "Mecánico", "$89,90", "5 unidades")
    await page.wait_for("document.activeElement.id === 'nombre' && !document.activeElement.value")
    await page.click(f"{CARD} [data-action=take]")
    await shows(page, CARD, "4 unidades")
    await page.click(f"{CARD} [data-action=edit]")
    await page.click(".toast .act:not([hidden])")
    await shows(page, CARD, "5 unidades")
    await page.type("#editNombre", "Teclado español")
    await page.press("Enter")
    await shows(page, CARD, "Teclado español")
    await lacks(page, "dialog[open]")
    await page.click(f"{CARD} [data-action=delete]")
    await shows(page, "#deleteDialog[open]", "Teclado español")
    await page.press("Escape")
    await lacks(page, "dialog[open]")
    await page.wait_for("document.activeElement.dataset.action === 'delete'")
    await page.press("Enter")
    await page.click("#confirmDelete")
    await lacks(page, CARD)
    await shows(page, "#productCount", "0")
    assert (await (await client.get("/api/productos")).json())["data"] == []


async def test_conflicting_edit_shows_both_versions(page: Page, client: TestClient) -> None:
    await create(client, nombre="Teclado", precio=10)
    await visit(page, client)
    await page.click(f"{CARD} [data-action=edit]")
    await page.type("#editPrecio", "20")
    assert (await client.patch("/api/productos/1", json={"precio": 30})).status == 200
    await shows(page, "#editNotice", "Alguien lo cambió")
    await page.click("#saveEdit")
    await shows(page, "#conflictDialog[open]", "$20,00", "$30,00")
    await page.click("#overwrite")
    await shows(page, CARD, "$20,00")
    await lacks(page, "dialog[open]")
    assert (await (await client.get("/api/productos/1")).json())["data"]["precio"] == 20


async def test_cable_shows_frames_and_the_cut(page: Page, client: TestClient) -> None:
    await visit(page, client)
    await page.click("#cableToggle")
    await shows(page, "#cableCount", "1 conectado")
    await create(client, nombre="Teclado")
    await shows(page, "#cableRows li", "PRODUCT_CREATED")
    await page.click("#cableRows summary")
    await shows(page, "#cableRows pre", '"nombre": "Teclado"')
    await page.click("#cut")
    await shows(page, "#cableRows li", "recovered: true")
    await shows(page, "#cableRows li", "1000")
    await page.wait_for(CONNECTED)
    await page.click("#closeCable")
    await page.wait_for("document.querySelector('#cable').hidden && document.activeElement.id === 'cableToggle'")


async def test_page_reconnects_and_shows_missed_changes(
    page: Page, dsn: str, psql: Callable, aiohttp_server: Callable
) -> None:
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 1), ('Mouse', 1)")
    server: TestServer = await aiohttp_server(create_app(dsn=dsn))
    await visit(page, server)
    await shows(page, CARD, "Teclado")
    port = server.port
    await server.close()
    await shows(page, "#connectionStatus", "Reconectando en")
    await shows(page, CARD, "Teclado")
    psql("DELETE FROM productos WHERE nombre = 'Mouse'; UPDATE productos SET stock = 7")
    await aiohttp_server(create_app(dsn=dsn), port=port)
    await page.wait_for(CONNECTED)
    await shows(page, CARD, "7 unidades")
    await shows(page, "#toasts", "2 cambios mientras no estabas")
    await page.wait_for(f"document.querySelectorAll('{CARD}').length === 1")
    loads = "performance.getEntriesByType('resource').filter(({name}) => name.endsWith('/api/productos')).length"
    assert await page.evaluate(loads) == 1, "it resumes, and reloads nothing"


async def test_dark_theme_is_remembered(page: Page, client: TestClient) -> None:
    await visit(page, client)
    assert await page.evaluate(SHADE) > 380
    await page.click("#themeToggle")
    await page.wait_for(f"{SHADE} < 380")
    await visit(page, client)
    assert await page.evaluate(SHADE) < 380
    assert await page.evaluate("document.querySelector('#themeToggle').ariaLabel") == "Cambiar a modo claro"


async def test_table_is_sorted_and_edited_in_place(page: Page, client: TestClient) -> None:
    for name, stock in (("Nube", 5), ("Ñandú", 3), ("árbol", 1)):
        await create(client, nombre=name, stock=stock)
    await visit(page, client)
    await page.click("#asTable")
    await page.click("[data-sort=nombre]")
    order = "[...document.querySelectorAll('.product-row .name')].map((one) => one.textContent).join()"
    await page.wait_for(f"{order} === 'árbol,Nube,Ñandú'")
    await page.click('[data-id="1"] [data-edit=stock]')
    for key in ("-", "2", "Enter"):
        await page.press(key)
    await shows(page, '[data-id="1"] .units', "3")
    await shows(page, "#toasts", "movimiento -2")
    await page.wait_for("document.activeElement.matches('[data-id=\"1\"] .units')")
    for key in ("Down", "Left", "Enter"):
        await page.press(key)
    await page.wait_for("document.activeElement.closest('[data-id=\"2\"] .price') !== null")
    await page.press("Escape")
    await visit(page, client)
    await page.wait_for(f"{order} === 'árbol,Nube,Ñandú'")


async def test_what_is_typed_in_place_is_saved_when_the_field_is_left(page: Page, client: TestClient) -> None:
    for name in ("Teclado", "Ratón"):
        await create(client, nombre=name, stock=5)
    await visit(page, client)
    await page.click('[data-id="1"] [data-action=stock-field]')
    for key in ("-", "3"):
        await page.press(key)
    await page.click('[data-id="2"] [data-action=stock-field]')
    await shows(page, f'{CARD}[data-id="1"]', "2 unidades")
    for key in ("-", "9"):
        await page.press(key)
    await page.click("#search")
    await shows(page, ".toast.error", "Ratón: «-9» no se ha guardado")
    await lacks(page, ".editor")


async def test_taps_count_at_once_and_a_scan_finds_its_product(page: Page, client: TestClient) -> None:
    await create(client, nombre="Teclado", descripcion="8412345678905", stock=9)
    await create(client, nombre="Ratón", descripcion="8400000000017", stock=9)
    async with line(client.server.host, client.server.port) as slow:
        await page.goto(slow.url)
        await page.wait_for(CONNECTED)
        await page.wait_for(f"document.querySelectorAll('{CARD}').length === 2")
        for slow.latency in (0.4, 2):
            await page.click(f'{CARD}[data-id="1"] [data-action=take]')
            await page.evaluate("document.querySelector('[data-id=\"1\"] [data-action=take]').click()")
            await shows(page, f'{CARD}[data-id="1"] .pending', "por enviar")
        await shows(page, f'{CARD}[data-id="1"]', "5 unidades")
        await page.goto(slow.url)  # before the answer
        slow.latency = 0
        await page.wait_for(CONNECTED)
        await page.wait_for("!document.querySelector('.pending:not(:empty)')")
        await shows(page, f'{CARD}[data-id="1"]', "5 unidades")
        await page.click("#basketToggle")
        await page.click(f'{CARD}[data-id="1"] [data-action=take]')
        await page.type("#search", "8400000000017\n")
        await shows(page, "#basketTotal", "2 unidades")
        await page.press("Enter")
        await shows(page, ".toast.success", "Venta: 2 unidades")
        await page.click("#basketToggle")
    assert [row["stock"] for row in (await (await client.get("/api/productos")).json())["data"]] == [4, 8]
    await page.type("#search", "8400000000017\n")
    await page.wait_for("document.activeElement.matches('[data-id=\"2\"] [data-action=take]')")
    await page._act("key", [{"type": f"key{way}", "value": key} for key in "8412345678905" for way in ("Down", "Up")])
    await page.press("Enter")
    await page.wait_for("document.activeElement.matches('[data-id=\"1\"] [data-action=take]')")
    assert (await (await client.get("/api/productos/2")).json())["data"]["stock"] == 8


async def test_file_is_imported_and_a_value_restored(page: Page, client: TestClient, tmp_path: Path) -> None:
    await create(client, nombre="Teclado", precio=10)
    (tmp_path / "lista.csv").write_bytes(
        "id;nombre;descripcion;precio;stock\n1;Teclado;;12,5;3\n;Piñón;;1;2\n".encode("cp1252")
    )
    await visit(page, client)
    await page.click("#import")
    await page.upload("#importFile", tmp_path / "lista.csv")
    await shows(page, "#importSummary", "1 nuevo · 1 cambia")
    await page.click("#confirmImport")
    await lacks(page, "dialog[open]")
    await shows(page, CARD, "Piñón", "$12,50")
    await page.click(f'{CARD}[data-id="1"] [data-action=events]')
    await shows(page, "#productEvents li", "Precio: $10,00 → $12,50", "importación")
    await page.click("#productEvents button[aria-label^='Restaurar precio']")
    await shows(page, "#productNow", "$10,00")
    await page.press("Escape")
    await lacks(page, "dialog[open]")
    await shows(page, CARD, "$10,00")
