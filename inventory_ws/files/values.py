"""The value of a cell: numbers as people and programs write them, texts, versions. Knows neither HTTP nor SQL."""

import html
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from pydantic import ValidationError

from ..products.exact_json import number_of
from ..products.models import NewProduct, ProductChange, explain
from .csvfile import FORMULA, fault
from .workbook import NO_VALUE

NUMBERS = ("precio", "stock")
NULLABLE = {name for name, field in NewProduct.model_fields.items() if field.default is None}
CENTS, MILLIONTHS = Decimal("0.01"), Decimal("0.000001")
LONGEST = 100  # characters of a number

# What stands before or behind a number: a currency, or a unit.
MONEY = r"US\$|[$€£¥₡₲]|S/\.?|Bs\.?|EUR|euros?|USD|MXN|COP|ARS|CLP|PEN|UYU"
# `(?<!\s)\s*`: a search from within a run of blanks would read the rest of it each time.
AROUND = re.compile(
    rf"^(-?)\s*(?:{MONEY})\s*|(?<!\s)\s*(?:{MONEY}|uds?\.?|unidades|unid\.?|pzas?\.?|pcs)$", re.IGNORECASE
)
SPACES = re.compile(r"(?<=\d)[ '’\u00a0\u202f](?=\d{3}(\D|$))")  # between thousands
NEGATIVE = re.compile(r"^\(([^()]+)\)$|^([^-]+)-$")  # as accountants write it, and SAP
USUAL = re.compile(r"[0-9]+([.,][0-9]{1,2})?")
BOTH = re.compile(r"-?\d{1,3}(?:([.,])\d{3})+(?!\1)([.,])\d+")  # 1.299,00
THOUSANDS = re.compile(r"-?[1-9]\d{0,2}([.,])\d{3}(?:\1\d{3})+")  # 1.299.000
DOUBTFUL = re.compile(r"-?[1-9]\d{0,2}([.,])\d{3}")
DECIMAL = re.compile(r"-?\d*(?:([.,])\d+|\d)")

ID = re.compile(r"([1-9][0-9]{0,9})(?:[.,]0+)?")  # 7.0 is pandas' 7
VERSION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TOTAL = re.compile(r"(?:sub)?total(?:es)?(?: general)?\s*:?", re.IGNORECASE)
GARBLED = re.compile("[\u2500-\u259f\ufffd]|[ÃÂ][\u0080-\u00bf]|â€")
BLOCK = re.compile(r"(?<!\s)\s*</?(?:p|br|ul|ol|li|div|h[1-6]|table|tr)\b[^<>]*>\s*", re.IGNORECASE)
INLINE = re.compile(r"</?(?:b|i|u|em|strong|span|a|img|td)\b[^<>]*>", re.IGNORECASE)
# A name that a spreadsheet makes of 00123, 1/2, 12E5, 50%, 12:30 or True.
RETYPED = (
    r"^([-$€]?[0-9]+([.,][0-9]+)?(E[+]?[0-9]+|[ \u00a0]?[%€])?|[0-9]{1,4}[-/][0-9a-z]{1,4}([-/][0-9]{2,4})?( 00:00:00)?"
    r"|[0-9]+(:[0-9]{2}){1,2}([ \u00a0][ap][.]?[ \u00a0]?m[.]?)?|TRUE|FALSE|VERDADERO|FALSO)$"
)


class Doubtful(ValueError):
    """A cell that cannot be taken as it is, or may mean one thing or another. The argument says what to do."""


def bare(cell: str) -> str:
    """Return a number without currency, unit and spaces."""
    if len(cell.strip()) > LONGEST:
        return cell
    cell = NEGATIVE.sub(r"-\1\2", cell.strip().replace("\u2212", "-"))
    return SPACES.sub("", AROUND.sub(r"\1", AROUND.sub(r"\1", cell)))


def proven_mark(text: str) -> str | None:
    """Return the decimal mark that a bare number proves, or None."""
    if found := BOTH.fullmatch(text):
        return found[2]
    if found := THOUSANDS.fullmatch(text):
        return "," if found[1] == "." else "."
    if not DOUBTFUL.fullmatch(text) and (found := DECIMAL.fullmatch(text)):
        return found[1]
    return None


def _is_version(text: str) -> bool:
    """Return whether a text is an `updated_at` as it was exported: a spreadsheet may have rewritten it."""
    with suppress(ValueError):
        return VERSION.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    return False


class Reader:
    """Reads the rows of one file; `places` tells the columns. `rounds`: round prices to two decimals. `updates`: a row without an
    id may be a product that exists."""

    def __init__(
        self, rows: Sequence[Sequence[str]], places: Mapping[str, int], *, rounds: bool, updates: bool
    ) -> None:
        self.rounds, self.updates, self.exported = rounds, updates, "updated_at" in places

        @cache
        def column_mark(field: str) -> str | None:
            """Return the decimal mark that a column proves. That of the prices holds for the stock too: it is one spreadsheet."""
            place = places.get(field, -1)
            marks = {proven_mark(bare(row[place])) for row in rows if -1 < place < len(row)} - {None}
            mark = marks.pop() if len(marks) == 1 else None
            return column_mark("precio") if mark is None and field == "stock" else mark

        self.column_mark = column_mark

    def read(self, row: int, cells: dict[str, str]) -> dict[str, Any]:
        """Return the row as importing.py takes it, with its `errors` and `avisos`."""
        given = cells.get("id", "").strip()
        found: dict[str, Any] = {"fila": row}
        errors, notes = [], []
        values: dict[str, Any] = {}
        for name, cell in cells.items():
            if name not in ("id", "updated_at") and (cell or given):
                try:
                    values[name] = self._value(name, cell, not given)
                except Doubtful as exc:
                    errors.append(fault(row, name, str(exc)))
        if isinstance(values.get("stock"), int | Decimal) and values["stock"] < 0:
            notes.append(f"el stock era {values['stock']}: se importa 0")
            values["stock"] = 0
        called: str = values.get("nombre") or ""
        if GARBLED.search(called):
            notes.append("el nombre parece guardado con otra codificación")
        if not given and TOTAL.fullmatch(called.strip()):
            return found | {"omitida": True, "campos": {"nombre": called}, "avisos": ["parece una fila de totales"]}
        unread = [error["field"] for error in errors]
        try:
            model = ProductChange if given or (self.updates and called) else NewProduct
            fields = model.model_validate(values).model_dump(exclude_unset=model is ProductChange)
        except ValidationError as exc:
            errors += [
                fault(row, wrong["field"], wrong["message"]) for wrong in explain(exc) if wrong["field"] not in unread
            ]
            fields = {"nombre": called.replace("\x00", "")}
        if known := ID.fullmatch(given):
            found["id"] = known[1]
        elif given:
            errors.append(fault(row, "id", "no existe"))
        if called != fields.get("nombre", called):
            found["crudo"] = called
        if version := cells.get("updated_at", "").strip():
            found["version"] = version if _is_version(version) else "?"
        if errors:
            found["errors"] = errors
        if notes:
            found["avisos"] = notes
        return found | {"campos": fields}

    def _number(self, field: str, cell: str) -> int | Decimal | str:
        """Return the number in a cell, or the cell if it holds none. Raise Doubtful."""
        if USUAL.fullmatch(cell):
            return number_of(cell.replace(",", "."))
        text = bare(cell)
        mark = self._mark_for(field, cell) if DOUBTFUL.fullmatch(text) else proven_mark(text)
        if mark:
            text = text.replace("." if mark == "," else ",", "").replace(mark, ".")
        if mark or not DOUBTFUL.fullmatch(text):
            return number_of(text) if DECIMAL.fullmatch(text) else cell
        whole, part = re.sub("[.,]", "", text), Decimal(text.replace(",", "."))
        if field == "stock":
            raise Doubtful(f"puede ser {whole} o {part.normalize()}: escríbalo sin separador".replace(".", ","))
        raise Doubtful(f"puede ser {whole},00 o {part:.2f}: escríbalo con dos decimales".replace(".", ","))

    def _mark_for(self, field: str, cell: str) -> str | None:
        """Return the decimal mark of a column for one of its cells. The points of an exported file are its own: beside a price with
        a comma they prove nothing, because a spreadsheet in Spanish keeps them as texts."""
        mark = self.column_mark(field)
        return None if self.exported and field == "precio" and "," in cell and mark == "." else mark

    def _value(self, name: str, cell: str, without_id: bool) -> Any:
        if cell == NO_VALUE:
            raise Doubtful("es una fórmula sin calcular, o con un error: guarde el archivo con la hoja de cálculo")
        if name in NUMBERS:
            found = self._number(name, cell)
            if name == "precio" and isinstance(found, Decimal) and found.adjusted() < 20:  # quantize raises on more
                if self.rounds:
                    return found.quantize(CENTS, ROUND_HALF_UP)
                if len(found.as_tuple().digits) > 14:  # 0.30000000000000004 is pandas' 0.3
                    return found.quantize(MILLIONTHS)
            return found
        if name in NULLABLE and not cell:
            return None
        if without_id and name == "descripcion" and (BLOCK.search(cell) or INLINE.search(cell)):
            return html.unescape(re.sub("\n+", "\n", INLINE.sub("", BLOCK.sub("\n", cell)))).strip()
        return cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell
