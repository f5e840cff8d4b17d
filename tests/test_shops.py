"""Files as other programs write them, as they come: what happens at the first try, and after one choice."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from inventory_ws.files.reader import FileQuery, read

N = 40
GOODS = [
    f"{what} {number}" for number in range(8) for what in ("Jamón", "Café molido", 'Tubo 1/2"', "Piña", "Niño, muñeco")
]


class Shop(NamedTuple):
    """A file; the first row that is right; the fields that have no column at the first try; what then has to be chosen; how many
    rows are right and at fault."""

    file: bytes
    first: dict[str, Any]
    missing: Sequence[str] = ()
    choice: Mapping[str, str] = {}
    right: int = N
    wrong: int = 0


def table(titles: str, row: Callable[[int, str], str], mark: str = ",", count: int = N) -> str:
    """A file of rows, which are given with `|` between the cells; a cell that needs it is quoted."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=mark).writerows(row(n, GOODS[n]).split("|") for n in range(count))
    return f"{titles}\r\n{text.getvalue()}"


def first(price: float, stock: int = 0, text: str | None = None) -> dict[str, Any]:
    return {"nombre": GOODS[0], "descripcion": text, "precio": f"{price:.2f}", "stock": stock}


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
    "woocommerce": Shop(  # every tenth product has variations, and no price of its own
        table(
            WOO,
            lambda n, name: (
                f"{n + 7}|simple|S{n}|{name}|1|0|visible||<p>Un <b>{n}</b></p>|taxable|1|{n}|0|||"
                + ("|Casa" if n % 10 == 9 else f"{n}.90|Casa")
            ),
        ).encode(),
        right=36,
        wrong=4,
        first=first(0.9, 0, "Un 0"),
    ),
    "shopify, the template": Shop(
        table(
            SHOPIFY.format("Variant Inventory Qty,"),
            lambda n, name: f"h{n}|{name}|<p>Un {n}</p>|V|||true|Title|Default||0|shopify|{n}|deny|{n}.00|||active",
        ).encode(),
        first=first(0, 0, "Un 0"),
    ),
    "shopify, an export": Shop(  # without quantities; with rows of other variants, and of other pictures
        table(
            SHOPIFY.format(""),
            lambda n, name: (
                f"h{n}|{name if n % 4 < 3 else ''}||V|||true|Size|{n}||0|shopify|deny"
                f"|{'' if n % 8 == 7 else n}|||active"
            ),
        ).encode(),
        right=30,
        wrong=5,
        first=first(0),
    ),
    "prestashop": Shop(
        table(PRESTA, lambda n, name: f"{n + 1}||{name}|R{n}|Inicio|{n}.000000|{n}.210000|{n}|1", ";").encode(
            "utf-8-sig"
        ),
        first=first(0.21, 0),
    ),
    "magento 2": Shop(
        table(MAGENTO, lambda n, name: f"s{n}||simple|{name}|<p>{n}</p>|1.0000|1|{n}.5000||{n}.0000|0.0000").encode(),
        first=first(0.5, 0, "0"),
    ),
    "odoo": Shop(
        table(
            "id,name,default_code,list_price,qty_available", lambda n, name: f"__export__.p_{n}|{name}|D{n}|{n}.0|{n}.0"
        ).encode(),
        first=first(0, 0),
    ),
    "loyverse in spanish": Shop(
        table(
            LOYVERSE,
            lambda n, name: f"h{n}|{n}|{name}|Bar|N|||1.00|||Y|Y|{'variable' if n == 5 else f'{n}.50'}|{n}|",
        ).encode(),
        right=39,
        wrong=1,
        first=first(0.5, 0),
    ),
    "square": Shop(
        table(SQUARE, lambda n, name: f"T{n}|{name}|Regular|S{n}||Bar|{n}.00|{n + 2}|").encode(),
        choice={"stock": "Current Quantity Centro"},
        first=first(0, 2),
    ),
    "homebox": Shop(
        table(HOMEBOX, lambda n, name: f"|Casa||false|{name}|{n + 1}||{n}|").encode(),
        missing=["precio"],
        choice={"precio": "HB.purchase_price"},
        first=first(0, 1),
    ),
    "snipe-it": Shop(
        table(SNIPE, lambda n, name: f"{n + 1}|Yo|{name}|Red|Casa|{n + 9}|{n + 4}|1|2026-01-02|{n}.00").encode(),
        missing=["precio"],
        choice={"precio": "Cost"},
        first=first(0),
    ),
    "a wholesaler's list with titles on each page": Shop(
        wholesaler().encode("windows-1252"), wrong=3, first=first(100.5, 0)
    ),
    "a till's export with negative stock": Shop(
        (
            table("ARTICULO;PVP;EXISTENCIAS;FAMILIA", lambda n, name: f"{name}|{n},95|{n - 5}|BAR", ";")
            + "TOTAL;1999,00;700;\r\n\x1a"
        ).encode("cp850"),
        first=first(0.95, 0),
    ),
    "unicode text of a spreadsheet": Shop(
        table("Producto\tPrecio\tCantidad", lambda n, name: f"{name}|${n + 1},249.00|{n + 1},000", "\t").encode(
            "utf-16"
        ),
        first=first(1249, 1000),
    ),
    "no titles": Shop(
        table("8410000000000;Jamón 0;10,50;0", lambda n, name: f"{n}|{name}|{n},50|{n}", ";", N - 1).encode(
            "mac-roman"
        ),
        missing=["nombre", "precio"],
        choice={"nombre": "columna 2", "precio": "columna 3", "stock": "columna 4"},
        first=first(10.5, 0),
    ),
}


@pytest.mark.parametrize("shop", SHOPS)
def test_file_of_another_program_comes_in_with_one_choice_at_most(shop: str) -> None:
    tried = SHOPS[shop]
    errors = read(tried.file, FileQuery()).about.get("errors", ())
    assert [fault["field"] for fault in errors] == list(tried.missing)
    table = read(tried.file, FileQuery.model_validate(tried.choice))
    rows = [row for row in json.loads(table.rows) if not row.get("omitida")]
    good = [row["campos"] for row in rows if "errors" not in row]
    assert (len(good), len(rows) - len(good)) == (tried.right, tried.wrong), table.faults[:3]
    assert good[0] == tried.first
    assert {row["nombre"].replace('"', "") for row in good} <= {name.replace('"', "") for name in GOODS}
