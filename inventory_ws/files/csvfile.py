"""Products as CSV files (RFC 4180) of spreadsheets. Knows neither HTTP nor SQL."""

import csv
import io
import re
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import ValidationError

from ..products.exact_json import decode, encode, number_of
from ..products.models import NewProduct, ProductChange, explain

MAX_ROWS = 50_000
MAX_FAULTS = 100
FIELDS = tuple(NewProduct.model_fields)
NULLABLE = {name for name, field in NewProduct.model_fields.items() if field.default is None}
COLUMNS = ("id", *FIELDS, "created_at", "updated_at")
NUMBER = re.compile(r"-?[0-9]+([.,][0-9]{1,2})?")
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # a cell that a spreadsheet evaluates, also if it already has apostrophes

Fault = dict[str, str | int]


class Table(NamedTuple):
    """A parsed file of products.

    `fields`: its columns that can be written. `rows`: the text of a JSON array. Each row has its number `fila`, the id of the
    `producto` to change (null: a new product), its fields, and `crudo`, the name with its blanks. `faults`: the errors,
    as `{"row": 3, "field": "precio", "message": "es obligatorio"}`; the header is row 1.
    """

    fields: list[str]
    rows: str
    faults: list[Fault]


def render(products: bytes) -> bytes:
    """Return a JSON array of products as CSV in UTF-8, with commas and decimal points."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for product in decode(products):
        product["precio"] = f"{product['precio']:.2f}"
        cells = [product[name] for name in COLUMNS]
        writer.writerow(f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell for cell in cells)
    return text.getvalue().encode()


def parse(body: bytes) -> Table:
    """Parse a file in UTF-8 or Windows-1252, separated by commas, semicolons or tabs, with decimal points or commas. Return at
    most 100 faults."""
    lines, unreadable = _read_lines(body)
    columns = [name.strip() for name in lines[0]] if lines else []
    if faults := _wrong_columns(columns) if lines else unreadable:
        return Table([], "[]", faults[:MAX_FAULTS])
    fields = [name for name in FIELDS if name in columns]
    rows, ids = [], set()
    for number, line in enumerate(lines[1:], 2):
        if any(line[len(columns) :]):
            faults.append(fault(number, "", "tiene más celdas que la cabecera"))
        elif any(line):  # an empty row is numbered and otherwise ignored
            cells = dict(zip(columns, line + [""] * len(columns), strict=False))
            if cells.get("id"):
                faults += [fault(number, "id", "está dos veces")] if cells["id"] in ids else []
                ids.add(cells["id"])
            row, wrong = _read_row(number, cells, fields)
            rows.append(row)
            faults += wrong
        if len(faults) >= MAX_FAULTS:
            break
    return Table(fields, encode(rows), (faults + unreadable)[:MAX_FAULTS])


def _read_lines(body: bytes) -> tuple[list[list[str]], list[Fault]]:
    """Return the cells of each row, the header among them, and the fault from which on the file cannot be read."""
    for encoding in ("utf-8-sig", "windows-1252"):
        with suppress(UnicodeDecodeError):
            text = body.decode(encoding)
            break
    else:
        return [], [fault(1, "", "no es texto en UTF-8 ni en Windows-1252")]
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    lines: list[list[str]] = []
    try:
        for line in reader:
            if len(lines) > MAX_ROWS:
                return lines, [fault(MAX_ROWS + 2, "", f"el archivo pasa de {MAX_ROWS} filas")]
            lines.append(line)
    except csv.Error:
        return lines, [fault(len(lines) + 1, "", "no es CSV: comillas mal puestas, o una celda demasiado larga")]
    return lines or [[]], []


def _wrong_columns(columns: list[str]) -> list[Fault]:
    needed = () if "id" in columns and {*FIELDS} & {*columns} else ("nombre", "precio")
    faults = [fault(1, name, "no es una columna de este archivo") for name in columns if name not in COLUMNS]
    faults += [fault(1, name, "está dos veces") for name in COLUMNS if columns.count(name) > 1]
    return faults + [fault(1, name, "falta esta columna") for name in needed if name not in columns]


def _read_row(number: int, cells: dict[str, str], fields: list[str]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the row, which counts only if there are no faults, and its faults."""
    new = not cells.get("id")
    values = {name: _value(name, cells[name]) for name in fields if cells[name] or not new}
    row = {"fila": number, "producto": cells.get("id") or None, "crudo": values.get("nombre")}
    faults = []
    try:
        row |= (NewProduct if new else ProductChange).model_validate(values).model_dump(exclude_unset=not new)
    except ValidationError as exc:
        for wrong in explain(exc):
            field, message = wrong["field"], wrong["message"]
            text = cells.get(field, "").strip() if field in ("precio", "stock") else ""
            hint = ", sin separador de miles" if text and not NUMBER.fullmatch(text) else ""
            faults.append(fault(number, field, message + hint))
    if "precio" in row:
        row["precio"] = str(row["precio"])
    if not new and not re.fullmatch("[1-9][0-9]{0,9}", cells["id"]):
        faults.append(fault(number, "id", "no existe"))
    return row, faults


def _value(name: str, cell: str) -> Any:
    if name in ("precio", "stock") and NUMBER.fullmatch(cell.strip()):
        return number_of(cell.strip().replace(",", "."))
    if name in NULLABLE and not cell:
        return None
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell


def fault(row: int, field: str, message: str) -> Fault:
    """Return the error of a row; the header is row 1."""
    return {"row": row, "field": field, "message": message}
