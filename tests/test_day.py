"""Small things of a shop's day, each of which was missed in one."""

import asyncio
import re
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Route, expect

from inventory_ws import create_app

from .conftest import create
from .test_page import Visit, browser, card, connected, visit  # noqa: F401
from .test_shop import product, row, table
from .test_slow_line import CLIENT, slow, stock  # noqa: F401
from .tools.line import Line

pytestmark = pytest.mark.slow

HELD = 4_000  # as in view.js
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("as_table", [False, True])
async def test_new_rows_are_told_while_the_mouse_lies_on_the_list(
    visit: Visit,  # noqa: F811
    client: TestClient,
    psql: Callable,
    as_table: bool,
) -> None:
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'Cable ' || n, 1, 30 FROM generate_series(1, 40) AS n")
    page = await visit()
    await connected(page)
    if as_table:
        await page.get_by_role("button", name="Tabla").click()
    await page.clock.install()
    names = page.locator("main .name")
    await names.first.hover()
    await create(client, nombre="Ratón")
    await expect(page.locator("#productCount")).to_have_text("41")
    await client.delete("/api/productos/38")
    await expect(page.locator("main .gone .name")).to_have_text("Cable 38")
    await expect(names.first).to_have_text("Cable 40")
    await page.clock.fast_forward(HELD)
    await expect(page.locator("#showNew")).to_have_text("1 nuevo · mostrar")
    await expect(page.locator("#showNew")).to_be_in_viewport()
    await page.locator("#showNew").press("Enter")  # a mouse on its way there leaves the list, which shows them too
    await expect(names.first).to_have_text("Ratón")
    await expect(page.locator("#showNew")).to_be_hidden()
    await expect(names.filter(has_text="Cable 38")).to_have_count(0)


async def test_taps_in_one_place_sell_one_product(visit: Visit, client: TestClient) -> None:  # noqa: F811
    """Its own sales, and what others create, would move it away from under the finger."""
    for name in ("A", "B", "C"):
        await create(client, nombre=name, stock=9)
    page = await visit(**PHONE)
    await connected(page)
    await page.clock.install()
    for order, name, place in (("id", "C", 2), ("updated_at", "A", 0), ("stock", "B", 1)):
        if order != "id":
            await page.locator("#sort").select_option(order)
        await page.evaluate("scrollTo(0, 0)")
        take = page.get_by_role("button", name=f"−1 unidad de {name}", exact=True)
        await take.tap()
        await expect(page.locator("#eventsLog > li").first).to_contain_text(f"{name}: -1, stock 9 → 8")
        box = await take.bounding_box()
        assert box
        for left in (7, 6):
            await create(client, nombre=f"De otro {order} {left}", stock=8)
            await expect(page.locator("#eventsLog > li").first).to_contain_text("De otro")
            await page.touchscreen.tap(box["x"] + 9, box["y"] + 9)
            await expect(page.locator("#eventsLog > li").first).to_contain_text(
                f"{name}: -1, stock {left + 1} → {left}"
            )
        await page.clock.fast_forward(HELD)
        await expect(page.locator(".product-card .name").nth(place)).to_have_text(name)
        await expect(page.locator("#showNew")).to_be_hidden()


async def test_notices_lie_over_nothing_that_is_used(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'Cable ' || n, 1, 30 FROM generate_series(1, 60) AS n")
    page = await visit()
    await connected(page)

    async def covered(width: int = 1280, height: int = 800) -> list[str]:
        await page.set_viewport_size({"width": width, "height": height})
        async with asyncio.timeout(10):
            while not await page.evaluate("(width) => innerWidth === width && !document.getAnimations().length", width):
                await asyncio.sleep(0.02)
        await expect(page.locator(".toast").last).to_be_visible()
        return await page.evaluate("""
            [...document.querySelectorAll(':is(main, #basket, #createForm) :is(button, input, [data-edit])')].filter((node) => {
              const { left, top, right, bottom } = node.getBoundingClientRect();
              return [left + 4, right - 4].some((x) => [top + 4, bottom - 4].some((y) => {
                const all = document.elementsFromPoint(x, y);
                const rest = all.filter((one) => !one.closest('.toasts'));
                return rest.length < all.length && node.contains(rest[0]);
              }));
            }).map((node) => node.outerHTML)
        """)

    for n in (58, 59):
        await page.get_by_role("button", name=f"−1 unidad de Cable {n}").click()
        await expect(page.locator("#toasts")).to_contain_text(f"Cable {n}: stock 29")
    await page.get_by_role("button", name="Mover o contar el stock de Cable 52").click()  # at the right, low
    assert await covered() == []
    assert await covered(1000, 660) == []
    assert await covered(390, 844) == []
    await page.keyboard.press("Escape")
    await page.locator("#basketToggle").click()
    await page.evaluate("logPanel.open = false")
    await page.evaluate(
        "[...document.querySelectorAll('[data-action=take]')].slice(0, 20).forEach((take) => take.click())"
    )
    for n in (58, 59):
        await client.post(f"/api/productos/{n}/stock", json={"delta": -1})
        await expect(page.locator("#toasts")).to_contain_text(f"Cable {n}: -1")
    assert await covered(390, 844) == []
    assert await covered(1100, 600) == []
    assert await covered() == []
    await page.get_by_role("button", name="Tabla").click()
    assert await covered() == []


async def test_dialogs_close_in_browsers_of_2024(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado")
    page = await visit()
    await page.add_init_script("delete HTMLDialogElement.prototype.requestClose")
    await page.reload()
    for leave in (page.locator("#editDialog [data-close]").click, page.go_back):
        await page.locator("[data-action=edit]").click()
        await expect(page.locator("#editDialog")).to_be_visible()
        await leave()
        await expect(page.locator("dialog[open]")).to_have_count(0)


async def test_back_closes_the_dialog_and_asks_for_what_is_typed(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado")
    page = await visit(**PHONE)
    asked: list[str] = []
    page.on(
        "dialog",
        lambda dialog: (asked.append(dialog.message), dialog.dismiss() if len(asked) == 1 else dialog.accept())[1],
    )
    url = page.url
    for action, dialog in (("events", "#productDialog"), ("delete", "#deleteDialog"), ("edit", "#editDialog")):
        await page.locator(f"[data-action={action}]").click()
        await expect(page.locator(dialog)).to_be_visible()
        await page.go_back()
        await expect(page.locator("dialog[open]")).to_have_count(0)
    assert page.url == url
    await page.locator("[data-action=edit]").click()
    await page.locator("#editNombre").fill("Teclado español")
    await page.go_back()
    await expect(page.locator("#editDialog")).to_be_visible()
    await expect(page.locator("#editNombre")).to_have_value("Teclado español")
    assert asked == ["¿Descartar lo que has escrito?"]
    await page.locator("#editDialog [data-close]").click()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    assert len(asked) == 2
    await page.locator("[data-action=delete]").click()
    await page.locator("#confirmDelete").click()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    assert page.url == url


async def test_reload_asks_for_what_it_would_lose(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=9)
    page = await visit()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept())[1])

    async def reload(times: int) -> None:
        await page.reload()
        await connected(page)
        assert asked == ["beforeunload"] * times
        asked.clear()

    await page.locator("[data-action=stock-field]").click()
    await reload(0)
    await page.locator("[data-action=stock-field]").click()
    await page.keyboard.type("-7")
    await reload(1)
    await page.locator("[data-action=edit]").click()
    await page.locator("#editNombre").fill("Teclado español")
    await reload(1)
    await page.locator("#basketToggle").click()
    await page.locator("[data-action=take]").click()
    await reload(0)
    refusal = {"success": False, "code": "rechazado_por_la_base", "message": "No"}
    await page.route("**/api/stock", lambda route: route.fulfill(status=409, json=refusal), times=1)
    await page.locator("#basketSell").click()
    await expect(page.get_by_role("button", name="A la cesta")).to_be_visible()
    await reload(1)
    forbidden = (
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('', 'SecurityError'); } })"
    )
    await page.add_init_script(forbidden)
    await reload(0)
    await page.locator("#basketToggle").click()
    await page.locator("[data-action=take]").click()
    await reload(1)


async def test_address_has_search_filters_and_view(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=0)
    await create(client, nombre="Ratón", stock=0)
    await create(client, nombre="Teclado bueno", stock=9)
    page = await table(visit)
    await page.locator("#search").fill("tecl")
    await page.get_by_role("button", name="Agotados").click()
    await expect(page.locator(".product-row .name")).to_have_text(["Teclado"])
    await page.wait_for_url(re.compile("#buscar=tecl&agotados=true&vista=tabla$"))
    other = await visit(page.url)
    await expect(other.locator(".product-row .name")).to_have_text(["Teclado"])
    await expect(other.locator("#search")).to_have_value("tecl")
    await expect(other.locator("#soldOut")).to_have_attribute("aria-pressed", "true")
    await expect(other.locator(".toast")).to_contain_text("No se ven todos: «tecl», agotados")
    await other.locator(".toast").get_by_role("button", name="Ver todos").click()
    await expect(other.locator(".product-row .name")).to_have_count(3)
    await page.evaluate("showAll.click(); asTable.click()")
    await page.wait_for_url(re.compile("/$"))


async def test_prices_can_be_typed_as_they_are_shown(visit: Visit, dsn: str, aiohttp_server: Callable) -> None:  # noqa: F811
    page = await visit(str((await aiohttp_server(create_app(dsn=dsn, currency="EUR"))).make_url("/")))
    await connected(page)
    for typed, shown in (
        ("1.234,50 €", "1234,50 €"),
        ("1,234.5", "1234,50 €"),
        ("12.345,00\u00a0€", "12.345,00 €"),
        ("7", "7,00 €"),
    ):
        await page.locator("#nombre").fill("Teclado")
        await page.locator("#precio").fill(typed)
        await page.locator("#stock").fill("1")
        await page.locator("#createForm [type=submit]").click()
        await expect(page.locator(".product-card .price").first).to_have_text(shown.replace(" ", "\u00a0"))
    await page.locator("#precio").fill("1.299")
    await page.locator("#createForm [type=submit]").click()
    await expect(page.locator("#precioError")).to_contain_text("Sin separador de miles")


async def test_undoing_twice_undoes_two(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=10)
    await create(client, nombre="Ratón", stock=10)
    page = await visit()
    for name in ("Teclado", "Ratón"):
        await page.get_by_role("button", name=f"−1 unidad de {name}").click()
        await expect(page.locator(".toast").filter(has_text=f"{name}: stock 9")).to_be_visible()
    await page.keyboard.press("Control+z")
    await expect(page.locator(".toast").filter(has_text="Ratón: stock 10")).to_be_visible()
    await page.keyboard.press("u")
    await expect(page.locator(".toast").filter(has_text="Teclado: stock 10")).to_be_visible()
    await page.keyboard.press("u")
    await expect(page.locator("#toasts")).to_contain_text("No queda nada que deshacer")
    await page.locator(".toast").filter(has_text="Ratón").get_by_role("button", name="Rehacer").click()
    await stock(client, 2, 9)
    assert (await product(client))["stock"] == 10


async def test_undo_takes_back_what_its_notice_says(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    """Three taps, of which the first goes out alone."""
    await create(client, nombre="Teclado", stock=10)
    page = await visit(slow.url)
    await connected(page)
    slow.stalled = True
    for _ in range(3):
        await page.get_by_role("button", name="−1 unidad de Teclado").click()
    slow.stalled = False
    await expect(page.locator(".toast.success p")).to_have_text("Teclado: movimiento -3, stock 7")
    await page.keyboard.press("Control+z")
    await expect(page.locator(".toast.success p")).to_have_text("Teclado: movimiento +3, stock 10")
    await page.keyboard.press("Control+z")
    await expect(page.locator("#toasts")).to_contain_text("No queda nada que deshacer")
    assert (await product(client))["stock"] == 10


async def test_undo_waits_for_the_last_sale(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    """Also on a device whose clock is put back."""
    for name in ("Teclado", "Ratón"):
        await create(client, nombre=name, stock=10)
    page = await visit(slow.url)
    await connected(page)
    await page.evaluate("{ const { now } = Date; Date.now = () => now() - 3_600_000; }")
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(page.locator(".toast.success p")).to_have_text("Teclado: stock 9")
    slow.stalled = True
    await page.get_by_role("button", name="−1 unidad de Ratón").click()
    await page.keyboard.press("Control+z")
    await expect(page.locator(".toast p").last).to_contain_text("Lo último no se ha enviado todavía")
    await expect(page.locator("#unsentList li")).to_have_text(["Ratón: -1"])
    slow.stalled = False
    await expect(page.locator(".toast.success p").last).to_have_text("Ratón: stock 9")
    await page.keyboard.press("Control+z")
    await stock(client, 2, 10)
    assert (await product(client))["stock"] == 9


async def test_own_changes_are_none_that_were_missed(visit: Visit, client: TestClient, slow: Line) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=10)
    page = await visit(slow.url)
    await connected(page)
    await expect(card(page, "Teclado")).to_be_visible()
    sent: list[Route] = []

    async def lose(route: Route) -> None:
        sent.append(route)
        if len(sent) == 1:  # with the answer and the event on their way
            slow.stalled = True
            await client.post("/api/productos/1/stock", data=route.request.post_data, headers=route.request.headers)
            slow.cut()
            slow.stalled = False
            await route.abort("connectionreset")
        else:
            await expect(card(page, "Teclado").locator(".flash")).to_have_count(0)
            await connected(page)
            await page.wait_for_timeout(600)  # in which the page has heard of its own sale, and has no answer
            await route.continue_()

    await page.route("**/stock", lose)
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(page.locator("#eventsLog")).to_contain_text("Ningún cambio mientras no estabas")
    await expect(page.locator("#toasts")).not_to_contain_text("mientras no estabas")
    assert (await product(client))["stock"] == 9


async def test_pressed_buttons_are_seen_in_forced_colours(visit: Visit) -> None:  # noqa: F811
    page = await visit(forced_colors="active")
    shade = "getComputedStyle(soldOut).backgroundColor"
    before = await page.evaluate(shade)
    await page.get_by_role("button", name="Agotados").click()
    await page.locator("#search").hover()
    async with asyncio.timeout(10):
        while await page.evaluate(shade) == before:
            await asyncio.sleep(0.05)


async def test_phone_moves_stock_by_a_tap_with_its_reason(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'Cable ' || n, 1, 30 FROM generate_series(1, 40) AS n")
    page = await visit(**PHONE | {"viewport": {"width": 360, "height": 740}})
    await connected(page)
    left_of = "node => node.getBoundingClientRect().left"
    await page.get_by_role("button", name="Atajos de teclado").click()
    await page.locator("#device").fill("caja 1")
    await page.locator("#helpDialog [data-close]").click()
    stepper = card(page, "#40").get_by_role("button", name="Mover o contar el stock de Cable 40")
    for typed, reason, left in (
        ("3", "Venta", 27),
        ("10", "Entrega", 37),
        ("1", "Rotura", 36),
        ("30", "Recuento", 30),
        ("-5", "Guardar", 25),
    ):
        await stepper.click()
        assert await page.locator(".editor input").get_attribute("inputmode") == "numeric"
        await page.keyboard.type(typed)
        lefts = [await page.locator(f".editor {part}").evaluate(left_of) for part in (".below", "[data-reason=venta]")]
        assert lefts == sorted(lefts), "the buttons are in their box"
        await page.locator(".editor").get_by_role("button", name=reason).click()
        await stock(client, 40, left)
        await expect(page.locator(".editor")).to_have_count(0)
    events = (await (await client.get("/api/eventos?producto=40")).json())["data"]
    reasons = [event.get("motivo") for event in events[1:]]
    assert reasons == ["venta · caja 1", "entrega · caja 1", "rotura · caja 1", None, "caja 1"]
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.mouse.wheel(0, 3000)
    await expect(page.locator("#search")).to_be_in_viewport()
    first, second = [
        await card(page, "#40").locator(f"[data-action={name}]").bounding_box() for name in ("edit", "delete")
    ]
    assert first and second
    assert second["x"] - first["x"] - first["width"] >= 24 or second["y"] > first["y"] + first["height"]
    await page.locator("#sort").select_option("nombre")
    await expect(page.locator(".product-card .name").first).to_have_text("Cable 1")


async def test_events_are_told_in_words_and_their_type_is_one_tap_away(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=10)
    page = await visit()
    await connected(page)
    await client.post("/api/productos/1/stock", json={"delta": -3, "motivo": "venta"})
    event = page.locator("#eventsLog > li").first
    await expect(event.locator("summary")).to_contain_text("Teclado: -3, stock 10 → 7 · venta")
    await expect(event.locator("summary")).not_to_contain_text("PRODUCT")
    await event.locator("summary").click()
    await expect(event).to_contain_text("PRODUCT_UPDATED 2")


async def test_page_is_drawn_before_its_modules_have_come(visit: Visit, client: TestClient) -> None:  # noqa: F811
    """On a slow line they take ten seconds; meanwhile it is drawn once, in its colours, as it will be. What it is drawn
    with comes before them: a browser has six connections."""
    html = (CLIENT / "index.html").read_text()
    assert max(html.index(name) for name in ("theme.js", "style.css", "parts.css")) < html.index("modulepreload")
    page = await visit(**PHONE)
    await page.evaluate("localStorage.setItem('inventario-theme', 'dark')")
    free = asyncio.Event()

    async def late(route: Route) -> None:
        await free.wait()
        await route.continue_()

    await page.route("**/inventario.js", late)
    await page.goto(page.url, wait_until="commit")
    async with asyncio.timeout(10):
        while not await page.evaluate("performance.getEntriesByName('first-contentful-paint').length"):
            await asyncio.sleep(0.05)
    await expect(page.locator("#createPanel summary")).to_be_visible()
    await expect(page.locator("#nombre")).to_be_hidden()
    assert await page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    await page.set_viewport_size({"width": 1000, "height": 844})
    await page.locator("#search").fill("nada")
    for field, text in {"nombre": "Teclado", "precio": "5", "stock": "3"}.items():
        await page.locator(f"#{field}").fill(text)
    await page.keyboard.press("Enter")  # too early; what is typed stays
    free.set()
    await connected(page)
    await expect(page.locator("#emptyTitle")).to_be_visible()
    await expect(page.locator("#emptyTitle")).to_have_text("Todavía no hay productos")
    await expect(page.locator("#search")).to_have_value("nada")
    await page.locator("#search").clear()
    await page.locator("#stock").press("Enter")
    await expect(card(page, "Teclado")).to_contain_text("3 unidades")
    await page.locator("#listTitle").focus()
    await page.keyboard.press("Control+f")
    await expect(page.locator("#toasts")).to_contain_text("en todos")


async def test_first_screen_does_not_wait_for_the_list(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'Cable ' || n, 1, 5 FROM generate_series(1, 100) AS n")
    psql("UPDATE productos SET nombre = 'Funda ' || id WHERE id IN (1, 99)")
    page = await visit("about:blank")
    free = asyncio.Event()

    async def late(route: Route) -> None:
        await free.wait()
        await route.continue_()

    await page.route("**/api/productos", late)
    await page.goto(str(client.make_url("/")))
    await expect(card(page, "#100")).to_be_visible()
    await expect(page.locator(".product-card")).to_have_count(60)
    await expect(page.locator("#productCount")).to_have_text("…")
    await page.get_by_role("button", name="−1 unidad de Cable 100", exact=True).click()
    await page.locator("#search").fill("funda")  # of which there may be more than the one that has come
    await page.keyboard.press("Enter")
    await expect(page.locator("#search")).to_be_focused()
    await expect(page.locator("#export")).to_be_disabled()
    free.set()
    await expect(page.locator("#productCount")).to_have_text("100")
    await page.locator("#search").fill("#100")
    await expect(card(page, "#100")).to_contain_text("4 unidades")
    await stock(client, 100, 4)
    free.clear()
    await page.goto("about:blank")
    await page.goto(f"{client.make_url('/')}#vista=tabla")
    await row(page, 100).hover()  # a table holds its rows under the pointer
    free.set()
    await expect(page.locator("#productTable")).to_have_attribute("aria-rowcount", "101")


def test_no_file_of_the_page_is_long() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in CLIENT.iterdir() if path.suffix != ".json"}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
