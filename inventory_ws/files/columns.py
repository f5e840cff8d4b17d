"""Which column of a file is which field, by its titles."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..products.models import NewProduct
from .csvfile import COLUMNS, Fault, fault

FIELDS = tuple(NewProduct.model_fields)
READ = ("id", *FIELDS, "updated_at")
SEARCHED = 30  # rows in which the titles are looked for

# The titles of other programs, the best first. Their `id` is not an id of this inventory.
TITLES = {
    "nombre": "nombre|nombre producto|nombre del producto|nombre articulo|product name|item name|name|title|titulo"
    "|denominacion|producto|product|articulo|item|product service name|product service",
    "descripcion": "descripcion|description|descripcion corta|short description|descripcion larga|body|detalle|detalles",
    "precio": "precio|precio venta|precio de venta|precio publico|precio venta publico|precio normal|pvp con iva|pvp iva incluido"
    "|pvp|price|regular price|sales price|list price|unit price|variant price|precio unitario|unitprice|retail price"
    "|price tax included|precio impuestos incluidos|precio venta bruto|precio total|price tax excluded|precio impuestos excluidos"
    "|precio venta neto|precio base|product price|start price|selling price",
    "stock": "stock|stock actual|existencias|existencia|en inventario|inventario|cantidad disponible|cantidad a mano|cantidad|unidades|uds|ud"
    "|quantity on hand|current quantity|inventory quantity|qty available|variant inventory qty|in stock|stock on hand|available quantity"
    "|current stock level|product quantity|quantity|qty",
}
CURRENCIES = re.compile(r"( (eur|euros?|usd|mxn|cop|ars|clp|pen|uyu|en))+$")
NUMBER = re.compile(r"[^a-zA-Z]*\d[^a-zA-Z]*")  # no title
NET = re.compile(r"\bsin\b|\bexcl", re.IGNORECASE)  # of two prices, the one with taxes

Cells = Sequence[str]


class Columns(NamedTuple):
    """`first`: the index of the row after that of titles (0: there is none). `titles`: a name for each column. `places`: where the
    fields are."""

    first: int
    titles: list[str]
    places: dict[str, int]
    faults: list[Fault]


def folded(title: str) -> str:
    """Return a title without case, accents, marks, brackets, units, and the prefix of a table."""
    text = re.sub(r"\[.*?\]|\(.*?\)|^\w{2,}\.(?=\w{3})", " ", title)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = re.sub("[\u0300-\u036f.]", "", unicodedata.normalize("NFD", text.lower()))
    text = re.sub(r"[\W_]+", " ", text).strip()
    return re.sub(r"(?<=[a-z]{3}) ?1$", "", CURRENCIES.sub("", text).strip())  # PVP1: of several, the first


def find_columns(rows: Sequence[Cells], given: Mapping[str, str], updates: bool) -> Columns:
    """Find the titles and the column of each field. `given`: the titles that were chosen for fields (empty: none). `updates`:
    a file without prices is a count of products that exist."""
    heads = [[cell.strip() for cell in row] for row in rows[:SEARCHED]]
    found = [_places(head) for head in heads]
    wanted = {title for title in given.values() if title}
    row = max(range(len(heads)), key=lambda n: (wanted <= {*heads[n]}, len(found[n])), default=None)
    if row is not None and len(found[row]) < 2 and not (wanted and wanted <= {*heads[row]}):
        # No row of known titles: the first one of several cells, if it may be of unknown ones.
        several = (n for n, head in enumerate(heads) if found[n] or len(list(filter(None, head))) > 1)
        row = next(several, None)
        row = None if row is None or any(map(NUMBER.fullmatch, heads[row])) else row
    width = max(map(len, rows), default=0)
    titles, places = (heads[row], found[row]) if row is not None else ([f"columna {n + 1}" for n in range(width)], {})
    first, faults = 0 if row is None else row + 1, []
    number = max(first, 1)
    for field, title in given.items():
        places = {name: place for name, place in places.items() if name != field}
        if title and (place := _place_of(title, titles)) is not None:
            places = {name: other for name, other in places.items() if other != place} | {field: place}
        elif title:
            faults.append(fault(number, field, f"no hay ninguna columna «{title}»"))
    faults += [
        fault(number, name, "está dos veces")
        for name, place in places.items()
        if titles.count(titles[place]) > 1 and name not in given
    ]
    needed = ["nombre", "precio"]
    if "id" in places and {*FIELDS} & {*places}:
        needed = []
    elif updates and len({*FIELDS} & {*places}) > 1:
        needed = ["nombre"]
    faults += [fault(number, name, "falta esta columna") for name in needed if name not in places]
    return Columns(first, titles, places, faults)


def _places(cells: Cells) -> dict[str, int]:
    """Return the column of each field whose title is in this row."""
    # A question ("¿Existencias?") is answered by yes or no.
    titles = [(n, cell, folded(cell)) for n, cell in enumerate(cells) if "?" not in cell]
    places: dict[str, int] = {}
    for field in FIELDS:
        ranks = TITLES.get(field, field.replace("_", " ")).split("|")
        ranked = [(ranks.index(name), bool(NET.search(cell)), n) for n, cell, name in titles if name in ranks]
        if ranked:
            places[field] = min(ranked)[2]
    # Our own id, and not that of another program: nothing else is in the file, or it was exported here. The titles are compared
    # without folding: an «Updated At» is another program's.
    exact = {cell.lower(): n for n, cell in reversed([*enumerate(cells)]) if cell}
    if "id" in exact and ("updated_at" in exact or exact.keys() <= {*COLUMNS}):
        places |= {name: exact[name] for name in ("id", "updated_at") if name in exact}
    elif "nombre" not in places and "descripcion" in places and len(places) > 1:
        places["nombre"] = places.pop("descripcion")
    return places


def _place_of(title: str, titles: Sequence[str]) -> int | None:
    if title in titles:
        return titles.index(title)
    if (numbered := re.fullmatch(r"columna (\d+)", title)) and 0 < int(numbered[1]) <= len(titles):
        return int(numbered[1]) - 1
    return next((n for n, other in enumerate(titles) if folded(other) == folded(title)), None)
