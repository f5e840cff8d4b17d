"""A shop's day on a slow line: no tap and no word is lost."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import Page, Response, expect
from playwright.async_api import async_playwright as playwright

from inventory_ws import create_app
from inventory_ws.web.security import bearer

from .conftest import create
from .test_page import Visit, browser, card, connected, keep_notices, visit  # noqa: F401
from .tools.browser import CHROMIUM, QUIET
from .tools.line import LATENCIES, Line, line
from .tools.service import PATIENCE

pytestmark = pytest.mark.slow

OPTIONS = {"executable_path": CHROMIUM, "args": [*QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]}
CLIENT = Path(__file__).parent.parent / "client"


@pytest.fixture
async def slow(client: TestClient) -> AsyncIterator[Line]:
    """A line to the service, whose latency the test sets."""
    async with line(client.server.host, client.server.port) as slow:
        yield slow


async def shop(visit: Visit, slow: Line, **options: object) -> Page:  # noqa: F811
    """The page at the other end of the line."""
    page = await visit(slow.url, **options)
    await connected(page)
    return page


async def product(client: TestClient, product_id: int = 1) -> dict:
    return (await (await client.get(f"/api/productos/{product_id}")).json())["data"]


async def stock(client: TestClient, product_id: int, units: int) -> None:
    """Waits until the service has so many units of it."""
    async with asyncio.timeout(20):
        while (await product(client, product_id))["stock"] != units:
            await asyncio.sleep(0.05)


# ---- what is typed in place


async def test_handler_properties_are_standard_ones(visit: Visit) -> None:  # noqa: F811
    """The browsers do not object to an assignment that means nothing to them; `onfocusout` exists in WebKit alone."""
    code = "".join(path.read_text() for path in CLIENT.glob("*.js"))
    names = sorted(set(re.findall(r"\.(on[a-z]+)\b(?: =|\?\.)", code)))
    assert "onclick" in names
    page = await visit()
    unknown = await page.evaluate(
        "names => names.filter((name) => ![HTMLElement, Window, WebSocket, XMLHttpRequest, AbortSignal, Animation,"
        "IDBOpenDBRequest, IDBTransaction]"
        ".some(({ prototype }) => name in prototype) && !(name in window))",
        names,
    )
    assert unknown == []


async def test_what_is_typed_in_place_is_saved_when_the_field_is_left(
    visit: Visit,  # noqa: F811
    client: TestClient,
    slow: Line,
) -> None:
    for name in ("Teclado", "Ratón"):
        await create(client, nombre=name, stock=30)
    page = await shop(visit, slow)
    other = page.get_by_role("button", name="Mover o contar el stock de Ratón")
    for n, slow.latency in enumerate(LATENCIES):
        await page.get_by_role("button", name="Mover o contar el stock de Teclado").click()
        await page.keyboard.type("-3")
        await other.click()
        await expect(card(page, "Ratón").locator(".editor input")).to_be_focused()
        await stock(client, 1, 30 - 3 * (n + 1))
        await page.keyboard.press("Escape")
        await expect(page.locator(".editor")).to_have_count(0)
    slow.latency = 0
    await page.get_by_role("button", name="Mover o contar el stock de Teclado").click()
    await page.keyboard.type("-99")
    await page.locator("#search").click()
    await expect(page.locator(".toast.error")).to_contain_text(
        "Teclado: «-99» no se ha guardado. Movimiento -99: no alcanza"
    )
    assert (await product(client))["stock"] == 21


# ---- taps


async def test_every_tap_counts_at_once_on_a_slow_line(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=50)
    page, other = await shop(visit, slow), await visit()
    keys: list[str] = []
    answered: list[str] = []
    page.on("request", lambda request: request.method == "POST" and keys.append(request.headers["idempotency-key"]))
    page.on("requestfinished", lambda request: request.method == "POST" and answered.append(request.url))
    take = page.get_by_role("button", name="−1 unidad de Teclado")
    left = 50
    for slow.latency in LATENCIES:
        keys.clear()
        answered.clear()
        slow.stalled = slow.latency == 2  # no answer comes before the last tap, however busy the machine is
        for _ in range(5):
            left -= 1
            await take.click()
            await expect(card(page, "Teclado").locator(".units")).to_have_text(str(left))
            await asyncio.sleep(0.12)
        if slow.stalled:
            await expect(card(page, "Teclado").locator(".pending")).to_have_text("-5 por enviar")
            slow.stalled = False
        await stock(client, 1, left)
        await expect(card(page, "Teclado").locator(".pending")).to_be_empty()
        await expect(card(page, "Teclado").locator(".units")).to_have_text(str(left))
        if slow.latency == 2:
            assert len(set(keys)) == 2, "the first, and the others in one"
        async with asyncio.timeout(20):
            while len(answered) < len(keys):  # an answer may come after its event
                await asyncio.sleep(0.05)
    await expect(card(other, "Teclado")).to_contain_text("35 unidades")
    assert await page.locator(".toast.error").count() == 0
    shown = await page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/api/productos')).length"
    )
    assert shown == 1


async def test_stock_on_the_page_never_rises_while_it_is_sold(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    """The event of a sale comes before its answer or after it; the number is the same all the time."""
    await create(client, nombre="Teclado", stock=50)
    page = await shop(visit, slow)
    await expect(card(page, "Teclado")).to_be_visible()
    await page.evaluate(
        "window.seen = []; const each = () => { seen.push(Number(document.querySelector('.units').textContent));"
        "requestAnimationFrame(each); }; each()"
    )
    for slow.latency in (0, 0.2):
        for n in range(10):
            await page.get_by_role("button", name="−1 unidad de Teclado").click()
            await asyncio.sleep(0.02 * n)
        await expect(page.locator(".pending")).to_be_empty()
    await stock(client, 1, 30)
    seen = await page.evaluate("seen")
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 30


async def test_more_than_there_is_is_not_sold(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=2)
    page = await shop(visit, slow)
    slow.latency = 0.4
    for _ in range(3):
        await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await stock(client, 1, 0)
    await expect(page.locator(".toast.success")).to_contain_text("stock 0")  # which does not hide the refusal:
    await expect(page.locator(".toast.error")).to_contain_text("Teclado: no queda ninguna unidad")
    slow.stalled = True
    await client.patch("/api/productos/1", json={"stock": 9})
    await client.post("/api/productos/1/stock", json={"delta": -9})
    slow.stalled = False
    await page.mouse.move(0, 0)  # under it the list would not move
    await create(client, nombre="Ratón", stock=5)
    await expect(card(page, "Ratón")).to_be_visible()
    slow.stalled = True
    for _ in range(3):  # and meanwhile somebody takes four
        await page.get_by_role("button", name="−1 unidad de Ratón").click()
    await client.post("/api/productos/2/stock", json={"delta": -4})
    slow.stalled = False
    await expect(page.locator(".toast.error").last).to_contain_text(
        "Ratón: -2 no se ha guardado: no queda ninguna unidad"
    )
    await expect(card(page, "Ratón")).to_contain_text("agotado")


# ---- refusals


async def test_refused_count_is_told_by_a_notice(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Zumo", stock=40)
    page = await shop(visit, slow)
    await page.get_by_role("button", name="Mover o contar el stock de Zumo").click()
    await page.locator(".editor input").fill("=38")
    slow.stalled = True
    await page.keyboard.press("Enter")
    await expect(page.locator(".editor")).to_have_count(0)
    await client.post("/api/productos/1/stock", json={"delta": -2})
    await client.post("/api/productos/1/stock", json={"delta": -1})
    slow.stalled = False
    await expect(page.locator(".toast.error")).to_contain_text(
        "Zumo: stock 38 no se ha guardado: Alguien cambió este producto antes"
    )
    assert (await product(client))["stock"] == 37


async def test_refused_undo_is_told_with_what_was_not_saved(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Zumo", precio=10)
    page = await shop(visit, slow)
    await page.get_by_role("button", name="Editar Zumo").click()
    await page.locator("#editPrecio").fill("20")
    await page.get_by_role("button", name="Guardar cambios").click()
    undo = page.locator(".toast.success").get_by_role("button", name="Deshacer")
    await expect(undo).to_be_visible()
    slow.stalled = True
    await undo.click()
    await client.patch("/api/productos/1", json={"precio": 30})
    slow.stalled = False
    await expect(page.locator(".toast.error")).to_contain_text("Zumo: precio $10,00 no se ha guardado: Alguien cambió")


async def test_refusal_is_told_by_a_notice_where_its_dialog_is_gone(
    visit: Visit,  # noqa: F811
    client: TestClient,
    slow: Line,
) -> None:
    await create(client, nombre="Zumo", precio=10)
    page = await shop(visit, slow)
    refused = page.locator(".toast.error").last
    page.on("dialog", lambda dialog: dialog.accept())  # whether what was typed may go
    await page.get_by_role("button", name="Editar Zumo").click()
    await page.locator("#editPrecio").fill("20")
    await client.patch("/api/productos/1", json={"precio": 30})
    await page.get_by_role("button", name="Guardar cambios").click()
    await expect(page.locator("#overwrite")).to_be_visible()
    slow.stalled = True
    await page.locator("#overwrite").click()
    for _ in range(2):
        await page.keyboard.press("Escape")
    await expect(page.locator("dialog[open]")).to_have_count(0)
    await client.patch("/api/productos/1", json={"precio": 40})
    slow.stalled = False
    await expect(refused).to_contain_text("Zumo: precio $20,00 no se ha guardado: Alguien cambió")
    await expect(card(page, "Zumo")).to_contain_text("$40,00")
    await expect(page.locator("dialog[open]")).to_have_count(0)
    await page.get_by_role("button", name="Historia de Zumo").click()
    restore = page.get_by_role("button", name="Restaurar precio $10,00")
    await expect(restore).to_be_visible()
    slow.stalled = True
    await restore.click()
    await page.keyboard.press("Escape")
    await client.patch("/api/productos/1", json={"precio": 50})
    slow.stalled = False
    await expect(refused).to_contain_text("Zumo: precio $10,00 no se ha guardado: Alguien cambió")


async def test_refusals_stay_together_until_they_are_dismissed(
    visit: Visit,  # noqa: F811
    client: TestClient,
    slow: Line,
    psql: Callable,
) -> None:
    names = ("Bombilla", "Cable", "Enchufe", "Pila", "Linterna")
    for name in names:
        await create(client, nombre=name, stock=5)
    page = await shop(visit, slow, viewport={"width": 390, "height": 700})  # where few notices are shown
    await expect(page.locator(".product-card")).to_have_count(5)
    # What a notice of an error waits until it goes is over at once.
    await page.evaluate(
        "() => { window.wait = setTimeout; window.setTimeout = (then, ms) => wait(then, ms === 12_000 ? 0 : ms); }"
    )
    slow.stalled = True
    for name in (*names, "Bombilla", "Bombilla"):
        await page.get_by_role("button", name=f"−1 unidad de {name}").click()
    psql("UPDATE productos SET stock = 0")
    slow.stalled = False
    refused = page.locator(".toast.error")

    def lines(*moves: tuple[str, int]) -> list[str]:
        return [f"{name}: {delta} no se ha guardado: no queda ninguna unidad" for name, delta in moves]

    others = [(name, -1) for name in names[1:]]
    await expect(refused.locator("p")).to_have_text("\n".join(lines(("Bombilla", -3), *others)), use_inner_text=True)
    await expect(page.locator("#eventsLog .error .event-type")).to_have_text(
        lines(("Bombilla", -2), *reversed(others), ("Bombilla", -1))
    )
    await page.evaluate("() => { window.setTimeout = wait; }")
    for name in names:
        await page.get_by_role("button", name=f"+1 unidad de {name}").dispatch_event("click")
    await expect(page.locator(".toast").last).to_contain_text("Linterna: stock 1")
    await expect(refused).to_be_visible()
    await refused.get_by_role("button", name="Cerrar el aviso").click()
    await expect(refused).to_have_count(0)


async def test_form_of_a_change_that_waits_for_the_line_closes(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    """Else «Cancelar» would seem to take it back."""
    for name in ("Vela", "Jabón", "Zumo", "Café"):
        await create(client, nombre=name, precio=10, stock=5)
    page = await shop(visit, slow)
    waiting = page.locator("#unsentList li")
    dialogs = page.locator("dialog[open]")

    async def edit(name: str) -> None:
        await page.get_by_role("button", name=f"Editar {name}").click()
        await page.locator("#editPrecio").fill("20")
        await page.get_by_role("button", name="Guardar cambios").click()

    slow.stalled = True
    await edit("Vela")
    await expect(page.locator("#saveEdit")).to_be_disabled()
    await expect(dialogs).to_have_count(1)
    slow.cut()
    await expect(dialogs).to_have_count(0)
    await edit("Jabón")
    await expect(dialogs).to_have_count(0)
    await page.get_by_role("button", name="Eliminar Zumo").click()
    await page.locator("#confirmDelete").click()
    await expect(dialogs).to_have_count(0)
    await expect(card(page, "Zumo")).to_have_class(re.compile("gone"))
    await page.get_by_role("button", name="Mover o contar el stock de Café").click()
    await page.keyboard.type("=4")
    await page.keyboard.press("Enter")
    await expect(page.locator(".editor")).to_have_count(0)
    await expect(page.get_by_role("button", name="Mover o contar el stock de Café")).to_be_focused()
    await page.get_by_role("button", name="Editar Café").click()  # one that is not saved stays
    await page.locator("#editPrecio").fill("30")
    texts = ["Vela: precio $20,00", "Jabón: precio $20,00", "Zumo: eliminar", "Café: stock 4"]
    assert await waiting.all_text_contents() == texts
    await keep_notices(page)
    slow.stalled = False
    await connected(page)
    await stock(client, 4, 4)
    rows = (await (await client.get("/api/productos")).json())["data"]
    assert [(row["nombre"], row["precio"]) for row in rows] == [("Vela", 20), ("Jabón", 20), ("Café", 10)]
    await expect(page.locator("#editPrecio")).to_have_value("30")
    await expect(page.locator(".toast.success")).to_have_count(4)


async def test_changes_of_a_product_that_wait_build_upon_one_another(
    visit: Visit,  # noqa: F811
    client: TestClient,
    slow: Line,
) -> None:
    await create(client, nombre="Vela", precio=10, stock=5)
    page = await shop(visit, slow)
    slow.stalled = True
    slow.cut()
    for before, after in (("10", "20"), ("20", "30")):
        await page.get_by_role("button", name="Editar Vela").click()
        await expect(page.locator("#editPrecio")).to_have_value(f"{before},00")
        await page.locator("#editPrecio").fill(after)
        await page.get_by_role("button", name="Guardar cambios").click()
        await expect(page.locator("dialog[open]")).to_have_count(0)
        await expect(card(page, "Vela")).to_contain_text(f"${after},00")
    for typed, units in (("=9", 9), ("-2", 7), ("=6", 6), ("+2", 8)):
        await page.get_by_role("button", name="Mover o contar el stock de Vela").click()
        await page.keyboard.type(typed)
        await page.keyboard.press("Enter")
        await expect(card(page, "Vela")).to_contain_text(f"{units} unidades")
    slow.stalled = False
    await connected(page)
    await stock(client, 1, 8)
    assert (await product(client))["precio"] == 30
    await expect(card(page, "Vela")).to_contain_text("8 unidades")
    await expect(page.locator(".toast.error")).to_have_count(0)


# ---- the form for a new product


async def test_form_is_free_for_the_next_product_at_once(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    page = await shop(visit, slow)
    await page.keyboard.press("n")
    n = 0
    for slow.latency in LATENCIES:
        for _ in range(2):
            n += 1
            await expect(page.locator("#nombre")).to_be_focused(timeout=500)
            for text in (f"Producto {n}", "Bueno", "10"):
                await page.keyboard.type(text)
                await page.keyboard.press("Tab")
            await page.keyboard.type("2")
            await page.keyboard.press("Enter")
            await expect(page.locator("#nombre")).to_have_value("", timeout=500)
    await expect(page.locator("#productCount")).to_have_text("6", timeout=20_000)
    found = (await (await client.get("/api/productos")).json())["data"]
    assert [row["nombre"] for row in found] == [f"Producto {number}" for number in range(1, 7)]


async def test_refused_product_comes_back_to_the_form(
    visit: Visit,  # noqa: F811
    client: TestClient,
    slow: Line,
    psql: Callable,
) -> None:
    psql("ALTER TABLE productos ADD CONSTRAINT barato CHECK (precio < 1000)")
    page = await shop(visit, slow)
    slow.latency = 0.4
    for name, price in (("Caro", "2000"), ("Barato", "10"), ("Carísimo", "3000")):
        await page.locator("#nombre").fill(name)
        await page.locator("#precio").fill(price)
        await page.locator("#stock").fill("1")
        await page.keyboard.press("Enter")
    await page.locator("#nombre").press_sequentially("Otra co")
    caro = page.locator(".toast.error").filter(has_text="«Caro» no se ha creado")
    await expect(caro).to_be_visible()
    await expect(page.locator(".toast.error").filter(has_text="«Carísimo»")).to_be_visible()
    await expect(page.locator("#nombre")).to_have_value("Otra co")
    await caro.get_by_role("button", name="Volver a escribirlo").click()
    await expect(page.locator("#nombre")).to_have_value("Caro")
    await expect(page.locator("#precio")).to_have_value("2000,00")
    await page.get_by_role("button", name="Volver a ello").click()
    await expect(page.locator("#nombre")).to_have_value("Otra co")
    await page.locator("#nombre").fill("")
    await page.locator("#nombre").fill("Más caro")
    await page.locator("#precio").fill("4000")
    await page.locator("#stock").fill("1")
    await page.keyboard.press("Enter")
    await expect(page.locator("#nombre")).to_have_value("Más caro", timeout=20_000)
    faults = page.locator("#precioError, #createForm .form-error").filter(has_text=re.compile("."))
    await expect(faults).not_to_have_count(0)
    await page.locator("#precio").fill("40")
    await expect(faults).to_have_count(0)  # it was of what stood there


# ---- conflicts that are none


async def test_edit_is_saved_beside_changes_of_other_fields(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Teclado", descripcion="Viejo", precio=10, stock=50)
    page = await shop(visit, slow)
    for n, slow.latency in enumerate(LATENCIES):
        await page.get_by_role("button", name="Editar Teclado").click()
        await page.locator("#editDescripcion").fill(f"Texto {n}")
        await client.post("/api/productos/1/stock", json={"delta": -1})  # a colleague sells one
        await page.get_by_role("button", name="Guardar cambios").click()
        await expect(page.locator("dialog[open]")).to_have_count(0, timeout=15_000)
        assert (await product(client))["descripcion"] == f"Texto {n}"
    assert (await product(client))["stock"] == 47
    slow.latency = 0
    await page.locator(".toast").filter(has_text="actualizado").last.get_by_role("button", name="Deshacer").click()
    await expect(card(page, "Teclado")).to_contain_text("Texto 1")
    assert (await product(client))["stock"] == 47, "what the colleague did is not undone"
    await page.get_by_role("button", name="Editar Teclado").click()
    await page.locator("#editPrecio").fill("20")
    await client.patch("/api/productos/1", json={"precio": 30, "stock": 40})
    await page.get_by_role("button", name="Guardar cambios").click()
    await expect(page.locator("#conflictText")).to_contain_text(
        "alguien cambió: precio, stock. Guardar tu versión cambia solo: precio."
    )
    await expect(page.locator("#conflictRows th")).to_have_text(["Precio", "Stock"])
    await page.locator("#overwrite").click()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    assert [(await product(client))[field] for field in ("precio", "stock")] == [20, 40]


async def test_edit_is_refused_aloud_though_its_dialog_was_closed(
    visit: Visit,  # noqa: F811
    client: TestClient,
    slow: Line,
    psql: Callable,
) -> None:
    psql("ALTER TABLE productos ADD CONSTRAINT barato CHECK (precio < 1000)")
    for name in ("Teclado", "Ratón"):
        await create(client, nombre=name, precio=10)
    page = await shop(visit, slow)
    slow.stalled = True
    for name, price in (("Teclado", "2000"), ("Ratón", "20")):  # the second while the first waits
        await page.get_by_role("button", name=f"Editar {name}").click()
        await page.locator("#editPrecio").fill(price)
        await page.get_by_role("button", name="Guardar cambios").click()
        await page.keyboard.press("Escape")
        await expect(page.locator("dialog[open]")).to_have_count(0)
    await page.get_by_role("button", name="Editar Teclado").click()
    slow.stalled = False
    await expect(page.locator(".toast.error")).to_contain_text("Teclado: precio $2000,00 no se ha guardado: no es")
    await expect(page.locator(".toast.success")).to_contain_text("Ratón")
    assert [(await product(client, number))["precio"] for number in (1, 2)] == [10, 20]
    await expect(page.locator("#editDialog")).to_be_visible()
    await expect(page.locator("#editPrecio")).to_have_value("10,00")


# ---- what was not sent


async def test_sale_survives_a_phone_that_dies(client: TestClient, slow: Line, tmp_path: Path) -> None:
    """It is killed 1.5 s after the tap: what a browser writes at leisure is lost then."""
    if CHROMIUM is None and "REQUIRE_ALL" not in os.environ:
        pytest.skip("there is no Chromium")
    for name in ("Teclado", "Ratón"):
        await create(client, nombre=name, stock=10)
    async with playwright() as started:
        phone = await started.chromium.launch_persistent_context(tmp_path, **OPTIONS)
        page = await phone.new_page()
        await page.goto(slow.url)
        await connected(page)
        slow.stalled = True
        for name in ("Teclado", "Ratón", "Teclado"):
            await page.get_by_role("button", name=f"−1 unidad de {name}").click()
        await asyncio.sleep(1.5)
        died = [
            process
            for process in psutil.process_iter(["cmdline"])
            if f"--user-data-dir={tmp_path}" in (process.info["cmdline"] or ())
        ]
        assert died
        for process in died:
            process.kill()
        psutil.wait_procs(died, 10)
        slow.cut()
        slow.stalled = False
        await client.delete("/api/productos/2")
        assert (await product(client))["stock"] in (9, 10)
        phone = await started.chromium.launch_persistent_context(tmp_path, **OPTIONS)
        page = await phone.new_page()
        await page.goto(slow.url)
        await stock(client, 1, 8)
        await expect(page.locator(".toast.success")).to_contain_text("de antes")
        await expect(page.locator(".toast.error")).to_contain_text("Ratón: -1 no se ha guardado")
        await page.reload()
        await connected(page)
        await page.wait_for_timeout(300)
        assert (await product(client))["stock"] == 8
        await phone.close()


async def place(page: Page) -> list[float]:
    """Where the first product stands, on a phone and on a desk."""
    tops = []
    await page.evaluate("createPanel.open = logPanel.open = false")  # as a phone begins
    for width in (360, 1280):
        await page.set_viewport_size({"width": width, "height": 800})
        tops.append(await page.locator(".product-card").first.evaluate("(node) => node.getBoundingClientRect().top"))
    return tops


async def test_line_that_stalls_is_told_and_what_waits_is_sent_afterwards(
    visit: Visit,  # noqa: F811
    client: TestClient,
    slow: Line,
) -> None:
    await create(client, nombre="Teclado", stock=10)
    page = await shop(visit, slow)
    await expect(card(page, "Teclado")).to_be_visible()
    places = [await place(page)]
    slow.stalled = True
    began = asyncio.get_running_loop().time()
    take = page.get_by_role("button", name="−1 unidad de Teclado")
    await take.click()
    await take.click()
    unsent = page.locator("#unsentText")
    await expect(unsent).to_have_text(re.compile(r"^2 cambios sin enviar · desde \d\d:\d\d$"))
    places.append(await place(page))
    await expect(page.locator("#connectionStatus")).not_to_have_text("Conectado", timeout=15_000)
    assert asyncio.get_running_loop().time() - began < 10 * PATIENCE
    await expect(page.locator("#reconnect")).to_be_visible()
    assert [*places, await place(page)] == [places[0]] * 3, "what is about to be tapped stays in its place"
    await page.locator("#unsent summary").click()
    await expect(page.locator("#unsentList li")).to_have_text(["Teclado: -1", "Teclado: -1"])
    box = await page.locator("#unsent").bounding_box()
    await page.mouse.wheel(0, 3000)
    assert box
    assert (await page.locator("#unsent").bounding_box() or {})["y"] == box["y"]
    slow.cut()
    slow.stalled = False
    await stock(client, 1, 8)
    await expect(page.locator("#unsent")).to_be_hidden()
    await expect(card(page, "Teclado")).to_contain_text("8 unidades")


async def test_line_that_is_back_is_used_at_once(visit: Visit, client: TestClient) -> None:  # noqa: F811
    """Also where the socket has not noticed that it was away."""
    await create(client, nombre="Teclado", stock=10)
    page = await visit()
    await connected(page)
    await page.evaluate("Math.random = () => 60")  # a minute until the next try
    await page.context.set_offline(True)
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(page.locator("#unsentText")).to_contain_text("1 cambio sin enviar")
    await expect(page.locator("#connectionStatus")).to_have_text("Conectado")
    await page.context.set_offline(False)
    await stock(client, 1, 9)


async def test_own_sale_is_no_conflict_for_a_deletion(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=10)
    page = await shop(visit, slow)
    await expect(card(page, "Teclado")).to_be_visible()
    slow.stalled = True
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await page.get_by_role("button", name="Eliminar Teclado").click()
    slow.stalled = False
    await expect(card(page, "Teclado")).to_contain_text("9 unidades")
    await page.locator("#confirmDelete").click()
    await expect(card(page, "Teclado")).to_have_count(0)
    await create(client, nombre="Ratón", precio=10)
    await page.get_by_role("button", name="Eliminar Ratón").click()
    await client.patch("/api/productos/2", json={"precio": 20})  # a change by somebody else is one
    await expect(card(page, "Ratón")).to_contain_text("$20,00")
    await page.locator("#confirmDelete").click()
    await expect(page.locator(".toast.error")).to_contain_text("Ratón: eliminar no se ha guardado: Alguien cambió")


async def test_two_tabs_send_each_change_once(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=10)
    page = await shop(visit, slow)
    other = await page.context.new_page()
    await other.goto(slow.url)
    await connected(other)
    sent: list[str] = []
    page.context.on(
        "request", lambda request: request.method == "POST" and sent.append(request.headers["idempotency-key"])
    )
    slow.stalled = True
    for each in (page, other, page, other):
        await each.bring_to_front()
        await each.get_by_role("button", name="−1 unidad de Teclado").click()
        await expect(card(each, "Teclado").locator(".stock")).to_contain_text("por enviar")
    slow.stalled = False
    await stock(client, 1, 6)
    for each in (page, other):
        await expect(card(each, "Teclado")).to_contain_text("6 unidades")
        await expect(card(each, "Teclado").locator(".pending")).to_be_empty()
        await expect(each.locator(".toast.success")).to_have_count(1)
        await expect(each.locator(".toast:not(.success)")).to_have_count(0)
    assert len(sent) == len(set(sent))


async def test_two_tabs_without_locks_tell_a_change_once(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    """A page that is not served over https has none: each tab sends what both have, and one of the answers is told."""
    await create(client, nombre="Teclado", stock=10)
    page = await shop(visit, slow)
    await page.context.add_init_script("delete Navigator.prototype.locks")
    await page.reload()
    other = await page.context.new_page()
    await other.goto(slow.url)
    answers: list[Response] = []
    page.context.on("response", lambda answer: answer.request.method == "POST" and answers.append(answer))
    for each in (page, other):
        await connected(each)
    slow.stalled = True
    await other.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(card(page, "Teclado").locator(".stock")).to_contain_text("por enviar")
    slow.stalled = False
    async with asyncio.timeout(20):
        while len(answers) < 2:
            await asyncio.sleep(0.02)
    for answer in answers:
        await answer.finished()
    await client.patch("/api/productos/1", json={"precio": 20})
    for each in (page, other):
        await expect(card(each, "Teclado")).to_contain_text("20,00")
        await expect(each.locator(".toast.success")).to_contain_text("Teclado: stock 9")
    await page.get_by_role("button", name="Deshacer").last.click()
    await stock(client, 1, 10)


async def test_what_another_tab_has_settled_before_its_end_waits_no_more(visit: Visit, client: TestClient) -> None:  # noqa: F811
    """A tab that is killed after it has removed a change tells nobody: the others said for ever that it was not sent."""
    await create(client, nombre="Teclado", stock=10)
    page = await visit()
    await connected(page)
    await page.evaluate(
        "navigator.locks.request('inventario /api/productos', () => new Promise((free) => { window.end = free; })) && 0"
    )
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(page.locator("#unsentText")).to_contain_text("1 cambio sin enviar")
    await page.evaluate(
        "new Promise((done) => { indexedDB.open('inventario /api/productos').onsuccess = ({ target: { result } }) => {"
        "const work = result.transaction('cambios', 'readwrite'); work.objectStore('cambios').clear(); work.oncomplete = done; }; })"
    )
    await page.evaluate("end()")
    await expect(page.locator("#unsent")).to_be_hidden()
    await expect(card(page, "Teclado")).to_contain_text("10 unidades")


async def test_what_waits_belongs_to_who_has_the_key(
    visit: Visit,  # noqa: F811
    dsn: str,
    aiohttp_server: Callable,
    psql: Callable,
) -> None:
    psql("INSERT INTO productos (nombre, precio, stock) VALUES ('Teclado', 1, 10)")
    server: TestServer = await aiohttp_server(create_app(dsn=dsn, authenticate=bearer("sésamo")))
    page = await visit(str(server.make_url("/")))

    async def enter(key: str = "sésamo") -> None:
        await page.locator("#accessKey").fill(key)
        await page.locator("#enterKey").click()

    await enter()
    await connected(page)
    await page.context.set_offline(True)
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(page.locator("#unsent")).to_be_visible()
    context = page.context
    await page.goto("about:blank")  # a page that is closed is on line again before its end, and would send
    await page.close()
    await context.set_offline(False)
    page = await context.new_page()  # to which the key has to be given again
    await page.goto(str(server.make_url("/")))
    await expect(page.locator("#keyDialog")).to_be_visible()
    await expect(page.locator("#unsent")).to_be_hidden()
    assert psql("SELECT stock FROM productos") == [(10,)]
    await enter()
    await expect(card(page, "Teclado")).to_contain_text("9 unidades")
    await expect(page.locator(".toast.success")).to_contain_text("1 cambio de antes, enviado")
    assert psql("SELECT stock FROM productos") == [(9,)]
    port = server.port  # which a closed one forgets
    await server.close()
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await aiohttp_server(create_app(dsn=dsn, authenticate=bearer("ábrete")), port=port)
    await expect(page.locator("#keyDialog")).to_be_visible(timeout=20_000)
    await enter("ábrete")  # the key was changed: what waits is still of this shop
    await expect(page.locator(".toast.success").last).to_contain_text("Teclado: stock 8", timeout=20_000)
    assert psql("SELECT stock FROM productos") == [(8,)]
