"""Products as CSV (RFC 4180), and the cells of a CSV file of any spreadsheet. Knows neither HTTP nor SQL."""

import codecs
import csv
import io
import re
from collections import Counter
from contextlib import suppress

from ..products.exact_json import decode
from ..products.models import NewProduct

MAX_ROWS = 50_000
MAX_COLUMNS = 1_000
COLUMNS = ("id", *NewProduct.model_fields, "created_at", "updated_at")
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # a cell that a spreadsheet evaluates, also if it already has apostrophes
SEPARATORS = ";\t|,"  # a comma may be in every number: if as many rows have another one, it is that
SAMPLE = 50_000  # characters that show the separator, or the encoding
ENCODINGS = ("windows-1252", "cp850", "mac-roman")  # of a file without a mark; the first if it makes no difference
SMALL = "áéíóúüñç"
FOREIGN = "àèìòùâêîôûãõï"  # letters of the languages beside Spanish
# Characters of a wrong encoding stand where none of a language stands: within words, or in the wrong case.
UNLIKELY = re.compile(f"[a-z{SMALL}][{SMALL.upper()}{FOREIGN.upper()}]|(?<![A-Za-z])[{SMALL}][A-Z]")

Fault = dict[str, str | int]


class Unreadable(Exception):
    """A file cannot be read from a row on: the row, the reason, and the rows before it."""

    def __init__(self, row: int, reason: str, rows: list[list[str]]) -> None:
        super().__init__(reason)
        self.fault, self.rows = fault(row, "", reason), rows


def fault(row: int, field: str, message: str) -> Fault:
    """Return the error of a row, as a spreadsheet numbers it."""
    return {"row": row, "field": field, "message": message}


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


def decoded(body: bytes) -> tuple[str, str]:
    """Return the text of a file and its encoding: UTF-8, UTF-16, or the one that makes the most of it letters of a language."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace"), "utf-16"
    for place, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if 2 * body[place:1000:2].count(0) > len(body[place:1000:2]):
            return body.decode(encoding, "replace"), encoding
    with suppress(UnicodeDecodeError):
        return body.decode("utf-8-sig"), "utf-8"
    foreign = b"\n".join([line for line in body.splitlines() if not line.isascii()])[:SAMPLE]
    encoding = max(ENCODINGS, key=lambda name: _likeliness(foreign.decode(name, "replace")))
    return body.decode(encoding, "replace"), encoding


def _likeliness(text: str) -> int:
    found = Counter(re.findall(r"[^\x00-\x7f]", text))
    points = {2: SMALL, 1: SMALL.upper() + FOREIGN + "€ºª¿¡", 0: FOREIGN.upper() + "«»°·½¼“”‘’–\xa0"}
    weight = {character: value for value, characters in points.items() for character in characters}
    return sum(weight.get(character, -2) * times for character, times in found.items()) - 3 * len(
        UNLIKELY.findall(text)
    )


def separator(text: str) -> str:
    """Return what separates the cells: what `sep=` in the first row says, or what makes most rows equally wide."""
    if found := re.match("sep=([,:;|\t])", text, re.IGNORECASE):
        return found[1]

    def alike(mark: str) -> int:
        rows = csv.reader(io.StringIO(text[:SAMPLE], newline=""), delimiter=mark)
        return max(Counter(len(row) for row in rows if len(row) > 1).values(), default=0)

    return max(SEPARATORS, key=alike)


def read_cells(text: str, mark: str) -> list[list[str]]:
    """Return the cells of each row, also of empty rows. Raise Unreadable."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if len(rows) > MAX_ROWS:
                raise Unreadable(MAX_ROWS + 2, f"el archivo pasa de {MAX_ROWS} filas", [])
            if any(row[MAX_COLUMNS:]):
                raise Unreadable(len(rows) + 1, f"pasa de {MAX_COLUMNS} columnas", rows)
            rows.append(row[:MAX_COLUMNS])
    except csv.Error:
        reason = "no es CSV: comillas mal puestas, o una celda demasiado larga"
        raise Unreadable(len(rows) + 1, reason, rows) from None
    if rows and text[:4].lower() == "sep=":
        rows[0] = []
    return rows
