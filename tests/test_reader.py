"""What the reader makes of a file: numbers, titles, separators, encodings and workbooks of other programs."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from inventory_ws.files import csvfile
from inventory_ws.files.reader import UNREAD, FileQuery, NotInstalled, Table, read


def rows(table: Table) -> list[dict[str, Any]]:
    return [row["campos"] for row in json.loads(table.rows)]


def messages(table: Table) -> list[str]:
    return [f"{fault['row']} {fault['field']}: {fault['message']}" for fault in table.faults]


@pytest.mark.parametrize(
    ("column", "read_as"),
    [  # the numbers of one column, and what they are; a text is the reason of a refusal
        ("1.299,00 | 1.299", ["1299.00", "1299.00"]),
        ("1,299.00 | 1,299", ["1299.00", "1299.00"]),
        ("12,50 | 1.299", ["12.50", "1299.00"]),
        ("12.50 | 1,299", ["12.50", "1299.00"]),
        ("1.299", ["puede ser 1299,00 o 1,30: escríbalo con dos decimales"]),
        ("51,397", ["puede ser 51397,00 o 51,40: escríbalo con dos decimales"]),
        ("12,50 | 12.50 | 1.299", ["12.50", "12.50", "puede ser 1299,00 o 1,30: escríbalo con dos decimales"]),
        ("1.299.000", ["1299000.00"]),
        ("1 299,00 | 1\u00a0299 | 1\u202f299,5 | 1'299.00", ["1299.00", "1299.00", "1299.50", "1299.00"]),
        ("$7,249.00 | $ 12", ["7249.00", "12.00"]),
        ("1.299,00 € | €5 | 5 EUR | 7,5€", ["1299.00", "5.00", "5.00", "7.50"]),
        ("US$ 3.50 | S/ 4.00 | MXN 5.00", ["3.50", "4.00", "5.00"]),
        ("34.0000 | 100.0000 | 0.500", ["34.00", "100.00", "0.50"]),
        ("0.30000000000000004 | 19,989999771118164", ["0.30", "19.99"]),  # binary numbers that pandas or tablib write
        ("12.345678901234567 | 0.0000001", ["tiene más de 2 decimales", "tiene más de 2 decimales"]),
        ("12.345,678 | 0.125", ["tiene más de 2 decimales", "tiene más de 2 decimales"]),
        ("-1 | \u22121,50 | -$2 | (12,50 €) | 1.299,00-", ["no puede ser menor que 0"] * 5),
        ("variable | 12 % | 1.2.3 | 12,", ["tiene que ser un número"] * 4),
        ("1234.567", ["tiene más de 2 decimales"]),
        ("", ["es obligatorio"]),
    ],
)
def test_prices_are_read_as_they_are_meant_or_refused_with_the_repair(column: str, read_as: list[str]) -> None:
    cells = column.split(" | ")
    table = read(("nombre;precio\n" + "".join(f"x;{cell}\n" for cell in cells)).encode(), FileQuery())
    wrong = {fault["row"]: fault["message"] for fault in table.faults}
    assert [wrong.get(n, row.get("precio")) for n, row in enumerate(rows(table), 2)] == read_as


@pytest.mark.parametrize(
    ("prices", "column", "read_as"),
    [
        ("1", "7.0 | 5,00 | 3 uds. | 12 unidades | -4", [7, 5, 3, 12, 0]),
        ("1", "1.000", ["puede ser 1000 o 1: escríbalo sin separador"]),
        ("12,50", "1.000 | 2,5", [1000, "tiene que ser un número entero"]),
        ("12,50", "5- | (1.005) | 3,00-", [0, 0, 0]),
        ("12.50", "1,000 | 5.000", [1000, 5]),
        ("1", "muchas | ", ["tiene que ser un número entero", 0]),
    ],
)
def test_stock_is_a_whole_number(prices: str, column: str, read_as: list[Any]) -> None:
    table = read(
        ("nombre;precio;stock\n" + "".join(f"x;{prices};{cell}\n" for cell in column.split(" | "))).encode(),
        FileQuery(),
    )
    wrong = {fault["row"]: fault["message"] for fault in table.faults}
    assert [wrong.get(n, row.get("stock")) for n, row in enumerate(rows(table), 2)] == read_as


def test_price_is_rounded_on_request() -> None:
    table = read(b"nombre;precio\nx;12,345\ny;1,5\nz;7,125\nw;" + b"1" * 40 + b",5", FileQuery(redondear=True))
    assert [row.get("precio") for row in rows(table)] == ["12.35", "1.50", "7.13", None]
    assert messages(table) == ["5 precio: tiene demasiadas cifras"]


@pytest.mark.parametrize(
    ("titles", "names"),
    [
        ("nombre;precio;stock", "nombre precio stock"),
        ("Artículo;P.V.P.;Uds.", "Artículo P.V.P. Uds."),
        ("Código;Denominación;PVP con IVA;Existencias", "Denominación PVP con IVA Existencias"),
        ("Ref;Descripción;Precio venta;Existencia", "Descripción Precio venta Existencia"),
        ("PRODUCTO;Precio (€);Stock actual", "PRODUCTO Precio (€) Stock actual"),
        ("Item name;Precio [Tienda];En inventario [Tienda]", "Item name Precio [Tienda] En inventario [Tienda]"),
        ("Title;Variant Price;Variant Inventory Qty", "Title Variant Price Variant Inventory Qty"),
        ("name;list_price;qty", "name list_price qty"),
        ("producto;precioVenta;cantidad", "producto precioVenta cantidad"),
        ("producto;precio_venta;unidades", "producto precio_venta unidades"),
        ("Name;Regular price;Stock", "Name Regular price Stock"),
        ("Nombre*;Precio público:;Cantidad", "Nombre* Precio público: Cantidad"),
        ("title;unitprice;quantity", "title unitprice quantity"),
        ("Producto;Nombre;Precio;Cantidad;Stock", "Nombre Precio Stock"),
        ("Nombre;Precio sin IVA (sin impuestos);Precio;Stock", "Nombre Precio Stock"),
        ("Nombre;Precio (sin IVA);Precio (con IVA);Uds", "Nombre Precio (con IVA) Uds"),
        ("Product/Service Name;Sales Price;Quantity On Hand", "Product/Service Name Sales Price Quantity On Hand"),
        ("Product Name;Cost Price;Price;Current Stock Level", "Product Name Price Current Stock Level"),
        ("Title;Available quantity;Start price", "Title Start price Available quantity"),
        ("Name *;Price tax excluded;Wholesale price;Quantity", "Name * Price tax excluded Quantity"),
        ("Producto;Stock;Precio Venta Neto;Precio Venta Bruto", "Producto Precio Venta Bruto Stock"),
        ("Código;Descripción;Precio venta 1;Precio venta 2;Stock", "Descripción Precio venta 1 Stock"),
        ("Articulo;PVP1;PVP2;Stock", "Articulo PVP1 Stock"),
    ],
)
def test_titles_of_other_programs_are_found(titles: str, names: str) -> None:
    table = read(f"{titles}\n".encode(), FileQuery())
    found = {column["campo"]: column["titulo"] for column in table.about["columnas"]}
    assert " ".join(found[field] for field in ("nombre", "precio", "stock")) == names


@pytest.mark.parametrize(
    ("file", "titles", "found"),
    [
        ("Tarifa 2026;;\n;;\nNombre;Precio;Uds\nMouse;1;2\n", 3, ["Mouse"]),  # a title line
        ("sep=;\nNombre;Precio\nMouse, negro;1\n", 2, ["Mouse, negro"]),
        ('sep="\nNombre;Precio\nMouse;1\n', 2, ["Mouse"]),  # which separates nothing
        ("Nombre;Precio\nMouse;1\nNombre;Precio\nCable;2\n", 1, ["Mouse", "Cable"]),  # repeated on each page
        ("Nombre\tPrecio\r\nTubo 1/2, de 3;4\t12,50\r\n", 1, ["Tubo 1/2, de 3;4"]),
        ("Nombre|Precio\nMouse|12,50\n", 1, ["Mouse"]),
        ('"a;b";nombre;precio\n"x;y;z";Mouse;1,50\n', 1, ["Mouse"]),  # separators in quotes
        ('nombre,precio\n"a;b;c",1\n"d;e;f",2\n', 1, ["a;b;c", "d;e;f"]),
        ("nombre;precio\rMouse;1\rCable;2\r", 1, ["Mouse", "Cable"]),
        ("nombre;precio;;\nMouse;1;;\n ;\u00a0;;\n\x1a", 1, ["Mouse"]),  # blanks, and the end mark of DOS
    ],
)
def test_rows_are_found_whatever_separates_or_surrounds_them(file: str, titles: int, found: list[str]) -> None:
    table = read(file.encode(), FileQuery())
    assert (table.about["fila_titulos"], messages(table)) == (titles, [])
    assert [row["nombre"] for row in rows(table)] == found


def test_row_with_a_cell_too_many_is_a_fault() -> None:
    table = read(b"nombre,precio,stock\nTubo 1,5 m,12,3\nMouse,1,2,,\n", FileQuery())
    assert messages(table) == ["2 : tiene más celdas que la cabecera"]


NAMES = ["Piñón dulce", "Jamón ibérico", "Champú niños", "¡Oferta!", "ESPAÑOL", "Café 3 €", "Éter", "Talla nº 2"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "windows-1252", "cp850", "mac-roman"]
)
def test_names_survive_every_encoding(encoding: str) -> None:
    names = [name for name in NAMES if encoding != "cp850" or "€" not in name]
    table = read(("nombre;precio\r\n" + "".join(f"{name};1\r\n" for name in names)).encode(encoding), FileQuery())
    assert [row["nombre"] for row in rows(table)] == names


@pytest.mark.parametrize(
    "word", ["Piñón", "Azúcar", "Café", "Champú", "ESPAÑOL", "Baúl", "Pingüino", "Té", "¿Sí?", "Ñoquis"]
)
@pytest.mark.parametrize("encoding", ["windows-1252", "cp850", "mac-roman"])
def test_one_word_tells_the_encoding(word: str, encoding: str) -> None:
    table = read(f"nombre;precio\n{word};1\n".encode(encoding), FileQuery())
    assert rows(table)[0]["nombre"] == word


def test_encoding_is_found_in_a_part_of_a_long_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search in all of it would keep the event loop from running for as long as it takes."""
    sizes, likeliness = [], csvfile._likeliness
    monkeypatch.setattr(csvfile, "_likeliness", lambda text: sizes.append(len(text)) or likeliness(text))
    file = "nombre;precio\n" + "Cable;1\n" * 10_000 + "Piñón;1\n" * 30_000
    assert csvfile.decoded(file.encode("mac-roman")) == (file, "mac-roman")
    assert max(sizes) <= csvfile.SAMPLE


def test_what_is_worth_a_look_is_said() -> None:
    file = 'nombre;precio;stock;descripcion\nPi├▒on;1;1;\nCafÃ©;1;1;"<p>Uno &amp; <b>dos</b></p>"\nTotal:;2;2;\nTotal Clean;1;1;a < b\n'
    read_rows = json.loads(read(file.encode(), FileQuery()).rows)
    assert [row.get("avisos") for row in read_rows] == [
        ["el nombre parece guardado con otra codificación"],
        ["el nombre parece guardado con otra codificación"],
        ["parece una fila de totales"],
        None,
    ]
    assert [row["campos"].get("descripcion") for row in read_rows] == [None, "Uno & dos", None, "a < b"]


def xlsx(sheets: dict[str, str], hidden: str = "") -> bytes:
    """A workbook of sheets, each the XML of its rows; the one that is `hidden` is not shown."""
    names = list(sheets)
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    rels = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    entries = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"{" state=" + chr(34) + "hidden" + chr(34) if name == hidden else ""}/>'
        for n, name in enumerate(names, 1)
    )
    links = "".join(
        f'<Relationship Id="r{n}" Type="{kind}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(names) + 1)
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("[Content_Types].xml", "<Types/>")
        parts.writestr(
            "_rels/.rels",
            f'<Relationships {rels}><Relationship Id="r1" Type="{kind}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        parts.writestr("xl/workbook.xml", f'<workbook {main} xmlns:r="{kind}"><sheets>{entries}</sheets></workbook>')
        parts.writestr("xl/_rels/workbook.xml.rels", f"<Relationships {rels}>{links}</Relationships>")
        for n, rows in enumerate(sheets.values(), 1):
            parts.writestr(
                f"xl/worksheets/sheet{n}.xml", f"<worksheet {main}><sheetData>{rows}</sheetData></worksheet>"
            )
    return file.getvalue()


def row(number: int, *cells: object) -> str:
    """The XML of a row: texts, numbers, and formulas, which are texts with `=`; None: no cell."""
    found = ""
    for letter, cell in zip("ABCDEF", cells, strict=False):
        if isinstance(cell, str) and cell.startswith("="):
            found += f'<c r="{letter}{number}"><f>{cell[1:]}</f><v></v></c>'
        elif isinstance(cell, str):
            found += f'<c r="{letter}{number}" t="inlineStr"><is><t>{cell}</t></is></c>'
        elif cell is not None:
            found += f'<c r="{letter}{number}"><v>{cell}</v></c>'
    return f'<row r="{number}">{found}</row>'


def replaced(workbook: bytes, old: str, new: str) -> bytes:
    """The workbook with another text in its parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as parts, zipfile.ZipFile(file, "w") as written:
        for name in parts.namelist():
            written.writestr(name, parts.read(name).replace(old.encode(), new.encode()))
    return file.getvalue()


def test_workbook_is_read_from_its_first_visible_sheet_with_cells() -> None:
    sheet = row(3, None, "Artículo", "P.V.P.", "Uds.") + "".join(
        row(n, None, *cells)
        for n, cells in enumerate(
            [
                ("Piñón", 1299, 3),
                ("Cable", 36.300000000000004, 4.0),
                ("00123", 12.5, None),
                (123, 1.299, 1),
                ("Fórmula", 1, "=2*3"),
                ("Texto", "1.299,50 €", "1.000"),
                (None, 2, 3),  # the rest of a merged cell
            ],
            4,
        )
    )
    book = xlsx(
        {"Oculta": row(1, "a", "b"), "Vacía": "", "Precios": sheet, "Otra": row(1, "nombre", "precio")}, "Oculta"
    )
    table = read(book, FileQuery())
    about = [table.about[name] for name in ("formato", "hojas", "hoja", "fila_titulos")]
    assert about == ["xlsx", ["Oculta", "Vacía", "Precios", "Otra"], "Precios", 3]
    assert [(row.get("nombre"), row.get("precio"), row.get("stock")) for row in rows(table)] == [
        ("Piñón", "1299.00", 3),
        ("Cable", "36.30", 4),
        ("00123", "12.50", 0),
        ("123", None, None),
        ("Fórmula", "1.00", 0),
        ("Texto", "1299.50", 0),
        ("", None, None),
    ]
    assert messages(table) == [
        "7 precio: tiene más de 2 decimales",
        "8 stock: es una fórmula sin calcular, o con un error: guarde el archivo con la hoja de cálculo",
        "9 stock: puede ser 1000 o 1: escríbalo sin separador",
        "10 nombre: es obligatorio",
    ]
    assert read(book, FileQuery(hoja="Otra")).about["fila_titulos"] == 1
    assert messages(read(book, FileQuery(hoja="Ninguna"))) == [
        "1 : no hay ninguna hoja con ese nombre, o ninguna con datos"
    ]


def test_formula_without_a_value_is_told_of_its_own_sheet_alone() -> None:
    head = row(1, "nombre", "precio", "stock")
    error = '<row r="2"><c r="A2" t="str"><v>A</v></c><c r="B2"><v>1</v></c><c r="C2" s="1" t="e"><f>1/0</f><v>#DIV/0!</v></c></row>'
    sheets = {"Bien": head + row(2, "A", 1, None), "Sin calcular": head + row(2, "A", 1, "=2*3"), "Error": head + error}
    sheets |= {
        "Sin r": sheets["Error"].replace(' r="C2"', ""),
        "Con r al final": head + error.replace(' r="C2" s="1"', ' s="1" r="C2"'),
    }
    refusal = "2 stock: es una fórmula sin calcular, o con un error: guarde el archivo con la hoja de cálculo"
    closedxml = {
        name: re.sub("(</?)([cfv]\\b)", r"\1x:\2", sheet) for name, sheet in sheets.items()
    }  # a library of .NET
    for book in sheets, closedxml:
        file = replaced(
            xlsx(book), "<worksheet ", '<worksheet xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
        )
        found = {sheet: messages(read(file, FileQuery(hoja=sheet))) for sheet in sheets}
        assert found == {name: [] if name == "Bien" else [refusal] for name in sheets}


def test_formula_that_its_writer_has_not_computed_is_no_zero() -> None:
    """As XlsxWriter 3.3.1 writes them: 0 is the value of each, and the program that opens the file is asked to compute them."""
    head, asking = row(1, "nombre", "precio", "stock"), '<calcPr calcId="1" fullCalcOnLoad="1"/></workbook>'
    cells = head + row(2, "Cable", "=2*3", 0) + row(3, "Tubo", 1, "=2*3")
    zeros = xlsx({"Hoja": cells.replace("<v></v>", "<v>0</v>")})
    others = xlsx({"Hoja": cells.replace("<v></v>", "<v>6</v>", 1).replace("<v></v>", "<v>0</v>")})
    refused = ["2 precio: es una fórmula sin", "3 stock: es una fórmula sin "]
    assert messages(read(zeros, FileQuery())) == []
    assert [fault[:28] for fault in messages(read(replaced(zeros, "</workbook>", asking), FileQuery()))] == refused
    assert messages(read(replaced(others, "</workbook>", asking), FileQuery())) == []  # somebody has computed them


def test_errors_of_old_programs_are_told_of_their_own_sheet_alone() -> None:
    """A file of LibreOffice 7.4; of a cell whose formula was pasted as its value nothing but the error is left."""
    file = (Path(__file__).parent / "files" / "errores.xls").read_bytes()
    start = file.index(b"\x06\x00\x19\x00\x02\x00\x02\x00")  # the formula of C3
    pasted = b"\x05\x02\x08\x00" + file[start + 4 : start + 10] + b"\x2a\x01" + b"\xff\x0f\x0d\x00" + bytes(13)
    for body in file, file[:start] + pasted + file[start + len(pasted) :]:
        assert messages(read(body, FileQuery())) == []
        assert [fault.split(":")[0] for fault in messages(read(body, FileQuery(hoja="Segunda")))] == [
            "2 stock",
            "3 stock",
        ]


@pytest.mark.parametrize(
    ("value", "saved", "told"),
    [
        (bytes(8) + b"\x03\x00", True, True),  # POI 4.0 and WriteExcel: a 0, to be computed on load
        (bytes(8) + b"\x00\x00", True, False),
        (b"\x02\x00\x17\x30\x54\x06\xff\xff\x00\x00", True, True),  # Excel: #REF!, beside what nobody uses
        (b"\x03\x00\x00\x00\x00\x00\xff\xff\x00\x00", False, True),  # xlwt: an empty text
        (b"\x03\x00\x00\x00\x00\x00\xff\xff\x00\x00", True, False),  # a spreadsheet: =""
    ],
)
def test_formula_without_a_value_is_told_of_an_xls(value: bytes, saved: bool, told: bool) -> None:
    """In the place of an error of LibreOffice's file."""
    file = (Path(__file__).parent / "files" / "errores.xls").read_bytes()
    place = file.index(b"\x06\x00\x19\x00\x02\x00\x02\x00") + 10  # the formula of C3
    file = file[:place] + value + file[place + 10 :]
    name = "SummaryInformation".encode("utf-16-le")
    file = file if saved else file.replace(name, bytes(len(name)))
    assert ("3 stock" in [fault.split(":")[0] for fault in messages(read(file, FileQuery(hoja="Segunda")))]) is told


def test_blanks_of_a_long_cell_are_read_once() -> None:
    blanks = " " * 120_000  # read once for each of them, half an hour
    table = read(f"nombre;precio;stock;descripcion\nA;1{blanks}x;1{blanks}x;1{blanks}x\n".encode(), FileQuery())
    assert messages(table) == [
        "2 descripcion: tiene más de 10000 caracteres",
        "2 precio: tiene que ser un número",
        "2 stock: tiene que ser un número entero",
    ]


def test_columns_have_a_limit_of_those_that_hold_something() -> None:
    table = read(b"nombre;precio" + b";" * 100_000 + b"\nA;1", FileQuery())
    assert (len(table.about["columnas"]), messages(table)) == (2, [])
    table = read(b"nombre;precio\nA;1" + b";" * 1_000 + b"x", FileQuery())
    assert [error["message"] for error in table.about["errors"]] == ["pasa de 1000 columnas"]


def test_cell_of_a_workbook_may_have_a_carriage_return() -> None:
    sheet = row(1, "nombre", "descripcion", "precio") + row(2, "A", "una&#13;dos", 1) + row(3, "B", "tres", "x")
    table = read(xlsx({"Hoja": sheet}), FileQuery())
    assert rows(table)[0]["descripcion"] == "una\rdos"
    assert messages(table) == ["3 precio: tiene que ser un número"]


def test_workbook_of_old_programs_is_read() -> None:
    table = read((Path(__file__).parent / "files" / "lista.xls").read_bytes(), FileQuery())
    assert (table.about["formato"], [(row["nombre"], row["precio"], row["stock"]) for row in rows(table)]) == (
        "xls",
        [("Piñón", "12.50", 3), ("Otro", "1299.00", 4)],
    )


def test_xls_may_contain_a_zip_or_name_another_code_page() -> None:
    """Excel 2007 and newer put the theme into it, as a zip; Perl's WriteExcel says Windows-1252 of texts that are UTF-16."""
    file = (Path(__file__).parent / "files" / "lista.xls").read_bytes()
    named = file.replace(b"\x42\x00\x02\x00\xb0\x04", b"\x42\x00\x02\x00\xe4\x04")
    assert b"\x06\x00\x00Precio" in named
    named = named.replace(b"\x06\x00\x00Precio", b"\x03\x00\x01P\x00V\x00P\x00")
    for body in file + xlsx({"Hoja": ""}), named:
        assert rows(read(body, FileQuery())) == rows(read(file, FileQuery()))


@pytest.mark.parametrize("start", ["<table>", "\ufeff\n<?xml version='1.0'?>\n"])
def test_page_that_is_named_like_a_workbook_is_told_what_it_is(start: str) -> None:
    """The xls of many programs, whose cells with `;` made columns."""
    table = read(
        f"{start}<tr><td>Nombre</td><td>Precio</td></tr><tr><td>A &amp; B</td><td>1</td></tr>".encode(), FileQuery()
    )
    assert [fault[:20] for fault in messages(table)] == ["1 : es HTML o XML, a"]


def ods(rows: str) -> bytes:
    """An OpenDocument spreadsheet of one sheet."""
    names = ("office", "table", "text")
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
    spaces += ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as parts:
        parts.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        parts.writestr("META-INF/manifest.xml", "<manifest/>")
        sheet = f'<office:spreadsheet><table:table table:name="Hoja">{rows}</table:table></office:spreadsheet>'
        parts.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body>{sheet}</office:body></office:document-content>",
        )
    return file.getvalue()


def text_cell(text: str) -> str:
    return f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'


def test_workbook_of_open_document_is_read() -> None:
    cells = "".join(
        f"<table:table-row>{text_cell(name)}{price}</table:table-row>"
        for name, price in {
            "Producto": text_cell("Precio") + "\n",  # SheetJS indents
            "Piñón": '<table:table-cell office:value-type="currency" office:currency="EUR" office:value="1299.5"/>',
        }.items()
    )
    table = read(ods(cells), FileQuery())
    assert (table.about["formato"], rows(table)[0]["nombre"], rows(table)[0]["precio"]) == ("ods", "Piñón", "1299.50")


def test_error_and_tab_of_libreoffice_are_not_lost() -> None:
    """As LibreOffice 7.4 writes them; for calamine the error is an empty cell, and of the tab nothing is left."""
    error = (
        '<table:table-cell table:formula="of:=1/0" office:value-type="string" office:string-value="" '
        'calcext:value-type="error"><text:p>#DIV/0!</text:p></table:table-cell>'
    )
    one = '<table:table-cell office:value-type="float" office:value="1" calcext:value-type="float"/>'
    cells = [
        map(text_cell, ("nombre", "precio", "stock")),
        (text_cell("con<text:tab/>tabulador"), one, one),
        (text_cell("Error"), one, error),
    ]
    table = read(ods("".join(f"<table:table-row>{''.join(row)}</table:table-row>" for row in cells)), FileQuery())
    assert rows(table)[0]["nombre"] == "con\ttabulador"
    assert messages(table) == [
        "3 stock: es una fórmula sin calcular, o con un error: guarde el archivo con la hoja de cálculo"
    ]


def test_formula_without_a_value_in_an_open_document_is_told() -> None:
    """As odfpy 1.4.1 writes it, which computes nothing."""
    one = '<table:table-cell office:value-type="float" office:value="1"/>'
    formula = '<table:table-cell table:formula="of:=2*3"/>'
    cells = [map(text_cell, ("nombre", "precio", "stock")), (text_cell("Cable"), one, formula)]
    table = read(ods("".join(f"<table:table-row>{''.join(row)}</table:table-row>" for row in cells)), FileQuery())
    assert [fault[:28] for fault in messages(table)] == ["2 stock: es una fórmula sin "]


def test_formula_whose_value_is_an_empty_text_is_an_empty_cell() -> None:
    """As LibreOffice 7.4 and Excel write `=""`: `t="str"` tells that it was computed."""
    empty = '<c r="B2" t="str"><f aca="false">&quot;&quot;</f><v></v></c>'
    cells = row(2, "Cable", None, 5).replace('<c r="C2">', f'{empty}<c r="C2">')
    table = read(xlsx({"Hoja": row(1, "nombre", "descripcion", "precio") + cells}), FileQuery())
    assert (messages(table), rows(table)[0]["precio"]) == ([], "5.00")


def test_exported_list_is_known_again_when_a_program_has_written_it_anew() -> None:
    """pandas makes decimals of ids beside an empty cell, and adds a column without a title."""
    version = "2026-11-24T10:00:00.123Z"
    file = f";Id;nombre;precio;updated_at;notas\n0;1,0;00123;1299,6;{version};x\n1;;Nuevo;5,25;;\n"
    table = read(file.encode(), FileQuery())
    known = [(row.get("id"), row.get("version"), row["campos"]["precio"]) for row in json.loads(table.rows)]
    assert known == [("1", version, "1299.60"), (None, None, "5.25")]


@pytest.mark.parametrize(
    ("titles", "read_as"),
    [
        ("id;precio;updated_at", "puede ser 131989,00 o 131,99: escríbalo con dos decimales"),
        ("nombre;precio;x", "131989.00"),
    ],
)
def test_points_of_an_exported_file_prove_nothing_of_a_price_with_a_comma(titles: str, read_as: str) -> None:
    """As a LibreOffice in Spanish saves it: the exported prices are texts for it, and one was typed or computed."""
    file = f'{titles}\n1;"1299.99";"2026-11-24T10:00:00.123Z"\n2;131,989;"x"\n'
    table = read(file.encode(), FileQuery())
    assert read_as in [*(fault["message"] for fault in table.faults), rows(table)[1].get("precio")]


DAMAGED = f"1 : {UNREAD}"


@pytest.mark.parametrize("body", [b"PK\x03\x04 no workbook", b"\xd0\xcf\x11\xe0 no workbook"])
def test_file_that_only_begins_like_a_workbook_is_refused(body: bytes) -> None:
    assert messages(read(body, FileQuery())) == [DAMAGED]


def test_xlsb_is_refused() -> None:
    """What calamine drops of it, errors among it, would be a stock of 0 that nobody sees."""
    file = io.BytesIO(xlsx({"Hoja": row(1, "nombre", "precio")}))
    with zipfile.ZipFile(file, "a") as parts:
        parts.writestr("xl/workbook.bin", "")
    assert messages(read(file.getvalue(), FileQuery())) == [DAMAGED]


@pytest.mark.parametrize("calamine", ["import os; os.abort()", "bytearray(2 << 30)"])
def test_workbook_that_ends_its_reader_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, calamine: str
) -> None:
    """In the place of calamine: a library that aborts, and one that wants more memory than the reader may have."""
    (tmp_path / "python_calamine.py").write_text(calamine)
    monkeypatch.syspath_prepend(tmp_path)
    assert messages(read(xlsx({"Hoja": ""}), FileQuery())) == [DAMAGED]


def test_workbook_needs_an_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "python_calamine.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NotInstalled):
        read(xlsx({"Hoja": ""}), FileQuery())
