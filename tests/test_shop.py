"""The page as a shop uses it all day: the table, stock in place, files, one product's history, and the keyboard."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, Route, expect

from inventory_ws import create_app

from .conftest import create, settled, waits
from .test_page import Visit, browser, card, connected, visit  # noqa: F401

pytestmark = pytest.mark.slow


def row(page: Page, product_id: int) -> object:
    return page.locator(f'.product-row[data-id="{product_id}"]')


async def table(visit: Visit) -> Page:  # noqa: F811
    """The page with the table."""
    page = await visit()
    await connected(page)
    await page.get_by_role("button", name="Tabla").click()
    return page


async def names(page: Page) -> list[str]:
    return await page.locator(".product-row .name").all_text_contents()


async def product(client: TestClient, product_id: int = 1) -> dict:
    return (await (await client.get(f"/api/productos/{product_id}")).json())["data"]


# ---- the table


async def test_table_shows_25_products_at_once_and_is_remembered(visit: Visit, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable ' || n, 1 FROM generate_series(1, 100) AS n")
    page = await table(visit)
    await expect(row(page, 100)).to_be_visible()
    seen = "[...document.querySelectorAll('.product-row')].filter(r => r.getBoundingClientRect().bottom <= innerHeight)"
    assert await page.evaluate(f"{seen}.length") >= 25
    await page.reload()
    await expect(row(page, 100)).to_be_visible()
    await expect(page.locator(".product-card")).to_have_count(0)
    await page.set_viewport_size({"width": 390, "height": 800})  # on a phone it is the cards
    await expect(card(page, "#100")).to_be_visible()
    await expect(page.locator("#productTable")).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_table_is_sorted_by_each_column(visit: Visit, client: TestClient) -> None:  # noqa: F811
    for name, price, stock in (("Nube", 3, 1), ("Ñandú", 1, 3), ("árbol", 2, 2), ("Oso 10", 5, 0), ("Oso 9", 4, 9)):
        await create(client, nombre=name, descripcion=name[::-1], precio=price, stock=stock)
    page = await table(visit)
    await expect(page.locator(".product-row")).to_have_count(5)
    assert await names(page) == ["Oso 9", "Oso 10", "árbol", "Ñandú", "Nube"]
    expected = {
        "Nombre": ["árbol", "Nube", "Ñandú", "Oso 9", "Oso 10"],
        "Precio": ["Ñandú", "árbol", "Nube", "Oso 9", "Oso 10"],
        "Stock": ["Oso 10", "Nube", "árbol", "Ñandú", "Oso 9"],
        "Nº": ["Oso 9", "Oso 10", "árbol", "Ñandú", "Nube"],
        "Cambió": ["Oso 9", "Oso 10", "árbol", "Ñandú", "Nube"],
        "Descripción": ["Oso 10", "Oso 9", "Nube", "árbol", "Ñandú"],
    }
    for column, order in expected.items():
        head = page.get_by_role("columnheader", name=column)
        await head.get_by_role("button").click()
        down = column in ("Nº", "Cambió")
        await expect(head).to_have_attribute("aria-sort", "descending" if down else "ascending")
        assert await names(page) == order, column
        await head.get_by_role("button").click()
        await expect(head).to_have_attribute("aria-sort", "ascending" if down else "descending")
        assert (await names(page))[0] == order[-1], column
    assert await page.locator("[aria-sort=ascending], [aria-sort=descending]").count() == 1
    await create(client, nombre="Más", precio=10)  # what comes later takes its place
    await page.get_by_role("columnheader", name="Precio").get_by_role("button").click()
    await expect(page.locator(".product-row .name").last).to_have_text("Más")


async def test_rows_stay_in_place_under_the_pointer(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    for name in ("A", "B", "C", "D"):
        await create(client, nombre=name)
    page = await table(visit)
    await page.get_by_role("columnheader", name="Stock").get_by_role("button").click()
    await row(page, 2).locator(".name").hover()
    before = await names(page)
    await client.post("/api/productos/1/stock", json={"delta": 900})
    await client.delete("/api/productos/3")
    await create(client, nombre="E", stock=0)
    await expect(row(page, 1).locator(".units")).to_have_text("910")  # in its cell
    await expect(row(page, 3)).to_have_class(re.compile("gone"))
    await expect(page.locator("#productCount")).to_have_text("4")
    assert await names(page) == before
    await page.locator("#search").hover()
    await expect(page.locator(".product-row .name").first).to_have_text("E")
    await expect(page.locator(".product-row .name").last).to_have_text("A")
    await expect(page.locator(".product-row")).to_have_count(4)


async def test_changed_cells_flash(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=1)
    page = await table(visit)
    await page.evaluate(
        "window.flashed = []; new MutationObserver((all) => { for (const { target } of all)"
        " if (target.classList.contains('flash')) flashed.push(target.className); })"
        ".observe(productTable, { subtree: true, attributes: true, attributeFilter: ['class'] })"
    )
    await client.patch("/api/productos/1", json={"stock": 2})
    await expect(row(page, 1).locator(".units")).to_have_text("2")
    classes = " ".join(await page.evaluate("flashed"))
    assert "units" in classes
    assert "price" not in classes


async def test_long_table_draws_only_the_visible_rows(visit: Visit, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable ' || n, n FROM generate_series(1, 10000) AS n")
    page = await table(visit)
    await expect(page.locator("#productCount")).to_have_text("10.000")
    await expect(row(page, 10000)).to_be_visible()
    await expect(page.locator("#productTable")).to_have_attribute("aria-rowcount", "10001")
    await row(page, 9941).locator(".units").focus()  # the last row of its block
    await expect(row(page, 9940)).to_have_count(1)
    await page.keyboard.press("ArrowDown")
    await expect(row(page, 9940).locator(".units")).to_be_focused()
    await page.keyboard.press("PageUp")
    await expect(row(page, 9955).locator(".units")).to_be_focused()
    await page.evaluate("document.activeElement.blur()")
    for _ in range(20):
        await page.keyboard.press("End")
        await page.wait_for_timeout(50)
    await expect(row(page, 1)).to_be_visible()
    await expect(row(page, 1)).to_have_attribute("aria-rowindex", "10001")
    assert await page.locator(".product-row").count() < 500
    await expect(page.get_by_role("columnheader", name="Precio")).to_be_in_viewport()
    psql("UPDATE productos SET stock = 9 WHERE id = 1")
    await expect(row(page, 1).locator(".units")).to_have_text("9")


# ---- stock and price in place


async def test_stock_is_moved_and_counted_in_its_cell(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=30)
    page = await table(visit)
    cell = row(page, 1).locator(".units")
    for typed, hint, stock, said in (
        ("-12", "Movimiento -12: quedarán 18", 18, "movimiento -12, stock 18"),
        ("+40", "Movimiento +40: quedarán 58", 58, "movimiento +40, stock 58"),
        ("=37", "Recuento: hay 37", 37, "recuento 37 (había 58)"),
    ):
        await cell.click()
        await page.keyboard.type(typed)
        await expect(cell.locator(".note")).to_have_text(hint)
        await page.keyboard.press("Enter")
        await expect(cell.locator(".value")).to_have_text(str(stock))
        await expect(page.locator("#toasts")).to_contain_text(f"Teclado: {said}")
        assert (await product(client))["stock"] == stock
    await cell.click()
    await page.keyboard.type("99")
    await page.keyboard.press("Escape")
    await expect(cell).to_have_text("37")
    await expect(cell).to_be_focused()
    await settled(client, 4)
    events = (await (await client.get("/api/eventos?producto=1")).json())["data"]
    assert [event["data"]["stock"] for event in events] == [30, 18, 58, 37]


async def test_price_is_changed_in_its_cell_and_a_refusal_is_told(
    visit: Visit,  # noqa: F811
    client: TestClient,
    connect: Callable,
    psql: Callable,
) -> None:
    await create(client, nombre="Teclado", precio=10, stock=5)
    page = await table(visit)
    cell = row(page, 1).locator(".price")
    await cell.click()
    await page.keyboard.type("1.299")
    await page.keyboard.press("Enter")
    await expect(cell.locator(".note")).to_contain_text("Sin separador de miles")
    await cell.locator("input").fill("20")
    await client.patch("/api/productos/1", json={"precio": 30})
    await page.keyboard.press("Enter")
    refused = page.locator(".toast.error")
    await expect(refused).to_contain_text(
        "Teclado: precio $20,00 no se ha guardado: Alguien cambió este producto antes"
    )
    await expect(cell.locator(".editor")).to_have_count(0)
    await expect(cell.locator(".value")).to_have_text("$30,00")
    assert (await product(client))["precio"] == 30
    await cell.click()
    await page.keyboard.type("20")
    await page.keyboard.press("Enter")
    await expect(page.locator(".toast.success")).to_contain_text("Teclado")
    await expect(cell.locator(".value")).to_have_text("$20,00")
    assert (await product(client))["precio"] == 20
    stock = row(page, 1).locator(".units")
    await stock.click()
    await page.keyboard.type("-4")
    other = connect()  # takes three, and the page hears of it when it has asked for four
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("UPDATE productos SET stock = stock - 3")
    async with page.expect_request("**/stock"):
        await page.keyboard.press("Enter")
    await waits(psql, "Lock")
    other.commit()
    await expect(refused).to_contain_text("Teclado: -4 no se ha guardado: no alcanza, quedan 2")
    await expect(stock).to_have_text("2")


async def test_stock_is_moved_on_a_card(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=3)
    page = await visit()
    await page.get_by_role("button", name="Mover o contar el stock de Teclado").click()
    await page.keyboard.type("-5")
    await expect(card(page, "Teclado").locator(".note")).to_contain_text("no alcanza, quedan 3")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("+4")
    await page.keyboard.press("Enter")
    await expect(card(page, "Teclado")).to_contain_text("7 unidades")
    await expect(page.get_by_role("button", name="Mover o contar el stock de Teclado")).to_be_focused()


async def test_undo_is_a_new_change(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", descripcion="Mecánico", precio=10, stock=5)
    page = await visit()
    undo = page.locator("#toasts").get_by_role("button", name="Deshacer")
    await page.get_by_role("button", name="−1 unidad de Teclado").click()
    await undo.click()
    await expect(card(page, "Teclado")).to_contain_text("5 unidades")
    await page.get_by_role("button", name="Editar Teclado").click()
    await page.locator("#editDialog").get_by_label("Precio").fill("20")
    await page.get_by_role("button", name="Guardar cambios").click()
    await page.locator(".toast").filter(has_text="actualizado").get_by_role("button", name="Deshacer").click()
    await expect(card(page, "Teclado")).to_contain_text("$10,00")
    await page.get_by_role("button", name="Eliminar Teclado").click()
    await page.locator("#confirmDelete").click()
    await page.locator(".toast").filter(has_text="eliminado").get_by_role("button", name="Deshacer").click()
    await expect(card(page, "#1")).to_contain_text("Mecánico")
    await settled(client, 7)
    events = (await (await client.get("/api/eventos?producto=1")).json())["data"]
    assert [event["type"].removeprefix("PRODUCT_") for event in events] == [
        "CREATED",
        *["UPDATED"] * 4,
        "DELETED",
        "CREATED",
    ]


async def test_deletion_by_another_user_is_restored_from_the_notice(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=5)
    page = await visit()
    await connected(page)
    await page.get_by_role("button", name="Seguir Teclado").click()
    await client.delete("/api/productos/1")
    await page.locator(".toast").get_by_role("button", name="Restaurar").click()
    await expect(card(page, "#1")).to_contain_text("5 unidades")
    await expect(card(page, "#1").locator("[data-action=follow]")).to_have_attribute("aria-pressed", "true")


async def test_product_deleted_long_ago_comes_back_from_the_history(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=5)
    await create(client, nombre="Ratón")
    await client.delete("/api/productos/1")
    page = await visit()
    await connected(page)
    await page.get_by_role("button", name="Historial", exact=True).click()
    await page.locator("#moment").fill("2")
    await page.get_by_role("button", name="Historia de Teclado").click()
    await expect(page.locator("#productNow")).to_have_text("Ya no está en el inventario.")
    await page.get_by_role("button", name="Recuperar Teclado").click()
    await expect(page.locator("#productNow")).to_have_text("Ahora: $1299,99, stock 5")
    await expect(page.locator("#productEvents > li")).to_have_count(3)
    await expect(page.locator("#productEvents")).not_to_contain_text("Recuperar")
    await page.get_by_role("button", name="Cerrar", exact=True).click()
    await page.get_by_role("button", name="Volver al presente").click()
    await expect(card(page, "#1")).to_contain_text("5 unidades")
    await page.get_by_role("button", name="Editar Teclado").click()
    await page.locator("#editDialog").get_by_label("Precio").fill("20")
    await client.delete("/api/productos/1")
    await expect(page.locator("#editNotice")).to_contain_text("Alguien lo eliminó")
    await page.locator("#editDialog .toast").get_by_role("button", name="Restaurar").click()
    await expect(page.locator("#editNotice")).to_contain_text("está otra vez")
    await page.get_by_role("button", name="Guardar cambios").click()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    await expect(card(page, "#1")).to_contain_text("$20,00")


# ---- filters


async def test_stock_filters_and_value_of_the_list(visit: Visit, client: TestClient) -> None:  # noqa: F811
    for name, stock in (("Nada", 0), ("Poco", 3), ("Mucho", 50)):
        await create(client, nombre=name, precio=10.5, stock=stock)
    page = await visit()
    await expect(page.locator("#worth")).to_have_text("· $556,50")
    await page.get_by_role("button", name="Agotados").click()
    await expect(page.locator(".product-card")).to_have_count(1)
    await expect(page.locator("#matchCount")).to_have_text(" · 1 coincide")
    await page.get_by_role("button", name="Agotados").click()
    await page.get_by_role("button", name="Bajo mínimo").click()
    await expect(page.locator(".product-card")).to_have_count(2)
    await page.get_by_label("Mínimo de unidades").fill("51")
    await expect(page.locator(".product-card")).to_have_count(3)
    await page.get_by_label("Mínimo de unidades").fill("0")
    await expect(page.locator("#emptyText")).to_have_text("Con menos de 0 unidades.")
    await page.get_by_role("button", name="Ver todos").click()
    await expect(page.locator(".product-card")).to_have_count(3)
    await page.get_by_label("Mínimo de unidades").fill("4")
    await expect(page).not_to_have_url(re.compile("#"))  # the address follows the filters after 0.3 s
    await page.reload()
    await expect(page.get_by_label("Mínimo de unidades")).to_have_value("4")
    await expect(page.locator("#worth")).to_have_text("· $556,50")
    await page.get_by_role("button", name="Bajo mínimo").click()
    await expect(page.locator("#worth")).to_have_text("· $31,50")


async def test_page_has_the_title_and_the_currency_of_its_host(
    visit: Visit,  # noqa: F811
    dsn: str,
    aiohttp_server: Callable,
) -> None:
    server = await aiohttp_server(create_app(dsn=dsn, title="Almacén <b>norte</b>", currency="EUR"))
    page = await visit(str(server.make_url("/")))
    await expect(page).to_have_title("Almacén <b>norte</b>")
    await expect(page.locator("h1")).to_have_text("Almacén <b>norte</b>")
    await page.locator("#createForm").get_by_label("Nombre").fill("Teclado")
    await page.locator("#createForm").get_by_label("Precio").fill("12,5 €")
    await page.locator("#createForm").get_by_label("Stock").fill("2")
    await page.get_by_role("button", name="Crear producto").click()
    await expect(card(page, "Teclado").locator(".price")).to_have_text("12,50\u00a0€")
    with pytest.raises(ValueError, match="moneda"):
        create_app(dsn=dsn, currency="euros")


# ---- files


async def choose(page: Page, path: Path) -> None:
    if not await page.locator("#importDialog").is_visible():
        await page.get_by_role("button", name="Importar").first.click()
    async with page.expect_file_chooser() as chooser:
        await page.locator("#importFile").click()
    await (await chooser.value).set_files(path)


async def test_file_is_previewed_and_imported(visit: Visit, client: TestClient, tmp_path: Path) -> None:  # noqa: F811
    await create(client, nombre="Teclado", descripcion="=1+1", precio=10, stock=1)
    await create(client, nombre="Ratón", descripcion=None, precio=5, stock=2)
    file = tmp_path / "lista.csv"
    file.write_bytes(
        "id;nombre;descripcion;precio;stock\r\n1;Teclado;'=1+1;12,50;1\r\n2;Ratón;;5,00;2\r\n;Piñón;Acero;3,5;\r\n".encode(
            "cp1252"
        )
    )
    page, other = await visit(), await visit()
    await connected(page)
    await choose(page, file)
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo · 1 cambia · 1 sigue igual")
    await expect(page.locator("#importRows tr").filter(has_text="Piñón")).to_contain_text(
        "Nuevo: descripción «Acero» · precio $3,50"
    )
    await page.get_by_role("button", name="Importar 2").click()
    await expect(page.locator("#toasts")).to_contain_text("Importado: 1 producto nuevo, 1 cambiado")
    await expect(page.locator("#importDialog")).to_be_hidden()
    await expect(page.get_by_role("button", name="Importar").first).to_be_focused()
    for each in (page, other):
        await expect(card(each, "Piñón")).to_contain_text("0 agotado")
        await expect(card(each, "Teclado")).to_contain_text("$12,50")
    await page.wait_for_timeout(500)
    assert await page.locator(".toast").count() == 1, "nobody has to be told of what one did oneself"


async def test_rows_at_fault_stay_out_and_are_told(visit: Visit, client: TestClient, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "lista.csv"
    file.write_text("Producto,PVP,Existencias\nTeclado,12.5,3\nRatón,1.2999,x\n,3,\n")
    page = await visit()
    await choose(page, file)
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo · 2 no entran")
    await page.get_by_role("button", name="2 no entran").click()
    rows = page.locator("#importRows tr")
    await expect(rows).to_have_count(2)
    faults = [
        [await line.locator("td, th").first.text_content(), *await line.locator(".fault").all_text_contents()]
        for line in await rows.all()
    ]
    assert [[number, *(text.partition(":")[0] for text in texts)] for number, *texts in faults] == [
        ["3", "PVP", "Existencias"],
        ["4", "Producto"],
    ]
    await page.get_by_label("Redondear los precios a dos decimales").check()
    await expect(rows.first.locator(".fault")).to_have_text([re.compile("Existencias")])
    await page.get_by_role("button", name="Importar 1 válida; 2 quedan fuera").click()
    notice = page.locator(".toast").filter(has_text="1 producto nuevo")
    await expect(notice).to_contain_text("Fila 4")  # it stays
    assert [one["nombre"] for one in (await (await client.get("/api/productos")).json())["data"]] == ["Teclado"]
    file.write_text("x" * (16 * 1024 * 1024 + 1))
    await choose(page, file)
    await expect(page.locator("#importError")).to_contain_text("16 MiB")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Importar").first.click()
    await expect(page.locator("#importError")).to_be_hidden()
    file.write_text('nombre,precio\n"Teclado,1\n')
    await choose(page, file)
    await expect(page.locator("#importError")).to_contain_text("comillas")
    file.write_text("solo texto\n")
    await choose(page, file)
    await expect(page.locator("#importError")).to_be_hidden()
    await expect(page.locator("#importSummary")).to_have_text("Elige la columna de nombre y precio.")
    await expect(page.locator("#confirmImport")).to_be_disabled()


async def test_columns_are_chosen_and_kept_and_the_trial_follows_the_products(
    visit: Visit,  # noqa: F811
    client: TestClient,
    tmp_path: Path,
) -> None:
    await create(client, nombre="Teclado", descripcion=None, precio=10, stock=1)
    file = tmp_path / "lista.csv"
    file.write_text("Cosa;Vale;Sitio\nTeclado;10,00;A3\nRatón;5,00;A4\n")
    page = await visit()
    await choose(page, file)
    await expect(page.locator("#importSummary")).to_have_text("Elige la columna de nombre y precio.")
    await expect(page.locator("#import-nombre")).to_be_focused()
    await page.keyboard.type("Cosa")  # as in any list of choices
    await page.locator("#import-precio").select_option("Vale · 10,00")
    await expect(page.locator("#importAbout")).to_contain_text("No se usan: Sitio")
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo · 1 se omite · 1 con aviso")
    await page.get_by_label("Nombres que ya existen").select_option("Cambian el producto que hay")
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo · 1 sigue igual")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Importar").first.click()  # what was chosen is there
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo · 1 sigue igual")
    await client.patch("/api/productos/1", json={"precio": 12})
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo · 1 cambia")
    await expect(page.locator("#importRows")).to_contain_text("precio $12,00 → $10,00")
    await page.get_by_role("button", name="Importar 2").click()
    await expect(page.locator("#importDialog")).to_be_hidden()
    await client.post("/api/productos/2/stock", json={"delta": 7})
    await page.get_by_role("button", name="Deshacer").click()
    await expect(page.locator(".toast").filter(has_text="deshecha: 1 producto")).to_contain_text("Ratón")
    await expect(card(page, "Teclado")).to_contain_text("$12,00")
    await expect(card(page, "Ratón")).to_contain_text("7 unidades")
    await page.get_by_role("button", name="Importar").first.click()
    await expect(page.locator("#importPreview")).to_be_hidden()


async def test_each_conflict_of_a_file_is_decided_by_keyboard(
    visit: Visit,  # noqa: F811
    client: TestClient,
    tmp_path: Path,
) -> None:
    for name in ("Teclado", "Ratón", "Monitor"):
        await create(client, nombre=name, descripcion=None, precio=10, stock=40)
    page = await visit()
    await expect(page.locator("#export")).to_be_enabled()
    async with page.expect_download() as waiting:
        await page.keyboard.press("e")
    file = tmp_path / "lista.csv"
    await (await waiting.value).save_as(file)
    for product_id in (1, 2, 3):
        await client.post(f"/api/productos/{product_id}/stock", json={"delta": -3})
    text = file.read_text("utf-8-sig")
    file.write_text(text.replace("10,00;40", "10,00;50", 2).replace("10,00;40", "12,00;40"))
    await page.keyboard.press("i")
    await page.locator("#importFile").set_input_files(file)
    await expect(page.locator("#importSummary")).to_have_text("1 cambia · 2 no entran")
    await expect(page.locator("#importRows")).to_contain_text("precio $10,00 → $12,00")  # and its stock is today's
    await page.get_by_label("Qué vale en la fila 2").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("#importSummary")).to_have_text("2 cambian · 1 no entra")
    await expect(page.get_by_label("Qué vale en la fila 2")).to_be_focused()
    await page.get_by_label("Qué vale en la fila 3").select_option("Vale lo de ahora")
    await expect(page.locator("#importSummary")).to_have_text("2 cambian · 1 sigue igual")
    await page.locator("#confirmImport").press("Enter")
    await expect(page.locator("#toasts")).to_contain_text("Importado: 2 cambiados")
    rows = (await (await client.get("/api/productos")).json())["data"]
    assert [(one["precio"], one["stock"]) for one in rows] == [(12, 37), (10, 37), (10, 50)]


async def test_long_file_shows_200_rows_and_all_on_request(visit: Visit, client: TestClient, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "lista.csv"
    file.write_text("nombre;precio\n" + "".join(f"Cable {n};{'x' if n % 10 == 0 else n}\n" for n in range(1, 1001)))
    page = await visit()
    await choose(page, file)
    rows = page.locator("#importRows tr")
    await expect(page.locator("#importSummary")).to_have_text("900 nuevos · 100 no entran")
    await expect(rows).to_have_count(100)  # first what needs a look
    await page.get_by_role("button", name="100 no entran").click()
    await expect(rows).to_have_count(200)
    await page.get_by_role("button", name="Ver 800 filas más").press("Enter")
    await expect(rows).to_have_count(1000)
    await expect(page.locator("#importAll")).to_be_hidden()
    await expect(page.locator("#importTable")).to_be_focused()


SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Grams,"
    "Variant Inventory Qty,Variant Price,Image Src,Image Position\n"
)
WOOCOMMERCE = (
    'ID,Type,SKU,Name,Published,"Short description",Description,"In stock?",Stock,"Regular price",Categories\n'
)


@pytest.mark.parametrize("shop", ["shopify", "woocommerce"])
async def test_files_of_other_shops_are_mapped_by_columns(
    visit: Visit,  # noqa: F811
    client: TestClient,
    tmp_path: Path,
    shop: str,
) -> None:
    file = tmp_path / f"{shop}.csv"
    if shop == "shopify":  # a second picture of a product has a row of its own
        lines = [
            f'camisa-{n},Camisa {n},"<p>De lino, {n}</p>",Tejidos,Camisas,"a, b",true,Talla,M,C-{n},200,{n},{n}.95,https://x/{n}.jpg,1\n'
            f"camisa-{n},,,,,,,,,,,,,https://x/{n}b.jpg,2\n"
            for n in range(1, 51)
        ]
        file.write_text(SHOPIFY + "".join(lines))
    else:
        lines = [
            f'{n},simple,W-{n},Taza {n},1,"Cerámica, {n} ml","Larga\n{n}",1,{n},{n}.5,Cocina\n' for n in range(1, 51)
        ]
        file.write_text(WOOCOMMERCE + "".join(lines), encoding="utf-8-sig")
    await create(client, nombre="Ajeno")  # whose id is none of the shop's
    page = await visit()
    await choose(page, file)
    await expect(page.locator("#importSummary")).to_contain_text("50 nuevos")
    await page.locator("#confirmImport").click()
    await expect(page.locator("#toasts")).to_contain_text("50 productos nuevos")
    found = (await (await client.get("/api/productos?after=1")).json())["data"]
    assert len(found) == 50
    name, text, price = ("Camisa 7", "De lino, 7", 7.95) if shop == "shopify" else ("Taza 7", "Larga\n7", 7.5)
    assert (found[6]["nombre"], found[6]["descripcion"], found[6]["precio"], found[6]["stock"]) == (
        name,
        text,
        price,
        7,
    )
    assert (await product(client))["nombre"] == "Ajeno"


async def test_export_opens_in_a_spreadsheet_and_imports_without_changes(
    visit: Visit,  # noqa: F811
    client: TestClient,
    tmp_path: Path,
) -> None:
    for name, text in (("Teclado", "=1+1"), ('Ratón; "óptico"', "dos\nlíneas"), ("Monitor", None), ("Sin", "'=x")):
        await create(client, nombre=name, descripcion=text, precio=1299.5, stock=3)
    page = await visit()
    await expect(page.locator(".product-card")).to_have_count(4)
    await page.locator("#search").fill("o")
    await expect(page.locator(".product-card")).to_have_count(3)
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Exportar").click()
    file = tmp_path / "lista.csv"
    await (await waiting.value).save_as(file)
    assert file.read_bytes().startswith(b"\xef\xbb\xbfid;nombre;descripcion;precio;stock;updated_at\r\n")
    assert re.fullmatch(r"inventario-\d{4}-\d\d-\d\d-\d{4}\.csv", (await waiting.value).suggested_filename)
    lines = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline=""), delimiter=";"))
    assert [(line["nombre"], line["descripcion"], line["precio"]) for line in lines] == [
        ("Monitor", "", "1299,50"),
        ('Ratón; "óptico"', "dos\nlíneas", "1299,50"),
        ("Teclado", "'=1+1", "1299,50"),
    ]
    assert lines[0]["updated_at"] == (await product(client, 3))["updated_at"]
    resp = await client.post("/api/productos", data=file.read_bytes(), headers={"Content-Type": "text/csv"})
    assert (await resp.json())["data"] == {"creados": 0, "actualizados": 0}
    await choose(page, file)
    await expect(page.locator("#importSummary")).to_have_text("3 siguen iguales")
    await expect(page.locator("#confirmImport")).to_be_disabled()


def workbook(**sheets: list[str]) -> bytes:
    """An OpenDocument spreadsheet; each sheet has one column for each word of its rows."""
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    tables = "".join(
        f'<table:table table:name="{name}">'
        + "".join(f"<table:table-row>{''.join(map(cell.format, row.split()))}</table:table-row>" for row in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    names = "".join(f' xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "table", "text"))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr("META-INF/manifest.xml", "<manifest/>")
        file.writestr(
            "content.xml",
            f"<office:document-content{names}><office:body><office:spreadsheet>{tables}</office:spreadsheet>"
            "</office:body></office:document-content>",
        )
    return written.getvalue()


async def test_dropped_workbook_is_read_by_sheets(visit: Visit, client: TestClient) -> None:  # noqa: F811
    page = await visit()
    await connected(page)
    await page.evaluate(
        "(bytes) => { const data = new DataTransfer(); data.items.add(new File([new Uint8Array(bytes)], 'a.ods'));"
        "document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })) }",
        list(workbook(Enero=["nombre precio", "Teclado 1"], Febrero=["cosa vale", "Teclado 1", "Ratón 2"])),
    )
    await expect(page.locator("#importSummary")).to_have_text("1 nuevo")
    await page.get_by_label("Hoja", exact=True).select_option("Febrero")
    await expect(page.locator("#importSummary")).to_have_text("Elige la columna de nombre y precio.")
    await page.locator("#import-nombre").select_option("cosa · Teclado")
    await page.locator("#import-precio").select_option("vale · 1")
    await expect(page.locator("#importSummary")).to_have_text("2 nuevos")


async def test_chosen_rows_are_exported_and_deleted_together(
    visit: Visit,  # noqa: F811
    client: TestClient,
    tmp_path: Path,
) -> None:
    for name in ("A", "B", "C", "D", "E"):
        await create(client, nombre=name)
    page = await table(visit)
    boxes = page.get_by_role("checkbox", name=re.compile("^Elegir"))
    await expect(row(page, 5)).to_be_visible()
    await expect(boxes).to_have_count(0)  # until they are asked for
    await page.get_by_role("button", name="Elegir").click()
    await expect(boxes).to_have_count(6)
    await page.get_by_label("Elegir E").click()
    await page.get_by_label("Elegir C").click(modifiers=["Shift"])
    await expect(page.locator("#chooseAll")).to_have_js_property("indeterminate", True)
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Space")
    await expect(page.get_by_label("Elegir D")).not_to_be_checked()
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Exportar 2").click()
    await (await waiting.value).save_as(file := tmp_path / "lista.csv")
    lines = csv.DictReader(io.StringIO(file.read_text("utf-8-sig")), delimiter=";")
    assert [line["nombre"] for line in lines] == ["E", "C"]
    await page.locator("#search").fill("#5")  # what is not seen is not deleted
    await page.get_by_role("button", name="Eliminar 1").click()
    await expect(page.locator("#deleteText")).to_contain_text("desaparecerá de todas las pantallas")
    await page.locator("#deleteDialog").get_by_role("button", name="Cancelar").click()
    await page.locator("#search").fill("")
    await expect(page.get_by_role("button", name="Eliminar 2")).to_be_visible()
    await page.get_by_role("button", name="Eliminar 2").click()
    await expect(page.locator("#deleteText")).to_have_text("2 productos desaparecerán de todas las pantallas.")
    await page.locator("#confirmDelete").click()
    await expect(page.get_by_role("button", name="Elegir")).to_be_focused()
    await expect(page.locator(".product-row")).to_have_count(3)
    await expect(boxes).to_have_count(0)
    notice = page.locator(".toast").filter(has_text="Eliminado: E, C")
    await notice.get_by_role("button", name="Deshacer").click()
    await expect(page.locator(".product-row")).to_have_count(5)
    await page.get_by_role("button", name="Elegir").click()
    await page.get_by_label("Elegir todos").check()
    await expect(page.get_by_role("button", name="Eliminar 5")).to_be_visible()
    await page.get_by_label("Elegir todos").press("Escape")
    await expect(page.get_by_role("button", name="Elegir")).to_be_focused()
    await expect(boxes).to_have_count(0)


# ---- one product's history


async def test_history_of_a_product_shows_and_restores_values(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Otro")
    await create(client, nombre="Teclado", precio=10, stock=5)
    await client.post("/api/productos/2/stock", json={"delta": -2, "motivo": "venta"})
    await client.patch("/api/productos/2", json={"precio": 12, "nombre": "Teclado español"})
    page = await visit()
    await page.get_by_role("button", name="Historia de Teclado español").click()
    entries = page.locator("#productEvents > li")
    await expect(entries).to_have_count(3)
    await expect(entries.nth(0)).to_contain_text("Nombre: «Teclado» → «Teclado español»")
    await expect(entries.nth(0)).to_contain_text("Precio: $10,00 → $12,00")
    await expect(entries.nth(1)).to_contain_text("Stock: 5 → 3")
    await expect(entries.nth(1)).to_contain_text("venta")
    await expect(entries.nth(2)).to_contain_text("Creado")
    await page.get_by_role("button", name="Restaurar precio $10,00").click()
    await expect(entries).to_have_count(4)
    await expect(entries.nth(0)).to_contain_text("Precio: $12,00 → $10,00")
    await expect(page.locator("#productNow")).to_have_text("Ahora: $10,00, stock 3")
    assert (await product(client, 2))["precio"] == 10
    await client.delete("/api/productos/2")
    await expect(entries.nth(0)).to_contain_text("Eliminado")
    await expect(page.locator("#productEvents button")).to_have_accessible_name("Recuperar Teclado español")


async def test_movement_is_undone_without_those_after_it(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=20)
    for delta, reason in ((-5, "rotura"), (-1, "venta"), (-1, "venta"), (4, "entrega")):
        await client.post("/api/productos/1/stock", json={"delta": delta, "motivo": reason})
    page = await visit()
    await page.get_by_role("button", name="Historia de Teclado").click()
    entries = page.locator("#productEvents > li")
    await expect(entries.nth(3).locator("li")).to_contain_text("-5 · rotura · Stock: 20 → 15")
    await entries.nth(3).get_by_role("button", name="Deshacer este movimiento (+5)").click()
    await expect(page.locator("#productNow")).to_contain_text("stock 22")
    await expect(entries.nth(0)).to_contain_text("+5 · deshace el movimiento 2 · Stock: 17 → 22")
    await expect(entries.nth(4).get_by_role("button")).to_have_count(0)  # not a second time
    assert (await product(client))["stock"] == 22
    await client.post("/api/productos/1/stock", json={"delta": -20})
    await expect(entries).to_have_count(7)
    await page.get_by_role("button", name="Deshacer este movimiento (-4)").click()
    await expect(page.locator("#productDialog .toast.error")).to_contain_text("no alcanza, quedan 2")
    assert (await product(client))["stock"] == 2


async def test_long_history_is_paged(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=0)
    for _ in range(150):
        psql("UPDATE productos SET stock = stock + 1")
    await settled(client, 151)
    page = await visit()
    await page.get_by_role("button", name="Historia de Teclado").click()
    await expect(page.locator("#productEvents > li")).to_have_count(100)
    await expect(page.locator("#productEvents > li").first).to_contain_text("Stock: 149 → 150")
    await page.get_by_role("button", name="Ver anteriores").click()
    await expect(page.locator("#productEvents > li")).to_have_count(151)
    await expect(page.get_by_role("button", name="Ver anteriores")).to_be_hidden()


async def test_history_shows_an_event_once_that_arrives_while_it_is_loaded(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await create(client, nombre="Teclado", stock=1)
    page = await visit()
    await expect(card(page, "Teclado")).to_be_visible()

    async def late(route: Route) -> None:
        await client.patch("/api/productos/1", json={"stock": 2})
        await expect(page.locator("#productEvents > li")).to_have_count(1)
        await route.continue_()

    await page.route("**/api/eventos?producto=*", late)
    await page.get_by_role("button", name="Historia de Teclado").click()
    await expect(page.locator("#productEvents > li")).to_have_text([re.compile("Stock: 1 → 2"), re.compile("Creado")])


# ---- by keyboard


async def test_page_is_usable_by_keyboard(visit: Visit, client: TestClient) -> None:  # noqa: F811
    for name in ("Teclado", "Ratón", "Monitor"):
        await create(client, nombre=name, stock=5)
    page = await table(visit)
    await expect(page.locator(".product-row")).to_have_count(3)
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("?")
    await expect(page.locator("#helpDialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#helpDialog")).to_be_hidden()
    await page.keyboard.press("/")
    await page.keyboard.type("tecl")
    await expect(page.locator(".product-row")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="−1 unidad de Teclado")).to_be_focused()
    await page.keyboard.press("Enter")  # a scanner's next Enter sells
    await expect(row(page, 1).locator(".units")).to_have_text("4")
    await page.keyboard.press("/")
    await page.keyboard.press("Delete")
    await expect(page.locator(".product-row")).to_have_count(3)
    await page.locator("#listTitle").focus()
    await page.keyboard.press("l")
    focus = "document.activeElement.closest('[data-id]')?.dataset.id + ' ' + document.activeElement.className.replace(' flash', '')"
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    for _ in range(2):
        await page.keyboard.press("ArrowRight")
    assert await page.evaluate(focus) == "3 units figure"
    await page.keyboard.press("ArrowDown")
    assert await page.evaluate(focus) == "2 units figure"
    await page.keyboard.press("Enter")
    await page.keyboard.type("-2")
    await page.keyboard.press("Enter")
    await expect(row(page, 2).locator(".value").last).to_have_text("3")
    assert await page.evaluate(focus) == "2 units figure"
    assert await page.locator("#productTable tbody [tabindex='0']").count() == 1
    await page.keyboard.press("t")
    await expect(page.locator(".product-card")).to_have_count(3)
    await page.keyboard.press("n")
    await page.keyboard.type("n/t?")  # in a field they are letters
    await expect(page.locator("#nombre")).to_have_value("n/t?")
    await page.locator("#nombre").fill("")
    await page.locator("#help").click()
    await page.get_by_label("Usar los atajos de una letra").uncheck()
    await page.keyboard.press("Escape")
    await page.reload()
    await connected(page)
    await page.keyboard.press("n")
    await expect(page.locator("#nombre")).not_to_be_focused()


CUT = (
    "[...document.querySelectorAll('.product-row .figure, #paper td')].filter((cell) => cell.checkVisibility()"
    " && cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)"
)


async def test_paper_has_all_rows_that_match(visit: Visit, client: TestClient, psql: Callable) -> None:  # noqa: F811
    psql("SELECT setval('productos_id_seq', 1234567)")
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable ' || n, n FROM generate_series(1, 200) AS n")
    await create(client, nombre="Caro", descripcion="Vale mucho", precio=9999999999.99, stock=2147483647)
    page = await table(visit)
    await expect(page.locator("#productCount")).to_have_text("201")
    await expect(row(page, 1234768)).to_be_visible()
    assert await page.evaluate(CUT) == []
    await page.emulate_media(media="print")
    lines = page.locator("#paper tbody tr")
    await expect(lines).to_have_count(201)
    await expect(page.locator("body > :visible")).to_have_count(1)
    await expect(page.locator("button:visible")).to_have_count(0)
    await expect(lines.first).to_have_text("1234768CaroVale mucho$9.999.999.999,992.147.483.647")
    assert await page.evaluate(CUT) == []
    await page.emulate_media(media="screen")
    await page.locator("#search").fill("cable 19")
    await expect(row(page, 1234768)).to_have_count(0)
    await page.evaluate(
        "addEventListener('beforeprint', () => setTimeout(() => { window.printed = paperAbout.textContent; }))"
    )
    await page.pdf()
    await page.emulate_media(media="print")
    await expect(lines).to_have_count(12)
    about = re.compile(r"^\d+ de \w+ de 20\d\d a las .* · «cable 19» · 12 productos · \$0,00$")
    await expect(page.locator("#paperAbout")).to_contain_text(about)
    assert about.match(await page.evaluate("printed"))  # a minute may lie between the two
