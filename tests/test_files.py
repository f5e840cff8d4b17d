"""Files of real shops: what a trial tells is what an import does; what somebody has sold meanwhile does not come back."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from inventory_ws.files import reader

from .conftest import create, error, settled

FILE = {"Content-Type": "application/octet-stream"}


async def asked(client: TestClient, text: str | bytes, **query: Any) -> dict[str, Any]:
    """Sends the file, and returns the data of the answer."""
    body = text.encode() if isinstance(text, str) else text
    resp = await client.post("/api/productos", data=body, headers=FILE, params=query)
    assert resp.status == 200, await resp.text()
    return (await resp.json())["data"]


async def tried(client: TestClient, text: str | bytes, **query: Any) -> dict[str, Any]:
    """Sees what the file would do."""
    return await asked(client, text, ensayo=1, **query)


def counted(trial: dict[str, Any]) -> dict[str, int]:
    """The counts of a trial that are not 0."""
    names = ("nuevos", "cambiados", "iguales", "faltas", "avisos", "omitidos", "repetidos")
    return {name: trial[name] for name in names if trial[name]}


async def test_trial_tells_what_the_import_does(client: TestClient) -> None:
    await create(client, nombre="Teclado", precio=10, stock=1)
    await create(client, nombre="Ratón", precio=5, stock=2)
    await settled(client, 2)
    file = "id;nombre;precio;stock\n1;Teclado;12,50;1\n2;Ratón;5;2\n;Cable;1;-3\n;Silla;x;1\n;;;\n;Total;99;9\n"
    trial = await tried(client, file)
    assert {
        name: trial[name] for name in ("formato", "codificacion", "separador", "hojas", "hoja", "fila_titulos")
    } == {
        "formato": "csv",
        "codificacion": "utf-8",
        "separador": ";",
        "hojas": [],
        "hoja": None,
        "fila_titulos": 1,
    }
    assert trial["columnas"][1] == {
        "columna": 2,
        "titulo": "nombre",
        "campo": "nombre",
        "muestra": ["Teclado", "Ratón", "Cable"],
    }
    assert trial["desde"] == 2
    assert counted(trial) == {"nuevos": 1, "cambiados": 1, "iguales": 1, "faltas": 1, "omitidos": 1, "avisos": 2}
    changed, same, new, wrong, total = trial["filas"]
    assert changed == {
        "fila": 2,
        "estado": "cambiado",
        "id": 1,
        "nombre": "Teclado",
        "antes": {"precio": 10},
        "despues": {"precio": 12.5},
        "conflicto": False,
        "errors": [],
        "avisos": [],
    }
    assert (same["fila"], same["estado"]) == (3, "igual")
    assert (new["estado"], new["id"], new["avisos"]) == ("nuevo", None, ["el stock era -3: se importa 0"])
    assert new["despues"] == {"nombre": "Cable", "precio": 1, "stock": 0}
    assert wrong["errors"] == [{"row": 5, "field": "precio", "message": "tiene que ser un número"}]
    assert (total["estado"], total["avisos"]) == ("omitido", ["parece una fila de totales"])
    assert [row["fila"] for row in (await tried(client, file, solo="aviso"))["filas"]] == [4, 7]
    assert (await tried(client, file, limite=1))["filas"] == [changed]
    assert await last_event(client) == 2
    resp = await client.post("/api/productos", data=file.encode(), headers=FILE)
    assert (await error(resp, 400))["errors"] == wrong["errors"]
    assert await asked(client, file, filas="validas") == {
        "creados": 1,
        "actualizados": 1,
        "restantes": wrong["errors"],
    }


async def last_event(client: TestClient) -> int:
    return (await (await client.get("/api/salud")).json())["data"]["last_event_id"]


async def test_columns_are_chosen_where_titles_tell_nothing(client: TestClient) -> None:
    trial = await tried(client, "Mouse;12,50;3\nTeclado;20;4\n")
    assert trial["fila_titulos"] is None
    assert [fault["field"] for fault in trial["errors"]] == ["nombre", "precio"]
    assert [column["titulo"] for column in trial["columnas"]] == ["columna 1", "columna 2", "columna 3"]
    chosen = {"nombre": "columna 1", "precio": "columna 2", "stock": "columna 3"}
    assert counted(await tried(client, "Mouse;12,50;3\nTeclado;20;4\n", **chosen)) == {"nuevos": 2}
    assert (await tried(client, "Producto;2;3\nMouse;1;2\n"))["fila_titulos"] is None  # a product of that name
    assert [column["titulo"] for column in (await tried(client, "Cosa;;Nada\na;b;\n"))["columnas"]] == [
        "Cosa",
        "columna 2",
        "Nada",
    ]
    file = "Producto;Nombre;Precio;Cantidad;Stock\nA1;Mouse;1;2;3\n"
    assert (await tried(client, file))["filas"][0]["despues"] == {"nombre": "Mouse", "precio": 1, "stock": 3}
    chosen = {"nombre": "Producto", "stock": ""}
    assert (await tried(client, file, **chosen))["filas"][0]["despues"] == {"nombre": "A1", "precio": 1}
    assert (await tried(client, file, precio="Coste"))["errors"] == [
        {"row": 1, "field": "precio", "message": "no hay ninguna columna «Coste»"},
        {"row": 1, "field": "precio", "message": "falta esta columna"},
    ]


async def test_name_that_exists_is_omitted_updated_or_created(client: TestClient) -> None:
    await create(client, nombre="Mouse", precio=10, stock=1)
    file = "nombre,precio,stock\nMouse,11,\nCable,1,2\nCable,3,4\n"
    trial = await tried(client, file)
    assert counted(trial) == {"nuevos": 3, "avisos": 2, "repetidos": 2}
    assert [row["avisos"] for row in trial["filas"]] == [
        ["ya hay un producto con este nombre"],
        [],
        ["el mismo nombre que en la fila 3"],
    ]
    assert counted(await tried(client, file, repetidos="omitir")) == {
        "nuevos": 1,
        "omitidos": 2,
        "avisos": 2,
        "repetidos": 2,
    }
    trial = await tried(client, file, repetidos="actualizar")
    assert counted(trial) == {"nuevos": 1, "cambiados": 1, "faltas": 1, "repetidos": 2}
    assert (trial["filas"][0]["id"], trial["filas"][0]["despues"]) == (1, {"precio": 11})
    count = "nombre,stock\nMouse,7\nOtro,1\n"  # a count of what exists needs no prices
    trial = await tried(client, count, repetidos="actualizar")
    assert [row["despues"] for row in trial["filas"]] == [{"stock": 7}, None]
    assert trial["filas"][1]["errors"] == [{"row": 3, "field": "precio", "message": "es obligatorio"}]
    await asked(client, count, repetidos="actualizar", filas="validas")
    assert (await (await client.get("/api/productos/1")).json())["data"]["stock"] == 7


async def exported(client: TestClient) -> list[dict[str, str]]:
    """The list as a spreadsheet reads it from the web."""
    resp = await client.get("/api/productos.csv")
    return list(csv.DictReader(io.StringIO(await resp.text(), newline="")))


def file_of(rows: list[dict[str, str]]) -> str:
    """The rows as a file."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


async def test_price_list_that_comes_back_sells_nothing_again(client: TestClient) -> None:
    for name in ("Mouse", "Cable", "Silla"):
        await create(client, nombre=name, descripcion=None, precio=10, stock=40)
    rows = await exported(client)
    for number in (1, 2):
        await client.post(f"/api/productos/{number}/stock", json={"delta": -3})
    rows[0]["precio"] = rows[2]["precio"] = "12.00"
    assert counted(await tried(client, file_of(rows))) == {"cambiados": 2, "iguales": 1}
    assert await asked(client, file_of(rows)) == {"creados": 0, "actualizados": 2}
    assert [(row["precio"], row["stock"]) for row in await exported(client)] == [
        ("12.00", "37"),
        ("10.00", "37"),
        ("12.00", "40"),
    ]
    assert counted(await tried(client, file_of(rows))) == {"iguales": 3}  # the same file again


async def test_cell_that_both_changed_is_decided_by_a_person(client: TestClient, psql: Callable) -> None:
    for name in ("Mouse", "Cable"):
        await create(client, nombre=name, precio=10, stock=40)
    rows = await exported(client)
    for number in (1, 2):
        await client.post(f"/api/productos/{number}/stock", json={"delta": -3})
        await client.patch(f"/api/productos/{number}", json={"precio": 11.5})
        rows[number - 1] |= {"stock": "39", "precio": "12", "nombre": "Otro"}
    trial = await tried(client, file_of(rows))
    assert counted(trial) == {"faltas": 2}
    assert trial["filas"][0]["conflicto"]
    assert trial["filas"][0]["errors"] == [
        {"row": 2, "field": "precio", "message": "era 10,00 al exportar, ahora es 11,50 y en el archivo 12,00"},
        {"row": 2, "field": "stock", "message": "era 40 al exportar, ahora es 37 y en el archivo 39"},
    ]
    decided = await tried(client, file_of(rows), conflictos="actual,2:archivo")
    assert [row["despues"] for row in decided["filas"]] == [
        {"nombre": "Otro", "precio": 12, "stock": 39},
        {"nombre": "Otro"},
    ]
    assert counted(await tried(client, file_of(rows), conflictos="3:actual")) == {"faltas": 1, "cambiados": 1}
    psql("DELETE FROM eventos")  # the log does not know any more what was exported
    trial = await tried(client, file_of(rows))
    assert trial["filas"][0]["errors"][2] == {
        "row": 2,
        "field": "stock",
        "message": "ahora es 37, en el archivo 39, y no se sabe qué era al exportar",
    }
    rows = [
        row | {"nombre": name, "precio": "11.5", "stock": "37"}
        for row, name in zip(rows, ("Mouse", "Cable"), strict=True)
    ]
    assert counted(await tried(client, file_of(rows))) == {"iguales": 2}
    rows[0]["updated_at"] = "2026-13-45T10:00:00.000Z"  # a spreadsheet has rewritten it
    rows[0]["stock"] = "39"
    assert counted(await tried(client, file_of(rows))) == {"faltas": 1, "iguales": 1}
    await asked(client, file_of(rows), conflictos="archivo")
    assert [row["stock"] for row in await exported(client)] == ["39", "37"]


FIELDS = ("descripcion", "precio", "stock")
CHANGES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(FIELDS), st.integers(0, 3)), max_size=15)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=CHANGES, after=CHANGES, edits=CHANGES)
async def test_untouched_cells_change_nothing_and_touched_cells_are_written_or_reported(
    client: TestClient, psql: Callable, before: list, after: list, edits: list
) -> None:
    """Whatever the file and others change, in any order. A row that is reported keeps all its values."""
    sql = """
        INSERT INTO productos (nombre, descripcion, precio, stock) SELECT 'x', NULL, 0, 0 FROM generate_series(0, 4) RETURNING id
        """
    ids = [number for (number,) in psql(sql)]

    def change(changes: list) -> None:
        for place, field, value in changes:
            psql(f"UPDATE productos SET {field} = '{value}' WHERE id = {ids[place]}")

    async def now() -> list[dict[str, str]]:
        return [row for row in await exported(client) if int(row["id"]) in ids]

    def values(rows: list[dict[str, str]]) -> dict[tuple[int, str], int]:
        return {(place, field): int(float(row[field] or -1)) for place, row in enumerate(rows) for field in FIELDS}

    change(before)
    rows = await now()
    base = values(rows)
    change(after)
    today = values(await now())
    for place, field, value in edits:
        rows[place][field] = str(value)
    mine = values(rows)
    done = await asked(client, file_of(rows), filas="validas")
    result = values(await now())
    reported = {(fault["row"] - 2, fault["field"]) for fault in done["restantes"]}
    assert reported == {cell for cell in mine if len({mine[cell], base[cell], today[cell]}) == 3}
    left = {place for place, _ in reported}
    for cell in mine:
        written = mine[cell] != base[cell] and cell[0] not in left
        assert result[cell] == (mine[cell] if written else today[cell]), cell


async def test_import_is_taken_back_where_nobody_has_touched_it(client: TestClient, psql: Callable) -> None:
    for name in ("Mouse", "Cable", "Silla"):
        await create(client, nombre=name, descripcion=None, precio=10, stock=40)
    file = "id;nombre;precio;descripcion\n1;Ratón;12;d\n2;Cable;12;\n3;Silla;10;\n;Mesa;1;\n;Cama;1;\n;Lámpara;1;\n"
    keyed = FILE | {"Idempotency-Key": "la/importación".replace("ó", "o")}
    resp = await client.post("/api/productos", data=file.encode(), headers=keyed)
    assert (await resp.json())["data"] == {"creados": 3, "actualizados": 2}
    await client.post("/api/productos/2/stock", json={"delta": -1})
    await client.post("/api/productos/5/stock", json={"delta": 1})
    await client.delete("/api/productos/6")
    await create(client, nombre="Otro")

    async def undo(key: str) -> tuple[dict[str, Any], str | None]:
        path = "/api/importaciones/la%2Fimportacion/deshacer"
        resp = await client.post(URL(path, encoded=True), headers={"Idempotency-Key": key})
        assert resp.status == 200, await resp.text()
        return (await resp.json())["data"], resp.headers.get("Idempotency-Replayed")

    undone, replayed = await undo("k")
    assert (undone["deshechos"], replayed) == (2, None)  # Ratón and Mesa
    assert [(row["nombre"], row["precio"], row["stock"]) for row in undone["tocados"]] == [
        ("Cable", 12, 39),
        ("Cama", 1, 1),
    ]
    assert [(row["nombre"], row["descripcion"], row["precio"]) for row in await exported(client)][:3] == [
        ("Mouse", "", "10.00"),
        ("Cable", "", "12.00"),
        ("Silla", "", "10.00"),
    ]
    assert await undo("k") == (undone, "true")
    assert (await undo("k2"))[0]["deshechos"] == 0  # what was taken back is touched
    events = (await (await client.get("/api/eventos?limit=1000")).json())["data"]
    assert [event.get("motivo") for event in events].count("deshacer importación") == 2
    for key in ("k", "otra"):  # no import
        await error(await client.post(f"/api/importaciones/{key}/deshacer"), 404)


async def test_import_of_which_the_log_has_other_events_than_it_says_is_not_taken_back(
    client: TestClient, psql: Callable
) -> None:
    """As in a restored dump, in which one transaction has written all events."""
    for _ in range(2):
        await create(client)
    headers = FILE | {"Idempotency-Key": "k"}
    await client.post("/api/productos", data=b"id,precio\n1,2\n", headers=headers)
    await client.post("/api/productos/2/stock", json={"delta": 1})
    psql("UPDATE eventos SET tipo = tipo")
    await error(await client.post("/api/importaciones/k/deshacer"), 404)
    assert [row["precio"] for row in await exported(client)] == ["2.00", "1299.99"]


async def test_spreadsheet_gets_the_list_from_an_address_of_its_own(client: TestClient) -> None:
    """Its "from the web" sends no header that tells what it wants."""
    await create(client, nombre="Teclado")
    await create(client, nombre="Ratón")
    resp = await client.get("/api/productos.csv?q=raton", headers={"Accept": "*/*"})
    assert resp.content_type == "text/csv"
    found = list(csv.DictReader(io.StringIO(await resp.text(), newline="")))
    assert [(row["id"], row["nombre"], row["updated_at"][-1]) for row in found] == [("2", "Ratón", "Z")]


async def test_workbook_without_the_extra_is_415(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: object) -> None:
        raise reader.NotInstalled

    monkeypatch.setattr(reader, "_convert", raising)
    resp = await client.post("/api/productos?ensayo=1", data=reader.ZIP, headers=FILE)
    assert "inventory-ws[files]" in (await error(resp, 415))["message"]


async def test_name_that_a_spreadsheet_has_rewritten_is_worth_a_warning(client: TestClient) -> None:
    rewritten = [  # by Excel, or by LibreOffice with "detect special numbers" in an English and a Spanish locale
        ("00123", "123"),
        ("1/2", "01-feb"),
        ("12E5", "1200000"),
        ("12E5", "1,20E+06"),
        ("(5)", "-5"),
        ("50%", "50.00%"),
        ("50%", "50,00\u00a0%"),
        ("$5", "$5.00"),
        ("12:30", "12:30:00"),
        ("00:00", "12:00:00 AM"),
        ("12:30", "12:30:00 p.\u00a0m."),
        ("True", "VERDADERO"),
    ]
    for name, _ in [*rewritten, ("Mouse", "")]:
        await create(client, nombre=name)
    rows = "".join(f"{n};{name}\n" for n, (_, name) in enumerate([*rewritten, ("", "Ratón 5%")], 1))
    trial = await tried(client, f"id;nombre\n{rows}")
    assert [row["avisos"] for row in trial["filas"]] == [
        *([f"¿cambió la hoja de cálculo el nombre «{name}»?"] for name, _ in rewritten),
        [],
    ]


async def test_line_breaks_that_a_spreadsheet_has_rewritten_change_nothing(client: TestClient) -> None:
    """LibreOffice 7.4 writes every line break within a cell as LF."""
    await create(client, descripcion="uno\r\ndos")
    row = (await exported(client))[0]
    assert counted(await tried(client, file_of([row | {"descripcion": "uno\ndos"}])))["iguales"] == 1
    assert counted(await tried(client, file_of([row | {"descripcion": "uno\n\ndos"}])))["cambiados"] == 1


async def test_query_of_a_file_is_checked(client: TestClient) -> None:
    for query in ("solo=x", "filas=pocas", "limite=-1", "conflictos=7:yo", "ensayo=quizas", "hoja=%00"):
        resp = await client.post(f"/api/productos?{query}", data=b"nombre,precio\n", headers=FILE)
        assert [fault["field"] for fault in (await error(resp, 400))["errors"]] == [query.partition("=")[0]]


async def test_body_without_a_type_is_no_file(client: TestClient) -> None:
    """A foreign page can send one without being asked by the browser."""
    for kind in ("", ";", "text/plain", "application/x-www-form-urlencoded"):
        resp = await client.post("/api/productos", data=b"nombre,precio\n", headers={"Content-Type": kind})
        await error(resp, 415)
    resp = await client.post("/api/productos", data=b"nombre,precio\n", skip_auto_headers=["Content-Type"])
    await error(resp, 415)
    resp = await client.post(
        "/api/productos", data=b"nombre,precio\n", headers={"Content-Type": "Text/CSV ; charset=x"}
    )
    assert resp.status == 200
