"""A program of its own: it reads a workbook (xlsx, xls, ods) from stdin, and writes a line of JSON and a sheet as CSV to stdout.

It imports nothing of the package. A sheet with one cell far away takes more memory than any machine has, and calamine then aborts
its process. Arguments: the most memory in bytes, the most rows, the sheet (empty: the first visible one that has cells).
"""

import csv
import datetime
import io
import json
import os
import re
import sys
import zipfile
from contextlib import suppress

CPU = 20  # seconds
NOT_INSTALLED, PROTECTED, NO_SHEET = 3, 4, 5  # exit statuses
NO_VALUE = "fórmula sin valor"  # the text of a cell whose formula nobody has computed, or ends in an error
# Such cells of an xlsx: for calamine they are empty, which would be a stock of 0. With t="str" it is the value that is empty.
FORMULAS = re.compile(
    rb'<c r="([A-Z]+)(\d+)"(?:[^>]* t="e"|(?![^>]* t="str")[^>]*><f\b[^>]*(?:/>|>[^<]*</f>)(?:<v ?/>|<v></v>)?</c>)'
)
# What calamine drops from an ods, and what it is to read instead.
DROPPED = {
    re.compile(rb'office:string-value=""(?=[^<>]* calcext:value-type="error")'): f'office:string-value="{NO_VALUE}"',
    re.compile(rb"<text:tab ?/>"): "\t",
}


def main(memory: str, most: str, wanted: str) -> int:
    """Return the exit status; any other one than the above: the workbook cannot be read."""
    with suppress(ImportError):  # Windows has no limits: the reader's time limit remains
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
        os.nice(10)  # the service's own requests come first
    try:
        from python_calamine import CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum
    except ImportError:
        return NOT_INSTALLED
    try:
        body = io.BytesIO(sys.stdin.buffer.read())
        book = CalamineWorkbook.from_filelike(io.BytesIO(with_dropped(body)))
    except PasswordError:
        return PROTECTED
    found = [sheet for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    shown = [sheet.name for sheet in found if sheet.visible == SheetVisibleEnum.Visible]
    if wanted and wanted not in [sheet.name for sheet in found]:
        return NO_SHEET
    for name in [wanted] if wanted else shown:
        sheet = book.get_sheet_by_name(name)
        if sheet.height:  # total_height is the index of the last row
            break
    else:
        return NO_SHEET
    rows = [[text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False, nrows=int(most))]
    for row, column in uncomputed(body):
        if row < len(rows) and column < len(rows[row]):
            rows[row][column] = rows[row][column] or NO_VALUE
    while rows and not any(rows[-1]):
        rows.pop()
    print(json.dumps({"hojas": [sheet.name for sheet in found], "hoja": name}))
    csv.writer(sys.stdout, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)  # also a cell with \r
    return 0


def with_dropped(body: io.BytesIO) -> bytes:
    """Return a workbook in which calamine sees what it drops from an ods: the errors of formulas, and tabs."""
    if not zipfile.is_zipfile(body):
        return body.getvalue()
    with zipfile.ZipFile(body) as parts:
        if "content.xml" not in parts.namelist():
            return body.getvalue()
        content = mended = parts.read("content.xml")
        for dropped, meant in DROPPED.items():
            mended = dropped.sub(meant.encode(), mended)
        if mended == content:
            return body.getvalue()
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w") as written:
            for name in {"mimetype", "META-INF/manifest.xml"} & {*parts.namelist()}:
                written.writestr(name, parts.read(name))
            written.writestr("content.xml", mended)
    return copy.getvalue()


def uncomputed(body: io.BytesIO) -> list[tuple[int, int]]:
    """Return the row and the column of each cell of an xlsx whose formula has no value, counted from 0."""
    if not zipfile.is_zipfile(body):
        return []
    with zipfile.ZipFile(body) as parts:
        found = [FORMULAS.findall(parts.read(name)) for name in parts.namelist() if name.startswith("xl/worksheets/")]
    places = [(int(row) - 1, letters) for sheet in found for letters, row in sheet]
    return [
        (row, sum((letter - 64) * 26**n for n, letter in enumerate(reversed(letters))) - 1) for row, letters in places
    ]


def text(value: object) -> str:
    """Return a cell as text. A number never has three decimals: nobody takes its point for one of thousands."""
    if isinstance(value, bool):
        return "VERDADERO" if value else "FALSO"
    if isinstance(value, int | float):
        digits = f"{value:.6f}".rstrip("0").rstrip(".")  # 36.300000000000004 is 36.3
        return digits + "0" if digits[-4:-3] == "." else digits
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    return str(value)


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
    sys.exit(main(*sys.argv[1:]))
