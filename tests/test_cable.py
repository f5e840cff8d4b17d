"""The panel of the page that shows what goes over the wire, and cuts it."""

import re
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import Locator, Page, expect

from inventory_ws import create_app
from inventory_ws.web.security import bearer

from .conftest import create
from .test_page import EVIL, Visit, browser, card, connected, visit  # noqa: F401

pytestmark = pytest.mark.slow


async def look(page: Page) -> None:
    await page.get_by_role("button", name="Cable", exact=True).click()
    await expect(page.locator("#cable")).to_be_visible()


@pytest.fixture
async def page(visit: Visit, client: TestClient) -> Page:  # noqa: F811
    """The page with a product, and with the panel open."""
    await create(client, nombre="Teclado", precio=64.90, stock=30)
    page = await visit()
    await connected(page)
    await look(page)
    return page


def rows(page: Page, *texts: str) -> Locator:
    """The rows that have all the texts."""
    found = page.locator("#cableRows > li")
    for text in texts:
        found = found.filter(has_text=text)
    return found


async def cells(row: Locator) -> list[str]:
    return [await row.locator(f".{cell}").text_content() for cell in ("way", "what", "status", "bytes", "ms")]


async def kinds(page: Page) -> list[str]:
    return await page.locator("#cableRows > li").evaluate_all(
        "rows => rows.map((row) => row.querySelector('.way').textContent + row.querySelector('b').textContent)"
    )


async def at_a_frame(page: Page, condition: str, seconds: float) -> None:
    """Waits until something is so, which may last less than the second between two looks of `expect`."""
    await page.evaluate(
        f"""new Promise((done, fail) => {{
          const end = performance.now() + {seconds * 1000};
          const look = () => {{
            if ({condition}) done();
            else if (performance.now() > end) fail(new Error(document.body.innerText));
            else requestAnimationFrame(look);
          }};
          look();
        }})"""
    )


async def details(row: Locator) -> str:
    await row.locator("summary").click()
    await expect(row.locator("pre")).not_to_be_empty()
    return await row.locator("pre").text_content()


async def test_closed_panel_is_not_even_loaded(visit: Visit, client: TestClient) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await create(client)
    await expect(page.locator(".product-card")).to_have_count(1)
    await page.wait_for_timeout(500)
    loaded = "performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)"
    assert not {"/cable.js", "/api/salud"} & set(await page.evaluate(loaded))
    await look(page)
    await expect(page.locator("#cableTitle")).to_be_focused()
    await expect(page.locator("#cableRows > li")).to_have_count(0)  # what was before is not kept
    await expect(page.locator("#cableCount")).to_have_text("1 conectado")
    assert {"/cable.js", "/api/salud"} <= set(await page.evaluate(loaded))


async def test_panel_asked_for_twice_while_it_loads_opens_once(visit: Visit, client: TestClient) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await page.evaluate("cableToggle.click(); cableToggle.click()")
    await expect(page.locator("#cable")).to_be_visible()
    await create(client)
    await page.locator("[data-action=take]").click()
    await expect(rows(page, "POST", "200")).to_have_count(1)
    await expect(rows(page, "PRODUCT_UPDATED")).to_have_count(1)


async def test_request_has_its_status_its_time_and_the_bytes_of_its_answer(page: Page) -> None:
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    row = rows(page, "POST", "200")
    way, what, status, size, ms = await cells(row)
    assert (way, what, status) == ("⇄", "POST /api/productos/1/stock", "200")
    assert re.fullmatch(r"\d+ ms", ms)
    text = await details(row)
    assert '{\n  "delta": -1\n}' in text
    assert re.search("^Idempotency-Key: [0-9a-f]{32}$", text, re.MULTILINE)
    assert '"precio": 64.90,' in text  # as it came
    answer = re.sub(r"(?m)^ +|\n", "", text[text.rindex("\n\n{") :]).replace('": ', '":')
    assert size == f"{len(answer.encode())} B"


async def test_frames_have_their_type_and_their_bytes_and_tell_their_json_when_asked(
    page: Page,
    client: TestClient,
) -> None:
    ws = await client.ws_connect("/ws")
    await ws.receive_str()
    await client.patch("/api/productos/1", json={"nombre": "Teclado español"})
    sent = await ws.receive_str()
    row = rows(page, "PRODUCT_UPDATED")
    await expect(row).to_have_count(1)
    assert await cells(row) == ["←", "PRODUCT_UPDATED id: 2", "", f"{len(sent.encode())} B", ""]
    assert "español" in sent
    await expect(row.locator("pre")).to_be_empty()
    assert '\n  "data": {\n    "id": 1,\n    "nombre": "Teclado español",' in await details(row)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when one comes back to the tab
    await expect(rows(page, "PONG")).to_have_count(1)
    assert (await cells(rows(page, "PING")))[:4] == ["→", "PING ", "", "15 B"]
    way, what, _, _, ms = await cells(rows(page, "PONG"))
    assert (way, what) == ("←", "PONG last_event_id: 2")
    assert re.fullmatch(r"\+\d+ ms", ms)
    await client.app.shutdown()
    await expect(rows(page, "CLOSE", "1001")).to_have_count(1)


async def test_panel_left_open_sees_the_page_connect(page: Page) -> None:
    await page.reload()
    await connected(page)
    await expect(rows(page, "GET /api/productos", "200")).to_have_count(2)  # the newest, and all
    assert await kinds(page) == ["⇄GET", "←CONNECTION_ESTABLISHED", "⇄GET", "⇄GET"]
    assert (await cells(page.locator("#cableRows > li").first))[1:3] == ["GET /ws", "101"]
    await page.locator("#closeCable").press("Escape")
    await expect(page.locator("#cableToggle")).to_be_focused()
    await page.reload()
    await connected(page)
    await expect(page.locator("#cable")).to_be_hidden()


async def test_cut_connection_comes_back_with_what_happened_meanwhile(page: Page, client: TestClient) -> None:
    await page.evaluate("Math.random = () => 0.999")  # the longest wait
    await page.get_by_role("button", name="Cortar").click()
    await expect(page.locator("#connectionStatus")).to_contain_text("Reconectando")
    await client.patch("/api/productos/1", json={"stock": 7})
    await connected(page)
    await expect(card(page, "Teclado")).to_contain_text("7 unidades")
    await expect(rows(page, "PRODUCT_UPDATED")).to_have_count(1)
    assert await kinds(page) == ["→CLOSE", "←CLOSE", "⇄GET", "←CONNECTION_ESTABLISHED", "←PRODUCT_UPDATED"]
    assert [(await cells(row))[2] for row in await rows(page, "CLOSE").all()] == ["1000", "1000"]
    assert "/ws?last_event_id=1&epoch=" in (await cells(rows(page, "GET")))[1]
    await expect(rows(page, "CONNECTION_ESTABLISHED")).to_contain_text("recovered: true")


async def test_ten_seconds_without_a_network_lose_nothing(page: Page, client: TestClient) -> None:
    button = page.locator("#goOffline")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await at_a_frame(page, "goOffline.textContent === 'Sin red 9 s'", 5)
    await expect(page.locator("#reconnect")).to_be_visible()
    await expect(page.locator("#cableCount")).to_have_text("sin red")
    await client.patch("/api/productos/1", json={"precio": 7})
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(rows(page, "POST", "error").first).to_be_visible()
    await page.get_by_role("button", name="Conectar ahora").click()
    await expect(rows(page, "/ws?", "error").first).to_be_visible()
    product = (await (await client.get("/api/productos/1")).json())["data"]
    assert product["stock"] == 30
    said = "goOffline.textContent === 'Sin red 1 s' && connectionStatus.textContent !== 'Conectado'"
    await at_a_frame(page, said, 12)
    await expect(button).to_have_attribute("aria-pressed", "false")
    await connected(page)
    await expect(card(page, "Teclado")).to_contain_text("$7,00")
    await expect(rows(page, "CONNECTION_ESTABLISHED")).to_contain_text("recovered: true")
    await expect(card(page, "Teclado")).to_contain_text("29 unidades", timeout=15_000)
    assert (await kinds(page))[0] == "×CLOSE"
    assert (await cells(page.locator("#cableRows > li").first))[2] == "1006"
    keys = {re.search("Idempotency-Key: (.*)", await details(row))[1] for row in await rows(page, "POST").all()}
    assert len(keys) == 1


async def test_answer_that_the_network_went_away_from_is_lost_and_asked_for_again(
    page: Page,
    client: TestClient,
) -> None:
    async def late(route: object) -> None:
        answer = await route.fetch()
        await page.locator("#goOffline").click()
        await route.fulfill(response=answer)

    await page.route("**/stock", late, times=1)
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(rows(page, "POST", "error").first).to_be_visible()
    await page.locator("#goOffline").click()  # back before the ten seconds are over
    await expect(rows(page, "POST", "200")).to_have_count(1)
    assert "idempotency-replayed: true" in await details(rows(page, "POST", "200"))
    await expect(card(page, "Teclado")).to_contain_text("29 unidades")


async def test_panel_closed_without_a_network_gives_it_back(page: Page) -> None:
    await page.evaluate("Math.random = () => 0.999")
    await page.locator("#goOffline").click()
    for _ in range(3):  # after so many failures it would wait for eight seconds
        await page.get_by_role("button", name="Conectar ahora").click()
        await expect(page.locator("#connectionStatus")).to_contain_text("Reconectando")
    await page.get_by_role("button", name="Cerrar el cable").click()
    await expect(page.locator("#connectionStatus")).to_have_text("Conectado", timeout=2_000)
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(card(page, "Teclado")).to_contain_text("29 unidades")
    await expect(page.locator("#cableRows > li")).to_have_count(0)
    await look(page)
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await expect(rows(page, "PRODUCT_UPDATED")).to_have_count(1)  # seen once, though looked at for the second time
    await expect(rows(page, "POST")).to_have_count(1)


async def test_panel_tells_how_many_are_connected(page: Page, client: TestClient) -> None:
    await expect(page.locator("#cableCount")).to_have_text("1 conectado")
    ws = await client.ws_connect("/ws")
    await expect(page.locator("#cableCount")).to_have_text("2 conectados")
    await ws.close()
    await expect(page.locator("#cableCount")).to_have_text("1 conectado")
    await expect(rows(page, "salud")).to_have_count(0)


async def test_rows_are_the_last_five_hundred_and_are_drawn_together(page: Page, psql: Callable) -> None:
    await page.evaluate(
        """() => {
          window.draws = window.shown = 0;
          new MutationObserver(() => { draws += 1; }).observe(cableRows, { childList: true });
          (function frame() { shown += 1; requestAnimationFrame(frame); })();
        }"""
    )
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable ' || n, 1 FROM generate_series(1, 600) AS n")
    last = rows(page, "PRODUCT_CREATED", "id: 601")  # a PONG may tell last_event_id: 601
    await expect(last).to_have_count(1)
    await expect(last).to_be_in_viewport()  # the newest is in sight
    await expect(page.locator("#cableRows > li")).to_have_count(500)
    assert await page.evaluate("draws <= shown"), "more than once a frame"
    await page.locator("#cableRows").evaluate("list => { list.scrollTop = 0; }")
    psql("UPDATE productos SET stock = 5 WHERE id = 601")
    await expect(rows(page, "PRODUCT_UPDATED")).to_have_count(1)
    await expect(rows(page, "PRODUCT_UPDATED")).not_to_be_in_viewport()  # who reads further up is left there
    await page.get_by_role("button", name="Vaciar").click()
    await expect(page.locator("#cableRows > li")).to_have_count(0)


async def test_what_people_type_is_text_in_the_panel_too(visit: Visit, client: TestClient) -> None:  # noqa: F811
    page = await visit(bypass_csp=True)
    await connected(page)
    await look(page)
    await create(client, nombre=EVIL)
    assert "<img src=x onerror=stolen=1>" in await details(rows(page, "PRODUCT_CREATED"))
    assert await page.evaluate("typeof stolen") == "undefined"
    assert await page.locator("#cable :is(img, script, iframe, a)").count() == 0


async def test_token_is_not_shown(visit: Visit, dsn: str, aiohttp_server: Callable) -> None:  # noqa: F811
    server: TestServer = await aiohttp_server(create_app(dsn=dsn, authenticate=bearer("sésamo")))
    page = await visit(str(server.make_url("/")))
    await page.locator("#accessKey").fill("sésamo")
    await page.locator("#enterKey").click()
    await connected(page)
    await look(page)
    await page.reload()
    await connected(page)
    await expect(rows(page, "GET /api/productos", "200")).to_have_count(2)  # the newest, and all
    told = [await details(row) for row in await page.locator("#cableRows > li:has(summary)").all()]
    assert "Sec-WebSocket-Protocol: inventario.v1" in told[0]
    for secret in ("samo", "bearer", "Bearer", "Authorization"):
        assert secret not in "".join(told) + await page.locator("#cable").inner_text()
