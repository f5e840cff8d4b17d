"""The page that shows the descriptions, in a real browser."""

from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import Page, expect

from inventory_ws import bearer, create_app

from .test_accessibility import objections
from .test_asyncapi import MESSAGES
from .test_openapi import OPENAPI
from .test_page import Visit, browser, visit  # noqa: F401

pytestmark = pytest.mark.slow


async def unfolded(page: Page) -> Page:
    await expect(page.locator("main")).to_have_attribute("aria-busy", "false")
    await page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    return page


async def test_docs_show_every_operation_schema_and_message(visit: Visit, client: TestClient) -> None:  # noqa: F811
    page = await visit(str(client.make_url("/docs")))
    told = OPENAPI
    operations = [operation for path in told["paths"].values() for operation in path.values()]
    for name in [*(one["operationId"] for one in operations), *told["components"]["schemas"], *MESSAGES]:
        await expect(page.locator(f"details#{name}")).to_have_count(1)
    fold = page.locator("#move_stock")
    await fold.locator("summary").focus()
    await page.keyboard.press("Enter")
    assert await page.evaluate("early") is None, "no scanner is here that reads the keys"
    await expect(fold.locator("pre")).to_have_text(
        f"curl -s -X POST {client.make_url('/api/productos/13/stock')} -H 'Content-Type: application/json' -d '{{\"delta\":-3}}'"
    )
    await expect(fold).to_contain_text("No quedan o no caben tantas unidades")
    await expect(page.locator("#version")).to_have_text(told["info"]["version"])
    await expect(page.locator("#socketText")).to_contain_text("4401")


async def test_docs_need_no_token_and_use_the_prefix(
    visit: Visit,  # noqa: F811
    dsn: str,
    aiohttp_server: Callable,
) -> None:
    host = web.Application()
    host.add_subapp("/inventario/", create_app(dsn=dsn, authenticate=bearer("clave")))
    server: TestServer = await aiohttp_server(host)
    page = await visit(str(server.make_url("/inventario/docs#list_products")))
    await expect(page.locator("#list_products pre")).to_have_text(
        f"curl -s -X GET {server.make_url('/inventario/api/productos')}"
    )
    assert await page.get_by_role("link", name="Al inventario").evaluate("link => link.pathname") == "/inventario/"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
async def test_docs_fit_every_width_and_axe_finds_no_fault(
    visit: Visit,  # noqa: F811
    client: TestClient,
    width: int,
    scheme: str,
) -> None:
    url = str(client.make_url("/docs"))
    page = await unfolded(await visit(url, viewport={"width": width, "height": 800}, color_scheme=scheme))
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await objections(page) == []


async def test_docs_are_small(client: TestClient) -> None:
    sizes = [len(await (await client.get(path)).read()) for path in ("/docs", "/docs.js", "/docs.css")]
    assert sum(sizes) < 12 * 1024
