"""A barcode scanner: it types a code and Enter, a key in a millisecond or two, whatever has the focus."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, Route, expect

from .conftest import create
from .test_page import Visit, browser, card, connected, visit  # noqa: F401

pytestmark = pytest.mark.slow

TECLADO, RATON, MONITOR = "8412345678905", "8400000000017", "84123456"


@pytest.fixture
async def page(visit: Visit, client: TestClient) -> Page:  # noqa: F811
    """A shop whose products have their codes in their descriptions."""
    for name, text in (("Teclado", f"Mecánico, {TECLADO}."), ("Ratón", RATON), ("Monitor", f"27 pulgadas ({MONITOR})")):
        await create(client, nombre=name, descripcion=text, stock=50)
    page = await visit()
    await connected(page)
    await expect(card(page, "Teclado")).to_be_visible()
    return page


async def scan(
    page: Page, code: str, every: float = 1, held: bool = False, pause: tuple[int, float] = (0, 0), later: float = 0
) -> None:
    """Types it, one key every so many milliseconds, however busy the test's machine is; `held`: by one key held down;
    `pause`: before which key it stutters, and how long; `later`: so many seconds from now. Both pass by the page's clock alone."""
    keyboard = await page.context.new_cdp_session(page)
    sent, began = [], time.time() + later
    for number, key in enumerate([*code, "Enter"]):
        if number == pause[0]:
            began += pause[1]
        more = {"key": key, "text": key if len(key) == 1 else "\r", "windowsVirtualKeyCode": 13 if len(key) > 1 else 0}
        more["autoRepeat"] = held and key != "Enter"
        more["timestamp"] = began + number * every / 1000  # when the scanner sent it, which is what the page compares
        for way in ("keyDown", "keyUp"):
            sent.append(asyncio.ensure_future(keyboard.send("Input.dispatchKeyEvent", {"type": way, **more})))
        await asyncio.sleep(every / 1000)
    await asyncio.gather(*sent)
    await keyboard.detach()


async def focused(page: Page, name: str) -> None:
    await expect(page.get_by_role("button", name=f"−1 unidad de {name}")).to_be_focused()


async def stocks(client: TestClient) -> list[int]:
    return [row["stock"] for row in (await (await client.get("/api/productos")).json())["data"]]


async def sold(client: TestClient, *expected: int) -> None:
    async with asyncio.timeout(10):
        while await stocks(client) != list(expected):
            await asyncio.sleep(0.02)


async def test_scan_finds_its_product_wherever_the_focus_is(page: Page, client: TestClient) -> None:
    for n in range(4):
        for code, name in ((TECLADO, "Teclado"), (RATON, "Ratón"), (MONITOR, "Monitor")):
            await scan(page, code, n)
            await focused(page, name)
            await expect(page.locator("#search")).to_have_value(code)
    assert await stocks(client) == [50, 50, 50], "it has only looked"
    await page.keyboard.press("Enter")
    await sold(client, 50, 50, 49)
    await page.locator("#createPanel > summary").focus()
    await scan(page, RATON)
    await focused(page, "Ratón")
    await expect(page.locator("#createPanel")).to_have_attribute("open", "")


async def test_same_code_again_sells_one_more(page: Page, client: TestClient) -> None:
    for _ in range(6):
        await scan(page, TECLADO)
    await sold(client, 45, 50, 50)
    await focused(page, "Teclado")
    await scan(page, RATON)
    await scan(page, TECLADO)
    await scan(page, TECLADO)
    await sold(client, 44, 50, 50)
    assert await page.locator(".toast.error").count() == 0


async def test_fast_enter_presses_nothing(page: Page, client: TestClient) -> None:
    await page.get_by_role("button", name="−1 unidad de Monitor").focus()
    await scan(page, "ABC-X")  # a code of no product
    await page.locator("#search").fill("")
    await page.get_by_role("button", name="Eliminar Monitor").focus()
    await scan(page, "999999")
    await expect(page.locator("#emptyText")).to_contain_text("999999")
    await expect(page.locator("#deleteDialog")).to_be_hidden()
    await scan(page, MONITOR)  # in place of the one that was not found
    await focused(page, "Monitor")
    await page.get_by_role("button", name="Eliminar Monitor").click()
    await page.locator("#confirmDelete").focus()
    await scan(page, TECLADO)
    await expect(page.locator("#deleteDialog")).to_be_visible()
    assert await stocks(client) == [50, 50, 50]


async def test_without_shortcuts_a_digit_is_none_and_a_scan_is_one(page: Page) -> None:
    await page.evaluate("useKeys.click()")
    await page.keyboard.press("7")
    await expect(page.locator("#search")).to_have_value("")
    await scan(page, RATON, later=2)
    await focused(page, "Ratón")
    await expect(page.locator("#search")).to_have_value(RATON)


async def test_scan_with_letters_is_one_code(page: Page, client: TestClient) -> None:
    await create(client, nombre="Cable", descripcion="ref X-100")
    await create(client, nombre="Otro", descripcion="100")
    await expect(card(page, "Otro")).to_be_visible()
    await page.get_by_role("button", name="−1 unidad de Monitor").focus()
    await scan(page, "X-100")
    await focused(page, "Cable")
    await expect(page.locator("#search")).to_have_value("X-100")


async def test_code_is_no_stock(page: Page, client: TestClient) -> None:
    stock = page.get_by_role("button", name="Mover o contar el stock de Teclado")
    await stock.click()
    await scan(page, MONITOR)
    await focused(page, "Monitor")
    await expect(page.locator(".editor")).to_have_count(0)
    await page.locator("#search").fill("")
    await stock.click()
    for digit in MONITOR:
        await page.keyboard.type(digit)
        await page.wait_for_timeout(60)  # as a person types it
    await page.keyboard.press("Enter")
    await expect(page.locator(".editor .note")).to_contain_text("parece un código de barras")
    assert await stocks(client) == [50, 50, 50]


async def test_product_is_found_by_its_number_first(page: Page, client: TestClient, psql: Callable) -> None:
    psql(
        "INSERT INTO productos (nombre, precio, descripcion) SELECT 'Cable ' || n, 1, 'de 12 m' FROM generate_series(4, 40) n"
    )
    await expect(page.locator("#productCount")).to_have_text("40")
    for text in ("12", "#12"):
        await page.locator("#search").fill(text)
        await expect(page.locator(".product-card .number").first).to_have_text("#12")
        await page.keyboard.press("Enter")
        await focused(page, "Cable 12")
    await page.get_by_role("button", name="Tabla").click()
    await page.locator("#search").fill("12")
    await expect(page.locator(".product-row .name").first).to_have_text("Cable 12")
    await page.keyboard.press("Enter")
    await focused(page, "Cable 12")
    await scan(page, "84123456")  # which is a part of another code too
    await focused(page, "Monitor")


async def values(page: Page, form: str) -> list[str]:
    return await page.locator(f"{form} input, {form} textarea").evaluate_all(
        "fields => fields.map(({ value }) => value)"
    )


async def test_scan_is_no_text_of_a_form(page: Page, client: TestClient) -> None:
    await page.locator("#nombre").fill("Funda")
    for field, code, name in (
        ("nombre", RATON, "Ratón"),
        ("descripcion", MONITOR, "Monitor"),
        ("precio", TECLADO, "Teclado"),
    ):
        await page.locator(f"#{field}").focus()
        await scan(page, code, 30)
        await focused(page, name)
        assert await values(page, "#createForm") == ["Funda", "", "", ""]
    await page.locator("#stock").focus()
    await scan(page, "99999999")  # of no product
    await expect(page.locator("#search")).to_be_focused()
    await expect(page.locator("#emptyText")).to_contain_text("99999999")
    await page.locator("#minimum").fill("7")
    await scan(page, MONITOR)
    await focused(page, "Monitor")
    await expect(page.locator("#minimum")).to_have_value("7")
    await page.reload()
    await expect(page.locator("#minimum")).to_have_value("7")
    await page.locator("#minimum").fill("")
    await scan(page, RATON)
    await focused(page, "Ratón")
    await page.reload()
    await expect(page.locator("#minimum")).to_have_value("5")
    await page.locator("#sort").focus()
    await scan(page, TECLADO)
    await focused(page, "Teclado")
    assert await stocks(client) == [50, 50, 50]


async def test_digits_of_a_person_are_text(page: Page, client: TestClient) -> None:
    await page.locator("#nombre").fill("Coche")
    await page.locator("#precio").fill("12500")
    await page.locator("#stock").focus()
    for digit in "1000000":
        await page.keyboard.press(digit)
        await page.wait_for_timeout(60)
    await page.keyboard.press("Enter")
    await expect(card(page, "Coche").locator(".units")).to_have_text("1.000.000")
    await page.locator("#nombre").fill("Casa")
    await page.locator("#stock").fill("1")
    await page.locator("#precio").fill("1")
    await scan(page, "000000", 30, held=True)
    await expect(card(page, "Casa").locator(".price")).to_have_text("$1.000.000,00")
    assert await stocks(client) == [50, 50, 50, 1000000, 1]


async def test_scan_under_a_dialog_is_told_and_changes_nothing(page: Page, client: TestClient) -> None:
    notice = page.locator(".toast.error")
    await page.get_by_role("button", name="Editar Teclado").click()
    before = await values(page, "#editForm")
    for field in ("Nombre", "Descripcion", "Precio", "Stock"):
        await page.locator(f"#edit{field}").focus()
        await scan(page, MONITOR)
        await expect(notice).to_contain_text(f"Código {MONITOR}: no se ha buscado, porque hay un diálogo abierto")
        assert await values(page, "#editForm") == before
        await page.evaluate("toasts.replaceChildren()")
    for n in range(6):
        await scan(page, f"99999{n}")
    told_of = (f"Código 99999{n}: no se ha buscado, porque hay un diálogo abierto." for n in range(6))
    await expect(notice).to_have_text(" ".join(told_of))
    await page.evaluate("toasts.replaceChildren()")
    await page.keyboard.press("Escape")
    await page.locator("#help").click()
    await page.locator("#device").fill("caja 1")
    await scan(page, MONITOR)
    await expect(notice).to_contain_text(MONITOR)
    await expect(page.locator("#device")).to_have_value("caja 1")
    await page.evaluate("toasts.replaceChildren()")
    await page.keyboard.press("Escape")
    for opener in ("Eliminar Teclado", "Historia de Teclado", "Importar"):
        await page.get_by_role("button", name=opener).click()
        await scan(page, RATON)
        await expect(notice).to_contain_text(RATON)
        await expect(page.locator("dialog[open]")).to_have_count(1)
        await page.evaluate("toasts.replaceChildren()")
        await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Historial", exact=True).click()
    await expect(page.locator("body.past")).to_be_visible()
    await scan(page, RATON)
    await expect(notice).to_contain_text(f"Código {RATON}: no se ha buscado, porque lo que se ve es el pasado")
    await page.get_by_role("button", name="Volver al presente").click()
    await scan(page, RATON)
    await focused(page, "Ratón")
    assert await stocks(client) == [50, 50, 50]


async def test_scan_replaces_what_was_searched_for(page: Page, client: TestClient) -> None:
    await page.locator("#search").fill("Arroz bomba")
    for _ in range(3):
        await page.locator("#search").focus()
        await page.keyboard.press("End")
        await scan(page, TECLADO)
        await focused(page, "Teclado")
        await expect(page.locator("#search")).to_have_value(TECLADO)
    await sold(client, 48, 50, 50)


async def test_scan_finds_what_a_filter_hides(page: Page, client: TestClient) -> None:
    await create(client, nombre="Lote", descripcion=f"{MONITOR}-12", stock=2)
    await page.get_by_role("button", name="Seguir Lote").click()
    followed, low = page.locator("#onlyFollowed"), page.locator("#low")
    await followed.click()
    await low.click()
    await scan(page, MONITOR)  # a part of the code of a product that is followed
    await focused(page, "Monitor")
    for chip in (followed, low):
        await expect(chip).to_have_attribute("aria-pressed", "false")
    await low.click()
    await scan(page, f"{MONITOR}-12")
    await focused(page, "Lote")
    await expect(low).to_have_attribute("aria-pressed", "true")
    await scan(page, "99999999")
    await expect(page.locator("#emptyText")).to_contain_text("99999999")


async def test_scan_leaves_a_move_that_is_being_typed(page: Page, client: TestClient) -> None:
    await page.get_by_role("button", name="Mover o contar el stock de Teclado").click()
    await page.locator(".editor input").fill("-5")
    for focus in (page.locator(".editor input"), page.locator(".editor [data-reason=venta]")):
        await focus.focus()
        await scan(page, MONITOR)
        await expect(page.locator(".toast.error")).to_contain_text(f"{MONITOR}: no se ha buscado, porque «-5» está sin")
        await expect(page.locator(".editor input")).to_have_value("-5")
        await page.evaluate("toasts.replaceChildren()")
    assert await stocks(client) == [50, 50, 50]
    await page.locator(".editor input").press("Enter")
    await sold(client, 45, 50, 50)


async def told(page: Page, text: str) -> None:
    """Sees the notice, and closes all."""
    await expect(page.locator(".toast p").filter(has_text=text)).to_have_count(1)
    await page.evaluate("toasts.replaceChildren()")


@contextlib.asynccontextmanager
async def late_list(page: Page) -> AsyncIterator[None]:
    """Loads the page again, whose list comes at the end of the block."""
    come = asyncio.Event()

    async def hold(route: Route) -> None:
        await come.wait()
        await route.continue_()

    await page.route("**/api/productos*", hold)
    await page.reload()
    await expect(page.locator("body.ready")).to_be_visible()
    yield
    come.set()


async def test_scans_before_the_list_wait_for_it(page: Page, client: TestClient) -> None:
    async with late_list(page):
        for code in (RATON, TECLADO, TECLADO):
            await scan(page, code)
        await expect(page.locator(".toast")).to_have_text("3 códigos leídos esperan a la lista.")
        await page.reload()  # as people do whose list does not come
        await expect(page.locator(".toast")).to_have_text("3 códigos leídos esperan a la lista.")
        for code in ("99999999", TECLADO[:3], RATON):
            await scan(page, code)
        await expect(page.locator(".toast")).to_have_text("6 códigos leídos esperan a la lista.")
        await page.locator("#nombre").focus()
    await sold(client, 49, 50, 50)
    await expect(page.locator(".toast.error p")).to_have_text(
        "Código 99999999: no es de ningún producto. Código 841: está en varios productos."
    )
    await told(page, "Ratón: stock 50.")
    await expect(page.locator("#nombre")).to_be_focused()
    async with late_list(page):
        await page.locator("#basketToggle").click()
        for code in (RATON, MONITOR, RATON, TECLADO):
            await scan(page, code)
    await expect(page.locator("#basketLines .what")).to_have_text(["Teclado", "Ratón", "Monitor"])
    await expect(page.locator("#basketLines b")).to_have_text(["1", "2", "1"])
    assert await stocks(client) == [49, 50, 50]


async def test_scans_before_the_scripts_wait_for_them(page: Page, client: TestClient) -> None:
    come = asyncio.Event()

    async def hold(route: Route) -> None:
        await come.wait()
        await route.continue_()

    await page.route("**/scanner.js", hold)
    await page.reload(wait_until="commit")
    await expect(page.locator("#basketToggle")).to_be_visible()
    for code in (TECLADO, RATON, RATON):
        await scan(page, code)
    come.set()
    await sold(client, 50, 49, 50)


async def test_scan_that_stutters_is_one_code(page: Page, client: TestClient) -> None:
    tails = [TECLADO[n:] for n in range(1, 13)]
    await create(client, nombre="Otro", descripcion=" ".join(tails), stock=50)
    await scan(page, TECLADO)
    await focused(page, "Teclado")
    left = 50
    for place in ("#listTitle", "#search", "#nombre"):
        for number in (1, 4, 7, 10, 12, 13):  # the last one is Enter
            await page.locator(place).focus()
            await scan(page, TECLADO, pause=(number, 0.6))
            left -= 1
            await sold(client, left, 50, 50, 50)
        await page.locator(place).focus()
        await scan(page, TECLADO, pause=(10, 9))
        left -= 1
        await sold(client, left, 50, 50, 50)
    await expect(page.locator("#nombre")).to_have_value("")
    await page.locator("#listTitle").focus()
    await scan(page, TECLADO[:5] + TECLADO, pause=(5, 0.6))  # its first half came twice
    await told(page, "Código leído a medias: léelo otra vez.")
    await page.locator("#search").fill("")
    await page.locator("#search").press_sequentially("Arroz", delay=50)
    await scan(page, TECLADO, later=9)
    await focused(page, "Teclado")
    assert await stocks(client) == [left, 50, 50, 50]


async def test_code_is_forgotten(page: Page, client: TestClient) -> None:
    looked = "Teclado: stock 50. Intro, o el mismo código otra vez, vende uno."
    await scan(page, TECLADO)
    await told(page, looked)
    await page.locator("#search").fill("")
    await scan(page, TECLADO)
    await told(page, looked)
    await scan(page, TECLADO, later=61)
    await told(page, looked)
    await scan(page, TECLADO, later=100)
    await sold(client, 49, 50, 50)
