"""The page that comes back: from the browser's cache, from a sleep, and with a list of yesterday."""

import asyncio
import json
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, Route, WebSocketRoute, expect

from .conftest import create
from .test_page import Visit, browser, card, connected, visit  # noqa: F401
from .tools.browser import chromium_with_window

pytestmark = pytest.mark.slow

WATCHED = """
window.sockets = [];
window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); sockets.push(this); } };
window.said = [];
const note = () => said.push(document.querySelector('#connectionStatus')?.textContent);
new MutationObserver(note).observe(document, { childList: true, characterData: true, subtree: true });
"""  # each socket the page has opened, and what it has said of its connection


async def watched(visit: Visit) -> Page:  # noqa: F811
    page = await visit()
    await page.add_init_script(WATCHED)
    await page.reload()
    return page


async def is_open(page: Page, number: int) -> None:
    """Waits until the page has opened so many sockets, and sees that the last one alone is open."""
    await page.evaluate(
        "async (number) => { for (let n = 0; n < 500 && (sockets.length < number || sockets.some((socket) => "
        "socket.readyState % 2 === 0)); n++) await new Promise((done) => { setTimeout(done, 20); }); }",
        number,
    )
    assert await page.evaluate("sockets.map((socket) => socket.readyState)") == [3] * (number - 1) + [1]
    await connected(page)


@pytest.mark.parametrize("browser", [chromium_with_window], indirect=True)
async def test_page_restored_by_the_back_button_connects_at_once(visit: Visit, psql: Callable) -> None:  # noqa: F811
    page = await watched(visit)
    await is_open(page, 1)
    await page.evaluate("addEventListener('pageshow', ({ persisted }) => { window.thawed = persisted; }); said = []")
    await page.goto(f"{page.url}docs")
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 1)")
    await page.go_back(wait_until="commit")
    await expect(card(page, "Teclado")).to_be_visible()
    assert await page.evaluate("thawed"), "it was in the browser's cache"
    await is_open(page, 2)
    assert not [text for text in await page.evaluate("said") if "Reconectando" in text]


async def test_page_that_wakes_up_detects_a_closed_socket(visit: Visit) -> None:  # noqa: F811
    page = await watched(visit)
    wakes = ["document.dispatchEvent(new Event('visibilitychange'))", "dispatchEvent(new Event('online'))"]
    wakes.append("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    for number, wake in enumerate([*wakes, ";".join(wakes)], start=1):
        await is_open(page, number)
        await page.evaluate("new Promise((done) => { sockets.at(-1).onclose = done; sockets.at(-1).close(); })")
        await page.evaluate(wake)
    await is_open(page, 5)
    await page.evaluate('for (let n = 0; n < 40; n++) sockets.at(-1).send(\'{"type":"PING"}\')')
    await expect(page.locator("#connectionStatus")).to_contain_text("Detenido")
    await page.evaluate(";".join(wakes))
    assert await page.evaluate("sockets.length") == 5, "a page that has stopped stays so"


async def test_list_that_a_cache_has_kept_is_brought_up_to_date(visit: Visit, psql: Callable) -> None:  # noqa: F811
    """As the service worker of a host, or a proxy that asks nobody, may keep it: the page went on from where its socket was."""
    psql("INSERT INTO productos (nombre, precio, stock) VALUES ('Teclado', 1, 5), ('Cable', 1, 1)")
    page = await visit()
    await expect(card(page, "Teclado")).to_contain_text("5")
    kept = await (await page.request.get(f"{page.url}api/productos")).text()
    psql("UPDATE productos SET stock = 2 WHERE nombre = 'Teclado'; DELETE FROM productos WHERE nombre = 'Cable'")
    await expect(card(page, "Teclado")).to_contain_text("2")
    await page.route("**/api/productos", lambda route: route.fulfill(body=kept, content_type="application/json"))
    await page.reload()
    await expect(card(page, "Cable")).to_have_count(0)
    await expect(card(page, "Teclado")).to_contain_text("2 unidades")
    await connected(page)


async def test_list_after_a_filter_that_a_cache_has_kept_is_brought_up_to_date(visit: Visit, psql: Callable) -> None:  # noqa: F811
    """It was taken for a current one, because the events that it lacks were those of products that were not followed."""
    psql("INSERT INTO productos (nombre, precio, stock) VALUES ('Teclado', 1, 5), ('Cable', 1, 1)")
    page = await visit()
    await connected(page)
    kept = await (await page.request.get(f"{page.url}api/productos")).text()
    await card(page, "Teclado").locator("[data-action=follow]").click()
    await page.locator("#onlyFollowed").click()
    await expect(card(page, "Cable")).to_have_count(0)
    psql("UPDATE productos SET stock = 2 WHERE nombre = 'Cable'")
    await page.route("**/api/productos", lambda route: route.fulfill(body=kept, content_type="application/json"))
    async with page.expect_response("**/api/productos"):
        await page.locator("#onlyFollowed").click()
    await expect(card(page, "Cable")).to_contain_text("2 unidades")
    await connected(page)


async def test_list_ahead_of_a_history_that_begins_is_loaded_again(visit: Visit) -> None:  # noqa: F811
    """A standby is promoted that lacks the last event: the socket, which had not sent it yet, goes on, and the list contains it."""
    page = await watched(visit)
    await is_open(page, 1)
    pong = {"type": "PONG", "last_event_id": -1, "epoch": "00000000-0000-0000-0000-000000000000"}
    await page.evaluate("(data) => sockets[0].onmessage({ data })", json.dumps(pong))
    await is_open(page, 2)


async def test_catch_up_ends_where_another_history_begins(visit: Visit) -> None:  # noqa: F811
    """The last missed event was lost with the primary: those that came later were never told."""
    page = await visit()
    sockets: list[WebSocketRoute] = []

    async def on_the_way(ws: WebSocketRoute) -> None:
        def down(text: str | bytes) -> None:
            message = json.loads(text)
            if message.get("recovered"):
                message["newest_event_id"] += 5
            ws.send(json.dumps(message))

        ws.connect_to_server().on_message(down)
        sockets.append(ws)

    await page.route_web_socket("**/ws*", on_the_way)
    await page.reload()
    await connected(page)
    await sockets[0].close(code=1001)
    await expect(page.locator("#connectionStatus")).not_to_have_text("Conectado")
    await connected(page)
    sockets[1].send(json.dumps({"type": "PONG", "last_event_id": 0, "epoch": "00000000-0000-0000-0000-000000000000"}))
    await expect(page.locator("#eventsLog")).to_contain_text("Ningún cambio mientras no estabas")


async def test_first_screen_that_arrives_after_the_list_changes_nothing(visit: Visit, psql: Callable) -> None:  # noqa: F811
    """The two are asked for together. Where the list was empty, a first screen that was answered later brought back a deleted product."""
    psql("INSERT INTO productos (nombre, precio) VALUES ('Teclado', 1)")
    page = await visit()
    await connected(page)
    is_read, is_late = asyncio.Event(), asyncio.Event()

    async def first_screen(route: Route) -> None:
        answer = await route.fetch()
        is_read.set()
        await is_late.wait()
        await route.fulfill(response=answer)

    async def whole_list(route: Route) -> None:
        await is_read.wait()
        psql("DELETE FROM productos")
        await route.continue_()

    await page.route("**/api/productos?before=*", first_screen)
    await page.route("**/api/productos", whole_list)
    await page.reload()
    await connected(page)
    async with page.expect_event("requestfinished", lambda request: "before=" in request.url):
        is_late.set()
    psql("INSERT INTO productos (nombre, precio) VALUES ('Cable', 1)")
    await expect(card(page, "Cable")).to_be_visible()
    await expect(card(page, "Teclado")).to_have_count(0)
    await expect(page.locator("#productCount")).to_have_text("1")


async def test_list_that_is_refused_is_not_asked_for_at_once(visit: Visit, client: TestClient) -> None:  # noqa: F811
    """The first screen is answered after the refusal: the page took this for a service that is back, again and again."""
    await create(client, nombre="Teclado")
    page = await visit()
    await connected(page)
    await page.add_init_script("Math.random = () => 60")  # a minute until the next try
    asked: list[str] = []

    async def first_screen(route: Route) -> None:
        answer = await route.fetch()
        await expect(page.locator("#connectionStatus")).to_contain_text("Reconectando")
        await route.fulfill(response=answer)

    async def whole_list(route: Route) -> None:
        asked.append(route.request.url)
        await (route.continue_() if len(asked) > 1 else route.fulfill(status=503, json={}))

    await page.route("**/api/productos?before=*", first_screen)
    await page.route("**/api/productos", whole_list)
    async with page.expect_event("requestfinished", lambda request: "before=" in request.url):
        await page.reload()
    await page.unroute("**/api/productos?before=*")
    await page.locator("#reconnect").click()
    await connected(page)
    assert len(asked) == 2
