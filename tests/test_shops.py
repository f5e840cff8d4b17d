"""Files as other programs write them, as they come: what happens at the first try, and after one choice."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from inventory_ws.files.reader import FileQuery, read

N = 40
GOODS = [
    f"{what} {number}" for number in range(8) for what in ("Jamón", "Café molido", 'Tubo 1/2"', "Piña", "Niño, muñeco")
]


class Shop(NamedTuple):
    """A file; the fields that have no column at the first try; what has to be chosen; how many rows are right and at fault, and the
    first that is right."""

    file: bytes
    missing: Sequence[str]
    choice: dict[str, str]
    right: int
    wrong: int
    first: dict[str, Any]


def table(titles: str, row: Any, mark: str = ",", count: int = N) -> str:
    """A file of rows, of which each cell is quoted that needs it."""

    def quoted(cell: object) -> str:
        text = str(cell)
        return '"' + text.replace('"', '""') + '"' if mark in text or '"' in text or "\n" in text else text

    lines = [mark.join(map(quoted, row(n, GOODS[n]))) for n in range(count)]
    return titles + "\r\n" + "".join(f"{line}\r\n" for line in lines)


def first(price: float, stock: int | None = None, name: str = GOODS[0]) -> dict[str, Any]:
    return {"nombre": name, "precio": f"{price:.2f}"} | ({} if stock is None else {"stock": stock})


def wholesaler() -> str:
    pages = []
    for page in range(4):
        head = f"DISTRIBUCIONES PÉREZ;;;Página {page + 1}\r\n;;;\r\nRef.;Descripción;P.V.P.;Uds.\r\n"
        lines = [
            f"A{n};{GOODS[n].replace(chr(34), '')};{'1.' if n == 3 else ''}{100 + n},50 €;{n}\r\n"
            for n in range(page * 10, page * 10 + 10)
        ]
        pages.append(head + "".join(lines))
    return "".join(pages)


WOO = (
    "ID,Tipo,SKU,Nombre,Publicado,¿Está destacado?,Visibilidad en el catálogo,Descripción corta,Descripción,Estado del impuesto,"
    "¿Existencias?,Inventario,¿Vendido individualmente?,Peso (kg),Precio rebajado,Precio normal,Categorías"
)
SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Grams,"
    "Variant Inventory Tracker,{}Variant Inventory Policy,Variant Price,Variant Compare At Price,Image Src,Status"
)
LOYVERSE = (
    "Handle,REF,Nombre,Categoría,Vendido por peso,Opción 1 nombre,Opción 1 valor,Coste,Código de barras,Cantidad del componente incluido,"
    "Rastrear stock,Disponible para la venta [Tienda],Precio [Tienda],En inventario [Tienda],Stock bajo [Tienda]"
)
SQUARE = "Token,Item Name,Variation Name,SKU,Description,Category,Price,Current Quantity Centro,New Quantity Centro"
HOMEBOX = "HB.import_ref,HB.location,HB.tags,HB.archived,HB.name,HB.quantity,HB.description,HB.purchase_price,HB.purchase_from"
SNIPE = "ID,Company,Item Name,Category,Location,Total,Remaining,Min. QTY,Purchase Date,Cost"
MAGENTO = (
    "sku,store_view_code,product_type,name,description,weight,product_online,price,special_price,qty,out_of_stock_qty"
)
PRESTA = "ID de producto;Imagen;Nombre;Referencia;Categoría;Precio (imp. excl.);Precio (imp. incl.);Cantidad;Estado"

SHOPS = {
    "woocommerce": Shop(
        # Every tenth product has variations, and no price of its own.
        table(
            WOO,
            lambda n, name: (
                n + 7,
                "simple",
                f"S{n}",
                name,
                1,
                0,
                "visible",
                "",
                f"<p>Un <b>{n}</b></p>",
                "taxable",
                1,
                n,
                0,
                "",
                "",
                "" if n % 10 == 9 else f"{n}.90",
                "Casa",
            ),
        ).encode(),
        (),
        {},
        36,
        4,
        first(0.9, 0) | {"descripcion": "Un 0"},
    ),
    "shopify, the template": Shop(
        table(
            SHOPIFY.format("Variant Inventory Qty,"),
            lambda n, name: (
                f"h{n}",
                name,
                f"<p>Un {n}</p>",
                "V",
                "",
                "",
                "true",
                "Title",
                "Default",
                "",
                0,
                "shopify",
                n,
                "deny",
                f"{n}.00",
                "",
                "",
                "active",
            ),
        ).encode(),
        (),
        {},
        40,
        0,
        first(0, 0) | {"descripcion": "Un 0"},
    ),
    "shopify, an export": Shop(
        # Without quantities; each fourth row is another variant, and has no title.
        table(
            SHOPIFY.format(""),
            lambda n, name: (
                f"h{n}",
                "" if n % 4 == 3 else name,
                "",
                "V",
                "",
                "",
                "true",
                "Size",
                n,
                "",
                0,
                "shopify",
                "deny",
                f"{n}.00",
                "",
                "",
                "active",
            ),
        ).encode(),
        (),
        {},
        30,
        10,
        first(0, None) | {"descripcion": None},
    ),
    "prestashop": Shop(
        table(
            PRESTA,
            lambda n, name: (
                n + 1,
                "",
                name,
                f"R{n}",
                "Inicio",
                f"{n}.000000",
                f"{n * 1.21:.6f}".replace("000000", "500000"),
                n,
                1,
            ),
            ";",
        ).encode("utf-8-sig"),
        (),
        {"redondear": "1"},
        40,
        0,
        first(0.5, 0),
    ),
    "magento 2": Shop(
        table(
            MAGENTO,
            lambda n, name: (
                f"s{n}",
                "",
                "simple",
                name,
                f"<p>{n}</p>",
                "1.0000",
                1,
                f"{n}.5000",
                "",
                f"{n}.0000",
                "0.0000",
            ),
        ).encode(),
        (),
        {},
        40,
        0,
        first(0.5, 0) | {"descripcion": "0"},
    ),
    "odoo": Shop(
        table(
            "id,name,default_code,list_price,qty_available",
            lambda n, name: (f"__export__.product_{n}", name, f"D{n}", f"{n}.0", f"{n}.0"),
        ).encode(),
        (),
        {},
        40,
        0,
        first(0, 0),
    ),
    "loyverse in spanish": Shop(
        table(
            LOYVERSE,
            lambda n, name: (
                f"h{n}",
                10000 + n,
                name,
                "Bar",
                "N",
                "",
                "",
                "1.00",
                "",
                "",
                "Y",
                "Y",
                "variable" if n == 5 else f"{n}.50",
                n,
                "",
            ),
        ).encode(),
        (),
        {},
        39,
        1,
        first(0.5, 0),
    ),
    "square": Shop(
        table(SQUARE, lambda n, name: (f"T{n}", name, "Regular", f"S{n}", "", "Bar", f"{n}.00", n + 2, "")).encode(),
        (),
        {"stock": "Current Quantity Centro"},
        40,
        0,
        first(0, 2) | {"descripcion": None},
    ),
    "homebox": Shop(
        table(HOMEBOX, lambda n, name: ("", "Casa", "", "false", name, n + 1, "", n, "")).encode(),
        ("precio",),
        {"precio": "HB.purchase_price"},
        40,
        0,
        first(0, 1) | {"descripcion": None},
    ),
    "snipe-it": Shop(
        table(
            SNIPE, lambda n, name: (n + 1, "Yo", name, "Red", "Casa", n + 9, n + 4, 1, "2026-01-02", f"{n}.00")
        ).encode(),
        ("precio",),
        {"precio": "Cost"},
        40,
        0,
        first(0),
    ),
    "a wholesaler's list with titles on each page": Shop(
        wholesaler().encode("windows-1252"),
        (),
        {},
        40,
        3,
        first(100.5, 0),
    ),
    "a till's export with negative stock": Shop(
        (
            table(
                "ARTICULO;PVP;EXISTENCIAS;FAMILIA",
                lambda n, name: (name.replace('"', ""), f"{n},95", n - 5, "BAR"),
                ";",
            )
            + "TOTAL;1999,00;700;\r\n\x1a"
        ).encode("cp850"),
        (),
        {},
        40,
        0,
        first(0.95, 0),
    ),
    "unicode text of a spreadsheet": Shop(
        table(
            "Producto\tPrecio\tCantidad",
            lambda n, name: (name, f"${n},249.00" if n else "$249.00", f"{n},000" if n else "3"),
            "\t",
        ).encode("utf-16"),
        (),
        {},
        40,
        0,
        first(249, 3),
    ),
    "no titles": Shop(
        table(
            "8410000000000;Jamón 0;10,50;0", lambda n, name: (8410000000001 + n, name, f"{n},50", n), ";", N - 1
        ).encode("mac-roman"),
        ("nombre", "precio"),
        {"nombre": "columna 2", "precio": "columna 3", "stock": "columna 4"},
        40,
        0,
        first(10.5, 0),
    ),
}


@pytest.mark.parametrize("shop", SHOPS)
def test_file_of_another_program_comes_in_with_one_choice_at_most(shop: str) -> None:
    file, missing, choice, right, wrong, expected = SHOPS[shop]
    at_first = read(file, FileQuery())
    assert [fault["field"] for fault in at_first.about.get("errors", ())] == list(missing)
    table = read(file, FileQuery.model_validate(choice))
    rows = [row for row in json.loads(table.rows) if not row.get("omitida")]
    good = [row["campos"] for row in rows if "errors" not in row]
    assert (len(good), len(rows) - len(good), good[0]) == (
        right,
        wrong,
        {"descripcion": None, "stock": 0} | expected,
    ), table.faults[:3]
    assert {row["nombre"].replace('"', "") for row in good} <= {name.replace('"', "") for name in GOODS}
