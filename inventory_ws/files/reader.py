"""A file of products, read: its format, its columns, and what each of its rows says. Knows neither HTTP nor SQL."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from ..products.models import STORABLE
from . import workbook
from .columns import FIELDS, READ, Columns, find_columns, folded
from .csvfile import MAX_ROWS, Fault, Unreadable, decoded, fault, read_cells, separator
from .values import Reader

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # the first bytes of xlsx and ods, and of xls
MEMORY = 1 << 30  # bytes, for a workbook
WORKBOOK_TIMEOUT = 30.0  # seconds
BLANKS = " \t\x1a\u00a0"  # \x1a ends a file of DOS
SAMPLES = 3  # cells of each column that a trial shows
NO_SHEET = "no hay ninguna hoja con ese nombre, o ninguna con datos"
UNREAD = (
    "no se puede leer la hoja de cálculo (dañada, con contraseña, xlsb o demasiado grande): guárdela como xlsx o CSV"
)
MARKUP = "es HTML o XML, aunque parezca una hoja de cálculo: ábralo con ella y guárdelo como xlsx o CSV"


class NotInstalled(Exception):
    """The file is a workbook, and python-calamine is not installed."""


class FileQuery(BaseModel):
    """What is asked of a file.

    - `ensayo`: write nothing. `hoja`: the sheet. `filas`: whether rows at fault stop the others.
    - `repetidos`: what becomes of a row whose name exists already. `redondear`: round prices to two decimals.
    - `conflictos`: what holds where the file and others changed the same cell: `archivo` or `actual` for all rows, and
      `7:archivo` for one, with commas between them.
    - `limite`, `solo`: how many rows a trial shows, and which.
    - `nombre` and so on: the title of the column of a field; empty: none.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    ensayo: bool = False
    hoja: Annotated[str, STORABLE] = ""
    filas: Literal["todas", "validas"] = "todas"
    repetidos: Literal["crear", "omitir", "actualizar"] = "crear"
    conflictos: Annotated[
        str, Field(pattern="^((([0-9]{1,7}:)?(archivo|actual),)*([0-9]{1,7}:)?(archivo|actual))?$")
    ] = ""
    redondear: bool = False
    limite: Annotated[int, Field(ge=0, le=MAX_ROWS)] = 200
    solo: Literal["nuevo", "cambiado", "igual", "falta", "omitido", "aviso", ""] = ""

    @property
    def titles(self) -> dict[str, str]:
        return {name: str(title) for name, title in (self.model_extra or {}).items() if name in READ}

    @property
    def decisions(self) -> dict[str, str]:
        """Return `conflictos` by the number of the row; "": for all other rows."""
        return {row: what for row, _, what in (part.rpartition(":") for part in self.conflictos.split(",")) if what}


class Table(NamedTuple):
    """A file that was read.

    `fields`: its columns that can be written. `rows`: the text of a JSON array. Each row has its number `fila`, the `id` of the
    product to change (none: a new one), the `version` that it was exported at, its `campos`, and `crudo`, the name with its
    blanks; `errors` and `avisos`; `omitida` if it is no product. `faults`: all errors of the file, as
    `{"row": 3, "field": "precio", "message": "es obligatorio"}`. `unusable`: some are not of one row. `about`: what a trial tells
    of the file.
    """

    fields: list[str]
    rows: str
    faults: list[Fault]
    unusable: bool
    about: dict[str, Any]


def read(body: bytes, query: FileQuery) -> Table:
    """Read a file of any format. It may take seconds, in which the event loop is to run: call it in a thread."""
    rows, about, faults = _read_rows(body, query.hoja)
    updates = query.repetidos == "actualizar"
    columns = find_columns(rows, query.titles, updates)
    faults += columns.faults if rows or not faults else []
    first = columns.first
    fields_of = {place: name for name, place in columns.places.items()}
    about |= {"errors": faults} if faults else {}
    about |= {
        "fila_titulos": first or None,
        "columnas": [
            {"columna": n + 1, "titulo": title or f"columna {n + 1}", "campo": fields_of.get(n), "muestra": sample}
            for n, title in enumerate(columns.titles)
            if (sample := _samples(rows[first:], n)) or title
        ],
    }
    fields = [name for name in FIELDS if name in columns.places]
    if columns.faults or not rows:
        return Table(fields, "[]", faults, bool(faults), about)
    reader = Reader(rows[first:], columns.places, rounds=query.redondear, updates=updates)
    products = _read_products(rows, columns, reader)
    row_faults = [error for row in products for error in row.get("errors", ())]
    # Row by row: all of them at once, or by map(), would keep the event loop from running for as long as it takes.
    return Table(
        fields, f"[{b','.join([to_json(row) for row in products]).decode()}]", row_faults + faults, bool(faults), about
    )


def _read_rows(body: bytes, sheet: str) -> tuple[list[list[str]], dict[str, Any], list[Fault]]:
    """Return the cells of the file, what it is, and its fault if not all of it can be read."""
    about: dict[str, Any] = {"formato": "csv", "codificacion": None, "separador": None, "hojas": [], "hoja": None}
    try:
        if body.startswith((ZIP, OLE)):
            head, text = _convert(body, sheet)
            about |= {
                "formato": "xls" if body.startswith(OLE) else "ods" if b"opendocument" in body[:200] else "xlsx"
            } | head
            mark = ","
        else:
            text, about["codificacion"] = decoded(body)
            if "\x00" in text:
                raise Unreadable(1, "no es texto ni una hoja de cálculo", [])
            if text.lstrip().startswith("<"):
                raise Unreadable(1, MARKUP, [])
            about["separador"] = mark = separator(text)
        return read_cells(text, mark), about, []
    except Unreadable as exc:
        return exc.rows, about, [exc.fault]


def _convert(body: bytes, sheet: str) -> tuple[dict[str, Any], str]:
    """Return the names of a workbook's sheets, and one of them as CSV. Raise NotInstalled or Unreadable."""
    command = [sys.executable, "-P", workbook.__file__, str(MEMORY), str(MAX_ROWS + 2), sheet]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # where a program of shiv has its packages
    try:
        done = subprocess.run(command, input=body, capture_output=True, timeout=WORKBOOK_TIMEOUT, env=env, check=False)
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess(command, 1)
    if done.returncode == workbook.NOT_INSTALLED:
        raise NotInstalled
    if done.returncode:
        raise Unreadable(1, NO_SHEET if done.returncode == workbook.NO_SHEET else UNREAD, [])
    head, _, text = done.stdout.decode().partition("\n")
    return json.loads(head), text


def _read_products(rows: Sequence[Sequence[str]], columns: Columns, reader: Reader) -> list[dict[str, Any]]:
    """Return the rows after that of the titles that hold something, without repeated titles."""
    first, titles, places, _ = columns
    products: list[dict[str, Any]] = []
    ids: set[str] = set()
    head, width = [folded(title) for title in titles], len(titles)
    for number, row in enumerate(rows[first:], first + 1):
        cells = {name: row[place] if place < len(row) else "" for name, place in places.items()}
        shifted = "".join(row[width:]).strip(BLANKS)
        if not (shifted or "".join(cells.values()).strip(BLANKS)):
            continue  # a blank row, or of another picture of a product: numbered, and otherwise ignored
        if row[0] == titles[0] and first and [folded(cell) for cell in row[:width]] == head:
            continue
        if shifted:
            error = fault(number, "", "tiene más celdas que la cabecera")
            found: dict[str, Any] = {"fila": number, "errors": [error], "campos": {"nombre": cells.get("nombre")}}
        else:
            found = reader.read(number, cells)
        if known := found.get("id"):
            if known in ids:
                found["errors"] = [fault(number, "id", "está dos veces"), *found.get("errors", ())]
            ids.add(known)
        products.append(found)
    return products


def _samples(rows: Sequence[Sequence[str]], place: int) -> list[str]:
    return [row[place][:60] for row in rows[:100] if place < len(row) and row[place].strip()][:SAMPLES]
