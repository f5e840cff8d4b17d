"""axe-core finds nothing to object to, in any state of the page."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import axe_playwright_python
import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, expect

from .conftest import create
from .test_page import Visit, browser, card, connected, keep_notices, visit  # noqa: F401

pytestmark = pytest.mark.slow

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
RUN = "axe.run({ resultTypes: ['violations'] }).then(({ passes, violations }) => [passes.length, violations])"


async def objections(page: Page) -> list[str]:
    """What axe-core has against the page as it stands, with all its rules and best practices."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE)
    passes, violations = await page.evaluate(RUN)
    assert passes > 10
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in violations for node in one["nodes"]]


async def announced(page: Page, client: TestClient) -> None:
    await connected(page)
    await keep_notices(page)
    await create(client, nombre="Teclado", descripcion=None, stock=0)
    long = {"nombre": "Inconmensurabilísimamente" * 8, "descripcion": "palabra " * 200}
    await create(client, **long, precio=9_999_999_999.99, stock=2_147_483_647)
    await create(client, nombre="Ratón")
    await expect(card(page, "Ratón")).to_have_count(1)
    await expect(page.locator(".toast")).to_have_count(3)


async def populated(page: Page, client: TestClient) -> None:
    await announced(page, client)
    await page.evaluate("toasts.replaceChildren()")  # in a small window they lie over what is clicked next


async def empty(page: Page, client: TestClient) -> None:
    await connected(page)


async def nothing_found(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await page.locator("#search").fill("nada de esto")
    await expect(page.locator("#empty")).to_be_visible()


async def followed(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await card(page, "Ratón").locator("[data-action=follow]").click()
    await expect(card(page, "Ratón").locator("[data-action=follow]")).to_have_attribute("aria-pressed", "true")
    await page.locator("#onlyFollowed").click()
    await expect(page.locator(".product-card")).to_have_count(1)


async def faulty(page: Page, client: TestClient) -> None:
    await connected(page)
    if not await page.locator("#nombre").is_visible():  # on a phone the form is folded
        await page.locator("#createPanel > summary").click()
    await page.locator("#precio").fill("mucho")
    await page.locator("#createForm [type=submit]").click()
    await expect(page.locator("#nombreError")).not_to_be_empty()


async def editing(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await card(page, "Ratón").locator("[data-action=edit]").click()
    await client.patch("/api/productos/3", json={"stock": 1})
    await expect(page.locator("#editNotice")).not_to_be_empty()


async def conflicting(page: Page, client: TestClient) -> None:
    await editing(page, client)
    await client.patch("/api/productos/3", json={"precio": 7})
    await expect(page.locator("#editNotice")).to_contain_text("precio")
    await page.locator("#editDialog").get_by_label("Precio").fill("20")
    await page.locator("#saveEdit").click()
    await expect(page.locator("#conflictDialog")).to_be_visible()


async def deleting(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await card(page, "Ratón").locator("[data-action=delete]").click()
    await expect(page.locator("#deleteDialog")).to_be_visible()


async def looking_back(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await page.locator("#historyToggle").click()
    await expect(page.locator("#momentText")).to_contain_text("Tras el evento 3")
    await page.locator("#previousEvent").click()
    await expect(page.locator("#momentText")).to_contain_text("Tras el evento 2")


async def tabular(page: Page, client: TestClient) -> None:
    await populated(page, client)
    if await page.locator("#asTable").is_visible():  # a phone has cards
        await page.locator("#asTable").click()
        await expect(page.locator(".product-row")).to_have_count(3)


async def choosing(page: Page, client: TestClient) -> None:
    await tabular(page, client)
    if await page.locator("#choosing").is_visible():
        await page.locator("#choosing").click()
        await page.get_by_label("Elegir Ratón").check()


async def in_place(page: Page, client: TestClient) -> None:
    await tabular(page, client)
    await (
        page.locator('[data-id="3"] :is([data-edit=stock], [data-action=stock-field])').locator("visible=true").click()
    )
    await page.keyboard.type("-99")
    await page.keyboard.press("Enter")
    await expect(page.locator(".editor.wrong")).to_be_visible()


async def one_history(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await client.patch("/api/productos/3", json={"precio": 2, "stock": 1})
    await card(page, "Ratón").locator("[data-action=events]").click()
    await expect(page.locator("#productEvents > li")).to_have_count(2)


async def importing(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await page.locator("#import").click()
    file = {
        "name": "a.csv",
        "mimeType": "text/csv",
        "buffer": "nombre;precio;sitio\nSilla;1;A\nMesa;x;B\nRatón;2;C\n".encode(),
    }
    await page.locator("#importFile").set_input_files(file)
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo · 1 no entra · 1 se omite · 1 con aviso")


async def choosing_columns(page: Page, client: TestClient) -> None:
    await importing(page, client)
    await page.locator("#import-precio").select_option("—")
    await expect(page.locator("#import-precio")).to_have_attribute("aria-invalid", "true")


async def helped(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await page.locator("#help").click()
    await expect(page.locator("#helpDialog")).to_be_visible()


async def undoable(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await card(page, "Ratón").locator("[data-action=add]").click()
    await expect(page.locator(".toast .act:visible")).to_have_count(1)


async def wired(page: Page, client: TestClient) -> None:
    await connected(page)
    await page.locator("#cableToggle").click()
    await expect(page.locator("#cableCount")).to_have_text("1 conectado")
    await populated(page, client)
    await page.locator("#goOffline").click()
    await expect(page.locator("#cableRows .bad")).not_to_have_count(0)
    await page.locator("#cableRows summary").first.click()
    await expect(page.locator("#cableRows pre").first).not_to_be_empty()


async def unsent(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await page.context.set_offline(True)
    await card(page, "Ratón").locator("[data-action=add]").click()
    await page.locator("#unsent summary").click()
    await expect(card(page, "Ratón").locator(".pending")).to_have_text("+1 por enviar")
    await page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")


async def filled_basket(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await page.locator("#basketToggle").click()
    await expect(page.locator("#basketTotal")).to_contain_text("Vacía")
    assert await objections(page) == []
    await card(page, "Ratón").locator("[data-action=take]").click()
    await card(page, "Teclado").locator("[data-action=take]").click()  # of which there is none
    await expect(page.locator("#basketLines em").first).not_to_be_empty()


async def offline(page: Page, client: TestClient) -> None:
    await populated(page, client)
    await client.server.close()
    await expect(page.locator("#reconnect")).to_be_visible()


STATES = [
    empty,
    announced,
    populated,
    nothing_found,
    followed,
    faulty,
    editing,
    conflicting,
    deleting,
    looking_back,
    offline,
    unsent,
]
STATES += [choosing, in_place, one_history, importing, choosing_columns, helped, undoable, wired, filled_basket]
LOOKS = {
    "laptop": {"color_scheme": "light"},
    "phone": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
TWICE_AS_LARGE = {"width": 640, "height": 400}  # a laptop's window, zoomed to 200 %


PHONES = (412, 360, 390)  # pixels
SCROLLED = """[...document.querySelectorAll('body *')].filter((node) => node.checkVisibility()
  && node.scrollWidth > node.clientWidth && /auto|scroll/.test(getComputedStyle(node).overflowX)).map(({ id, className }) => id || className)"""


async def fits(page: Page, width: int) -> None:
    """Sees that nothing lies beside a window of so many pixels, nor beside a part of it that would be scrolled sideways."""
    await page.set_viewport_size({**(page.viewport_size or {}), "width": width})
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(SCROLLED) == []


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("state", STATES)
async def test_axe_finds_no_fault_in_the_page(
    visit: Visit,  # noqa: F811
    client: TestClient,
    state: Callable[[Page, TestClient], Awaitable[None]],
    look: str,
) -> None:
    page = await visit(**LOOKS[look], reduced_motion="reduce")  # amid an animation, contrast is another
    await state(page, client)
    assert await objections(page) == []
    if look == "phone":
        for width in PHONES:
            await fits(page, width)
        return
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert await objections(page) == [], "in the dark"
    await page.set_viewport_size(TWICE_AS_LARGE)
    assert await objections(page) == [], "twice as large"
    await fits(page, TWICE_AS_LARGE["width"])


async def test_axe_reports_a_known_fault(visit: Visit, client: TestClient) -> None:  # noqa: F811
    page = await visit()
    await populated(page, client)
    await page.evaluate("document.getElementById('themeToggle').ariaLabel = ''; document.documentElement.lang = ''")
    assert {fault.partition(":")[0] for fault in await objections(page)} >= {"button-name", "html-has-lang"}
