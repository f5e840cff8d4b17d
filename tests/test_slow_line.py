"""A shop's day on a slow line: no tap and no word is lost."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, expect

from .conftest import create
from .test_page import Visit, browser, card, connected, visit  # noqa: F401
from .tools.line import LATENCIES, Line, line

pytestmark = pytest.mark.slow

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
        "names => names.filter((name) => ![HTMLElement, Window, WebSocket, XMLHttpRequest, AbortSignal, Animation]"
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
    await expect(page.locator(".toast.error")).to_contain_text("Teclado: «-99» no se ha guardado. Movimiento -99: no alcanza")
    assert (await product(client))["stock"] == 21
