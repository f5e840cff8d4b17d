"""A program of its own: it reads a workbook (xlsx, xls, ods) from stdin, and writes a line of JSON and a sheet as CSV to stdout.

It imports nothing of the package. There are small workbooks that take more memory than any machine has, and calamine then aborts its
process. Arguments: the most memory in bytes, the most rows, the sheet (empty: the first visible one that has cells).
"""

import csv
import datetime
import io
import json
import os
import re
import struct
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress

CPU = 20  # seconds
NOT_INSTALLED, NO_SHEET = 3, 4  # exit statuses
NO_VALUE = "fórmula sin valor"  # the text of a cell whose formula nobody has computed, or ends in an error
CELL = rb'<c\b(?=(?:[^>]*?( r="\w+"))?)'  # with its place, if it tells one
FORMULA = rb"<f\b[^>]*(?:/>|>[^<]*</f>)"
ERROR = rb'[^>]* t="e"[^>]*>(?:' + FORMULA + rb")?<v>[^<]*</v>"
UNCOMPUTED = rb'(?![^>]* t="str")[^>]*>' + FORMULA + rb"(?:<v ?/>|<v></v>)?(?=</c>)"  # with t="str" it is an empty text
ZERO = re.compile(b"(" + FORMULA + b")<v>0</v>")  # beside fullCalcOnLoad and no other value: nobody has computed it
COMPUTED = re.compile(FORMULA + b"<v>(?!0</v>)")
PREFIX = re.compile(rb"<(/?)\w+:(?=[cfv]\b)")  # .NET's libraries write <x:c>
# What calamine drops from an xlsx or an ods, and what it is to read instead: an empty cell would be a stock of 0.
DROPPED = {
    re.compile(CELL + b"(?:" + ERROR + b"|" + UNCOMPUTED + b")"): rf'<c\1 t="str"><v>{NO_VALUE}</v>',
    re.compile(rb"<table:table-cell(?=[^<>]* table:formula=)(?![^<>]* office:value-type=)"): (
        f'<table:table-cell office:value-type="string" office:string-value="{NO_VALUE}"'
    ),
    re.compile(rb'office:string-value=""(?=[^<>]* calcext:value-type="error")'): f'office:string-value="{NO_VALUE}"',
    re.compile(rb"<text:tab ?/>"): "\t",
    re.compile(rb">\s+(?=</?table:)"): ">",  # SheetJS indents cells, of which calamine reads none
}
# Records of an xls: the beginning of a sheet; the row and the column of a cell with an error; those of a formula with an error,
# with a 0 that is to be computed on load (POI, WriteExcel), or an empty text, which of xlwt is no value.
RECORDS = re.compile(
    rb"\x09\x08..\x00[\x05\x06]\x10\x00|\x05\x02\x08\x00(....)...\x01"
    rb"|\x06\x00.\x00(....)..(?:\x02.[\x00\x07\x0f\x17\x1d\x24\x2a]...\xff\xff|\x00{8}[\x02\x03]\x00|(\x03\x00{5}\xff\xff))",
    re.DOTALL,
)
SAVED = "SummaryInformation".encode("utf-16-le")  # is in what a spreadsheet has saved
LATIN, UNICODE = b"\x42\x00\x02\x00\xe4\x04", b"\x42\x00\x02\x00\xb0\x04"  # code pages of an xls


def main(memory: str, most: str, wanted: str) -> int:
    """Return the exit status; any other one than the above: the workbook cannot be read."""
    with suppress(ImportError):  # Windows has no limits: the reader's time limit remains
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
        os.nice(10)  # the service's own requests come first
    try:
        from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum
    except ImportError:
        return NOT_INSTALLED
    body = with_dropped(sys.stdin.buffer.read())
    book = CalamineWorkbook.from_filelike(io.BytesIO(body))
    sheets = {sheet.name: sheet.visible for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet}
    if wanted and wanted not in sheets:
        return NO_SHEET
    for name in [wanted] if wanted else [name for name in sheets if sheets[name] == SheetVisibleEnum.Visible]:
        sheet = book.get_sheet_by_name(name)
        if sheet.height:  # total_height is the index of the last row
            break
    else:
        return NO_SHEET
    rows = [[text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False, nrows=int(most))]
    for row, column in errors_of_xls(body, [*sheets].index(name)):
        with suppress(IndexError):  # beyond the last row or column that holds something
            if rows[row][column] in ("", "0"):
                rows[row][column] = NO_VALUE
    while rows and not any(rows[-1]):
        rows.pop()
    print(json.dumps({"hojas": [*sheets], "hoja": name}))
    csv.writer(sys.stdout, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)  # also a cell with \r
    return 0


def with_dropped(body: bytes) -> bytes:
    """Return a workbook in which calamine sees what it drops."""
    if not body.startswith(b"PK"):  # an xls may contain a zip
        # In one of Excel 97 or newer the texts are UTF-16, also where a library (WriteExcel) names another code page.
        return body.replace(LATIN, UNICODE, 1) if b"\x09\x08\x10\x00\x00\x06" in body else body
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as parts, zipfile.ZipFile(copy, "w") as written:
        book = "xl/workbook.xml"
        if "xl/workbook.bin" in parts.namelist():
            raise ValueError("an xlsb: what is dropped of it cannot be seen")
        asks = book in parts.namelist() and b'fullCalcOnLoad="1"' in parts.read(book)
        for name in parts.namelist():
            part = parts.read(name)
            if name.endswith(".xml"):
                part = PREFIX.sub(rb"<\1", part)
                if asks and not COMPUTED.search(part):
                    part = ZERO.sub(rb"\1", part)
                for dropped, meant in DROPPED.items():
                    part = dropped.sub(meant.encode(), part)
            written.writestr(name, part)
    return copy.getvalue()


def errors_of_xls(body: bytes, wanted: int) -> Iterator[tuple[int, int]]:
    """Yield the row and the column of each error or formula without a value in a sheet of an xls, counted from 0."""
    sheet, saved = -1, SAVED in body
    for found in RECORDS.finditer(body):
        if place := found[1] or found[2]:
            if sheet == wanted and not (found[3] and saved):
                yield struct.unpack("<HH", place)
        else:
            sheet += 1


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
