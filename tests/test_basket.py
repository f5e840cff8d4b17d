"""The basket: what is scanned or tapped while it is open is sold together."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, expect

from .conftest import settled
from .test_page import Visit, browser, card, connected, keep_notices, visit  # noqa: F401
from .test_scanner import MONITOR, RATON, TECLADO, page, scan, sold, stocks  # noqa: F401

pytestmark = pytest.mark.slow


async def opened(page: Page) -> None:  # noqa: F811
    await page.keyboard.press("c")
    await expect(page.locator("#basket")).to_be_visible()
    await page.wait_for_timeout(200)  # what comes at once would be of the same code


async def holds(page: Page, *lines: str) -> None:  # noqa: F811
    """Sees the lines: units and name, the last one first."""
    shown = page.locator("#basketLines li")
    await expect(shown).to_have_count(len(lines))
    for n, line in enumerate(lines):
        units, _, name = line.partition(" ")
        await expect(shown.nth(n)).to_contain_text(name)
        await expect(shown.nth(n).locator("b")).to_have_text(units)


async def events(client: TestClient, after: int, last: int) -> list[dict[str, Any]]:
    await settled(client, last)
    return (await (await client.get(f"/api/eventos?after={after}")).json())["data"]


async def test_scans_are_sold_together_with_enter(page: Page, client: TestClient) -> None:  # noqa: F811
    await opened(page)
    await keep_notices(page)
    for code in (TECLADO, RATON, TECLADO, MONITOR):
        await scan(page, code)
        await expect(page.locator("#basketSell")).to_be_focused()
    await holds(page, "1 Monitor", "2 Teclado", "1 Ratón")
    await expect(page.locator("#basketTotal")).to_have_text("4 unidades · $5199,96")
    await expect(page.locator("#basketCount")).to_have_text("3")
    assert await stocks(client) == [50, 50, 50], "nothing is sold before"
    await page.keyboard.press("Enter")
    await sold(client, 48, 49, 49)
    await holds(page)
    await expect(page.locator(".toast.success")).to_contain_text("Venta: 4 unidades · $5199,96")
    told = await events(client, 3, 6)
    assert {event["data"]["id"]: event["motivo"] for event in told} == {1: "venta", 2: "venta", 3: "venta"}
    await page.keyboard.press("Enter")  # once too often
    await expect(page.locator("#search")).to_have_value("")
    await holds(page)
    await page.locator("#search").fill("monit")
    await page.keyboard.press("Enter")
    await holds(page, "1 Monitor")
    await page.keyboard.press("Enter")
    await sold(client, 48, 49, 48)
    await expect(page.locator(".toast")).to_have_count(2)
    await page.keyboard.press("Control+z")
    await sold(client, 48, 49, 49)
    await expect(page.locator(".toast").last).to_contain_text("Venta deshecha")
    await client.patch("/api/productos/3", json={"precio": 1})
    told = [re.compile("^Venta: 4"), re.compile("^Venta deshecha"), re.compile("^Monitor: precio")]
    await expect(page.locator(".toast p")).to_have_text(told)  # the other events are this page's own


async def test_taps_put_units_in_and_take_them_out(page: Page, client: TestClient) -> None:  # noqa: F811
    await page.locator("#basketToggle").click()
    take, add = (page.get_by_role("button", name=f"{sign}1 unidad de Ratón") for sign in "−+")
    await take.click()
    await expect(page.locator("#basketSell")).to_be_focused()
    await take.focus()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Shift+Tab")
    for _ in range(3):
        await page.keyboard.press("Enter")  # by keyboard it stays where it is, and Enter is another one
        await expect(take).to_be_focused()
    await holds(page, "4 Ratón")
    await add.click()
    await page.get_by_role("button", name="Una menos de Ratón").click()
    await holds(page, "2 Ratón")
    more = page.get_by_role("button", name="Una más de Ratón")
    await more.focus()
    await page.keyboard.press("Space")
    await expect(more).to_be_focused()
    await holds(page, "3 Ratón")
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await page.locator("#basketClear").click()
    await holds(page)
    await expect(page.locator("#basketTotal")).to_contain_text("Vacía")
    await page.get_by_role("button", name="Deshacer").click()
    await holds(page, "1 Teclado", "3 Ratón")
    await page.keyboard.press("Escape")  # leaves it, with what is in it
    await expect(page.locator("#basket")).to_be_hidden()
    await expect(page.locator("#basketCount")).to_have_text("2")
    await take.click()
    await sold(client, 50, 49, 50)
    assert await page.locator("#basketCount").text_content() == "2"


async def test_basket_survives_a_reload_and_is_of_its_tab(page: Page, client: TestClient) -> None:  # noqa: F811
    await opened(page)
    await scan(page, RATON)
    await scan(page, RATON)
    await page.reload()
    await holds(page, "2 Ratón")
    await expect(page.locator("#basketTotal")).to_have_text("2 unidades · $2599,98")
    other = await page.context.new_page()
    await other.goto(page.url)
    await connected(other)
    await expect(other.locator("#basketCount")).to_have_text("")
    await client.patch("/api/productos/2", json={"precio": 1, "stock": 1})
    await expect(page.locator("#basketTotal")).to_have_text("2 unidades · $2,00")
    await expect(page.locator("#basketLines em")).to_have_text("no alcanza, quedan 1")
    await page.locator("#basketSell").click()
    await expect(page.locator(".toast.error")).to_have_text("Ratón: no alcanza, quedan 1")
    assert await stocks(client) == [50, 1, 50]
    await page.get_by_role("button", name="Una menos de Ratón").click()
    await page.locator("#basketSell").click()
    await sold(client, 50, 0, 50)


async def test_unsent_sale_is_kept_with_its_key_and_sent_once(
    page: Page,  # noqa: F811
    client: TestClient,
    psql: Callable,
) -> None:
    await opened(page)
    await scan(page, RATON)
    await scan(page, MONITOR)
    await page.context.set_offline(True)
    await page.keyboard.press("Enter")
    await expect(page.locator("#unsentText")).to_contain_text("1 cambio sin enviar")
    await expect(page.locator("#unsentList")).to_have_text("Venta: Ratón -1, Monitor -1")
    await page.keyboard.press("Escape")
    for name in ("Ratón", "Monitor"):
        await expect(card(page, name)).to_contain_text("49 unidades")
        await expect(card(page, name).locator(".pending")).to_have_text("-1 por enviar")
    await page.route("**/api/stock", lambda route: route.fetch(), times=1)  # it is made, and its answer is lost
    async with page.expect_request("**/api/stock") as asked:
        await page.context.set_offline(False)
    await sold(client, 50, 49, 49)
    key = (await asked.value).headers["idempotency-key"]
    await page.reload()
    await expect(page.locator("#unsent")).to_be_hidden()
    await expect(page.locator(".toast")).to_contain_text("1 cambio de antes, enviado")
    assert psql("SELECT clave FROM eventos WHERE clave IS NOT NULL") == [(key,)]
    assert await stocks(client) == [50, 49, 49]


async def test_long_basket_and_long_log_leave_each_other_room(visit: Visit, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'Cable ' || n, n, 9 FROM generate_series(1, 12) n")
    screen = await visit()
    await connected(screen)
    psql("UPDATE productos SET stock = 8")
    await expect(screen.locator("#eventsLog > *")).to_have_count(14)
    await screen.locator("#basketToggle").click()
    for take in await screen.locator("[data-action=take]").all():
        await take.click()
    await holds(screen, *(f"1 Cable {n}" for n in range(1, 13)))
    height = "node => node.getBoundingClientRect().height"
    assert await screen.locator("#basketLines").evaluate(height) > 200
    assert await screen.locator("#eventsLog").evaluate(height) > 50
    for seen in ("#basketSell", "#basketTotal", "#logPanel"):
        assert await screen.locator(seen).evaluate("node => node.getBoundingClientRect().bottom <= innerHeight"), seen


async def test_refused_sale_names_its_lines_and_comes_back(page: Page, client: TestClient, psql: Callable) -> None:  # noqa: F811
    await opened(page)
    for code in (RATON, MONITOR, RATON, TECLADO):
        await scan(page, code)
    await page.context.set_offline(True)
    await page.keyboard.press("Enter")
    psql("UPDATE productos SET stock = 1 WHERE nombre = 'Ratón'")
    await page.keyboard.press("Escape")
    await page.context.set_offline(False)
    notice = page.locator(".toast.error")
    await expect(notice.locator("p")).to_have_text("La venta no se ha hecho.\nRatón: hay 1")
    await expect(page.locator("#eventsLog > .error").first).to_contain_text("Ratón: hay 1")
    assert await stocks(client) == [50, 1, 50]
    await notice.get_by_role("button", name="A la cesta").click()
    await holds(page, "1 Teclado", "2 Ratón", "1 Monitor")
    await expect(page.locator("#basketLines em").nth(1)).to_have_text("no alcanza, quedan 1")
