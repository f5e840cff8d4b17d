#!/bin/sh
# python-calamine (seen with 0.9.1, CPython 3.11.7, Linux x86-64): `total_height` and `total_width` of a sheet are the indexes of
# its last row and column. Of a sheet with one cell they are 0, as of an empty one, while `height` and `width` count. (In words: a
# small workbook can also ask it for more memory than a machine has. It then aborts, and no exception can be caught: a service has
# to read workbooks in a process of its own, with a limit of memory.)
# Seen: "empty: 0 0, 0 0", "one: 1 1, 0 0" and "table: 3 2, 2 1". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-calamine==0.9.1 xlsxwriter==3.3.1
cat > "$folder/seen.py" <<'PY'
import io

import xlsxwriter
from python_calamine import CalamineWorkbook


def sizes(rows: int, columns: int) -> str:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        sheet = book.add_worksheet()
        for row in range(rows):
            sheet.write_row(row, 0, ["x"] * columns)
    read = CalamineWorkbook.from_filelike(io.BytesIO(file.getvalue())).get_sheet_by_index(0)
    return f"{read.height} {read.width}, {read.total_height} {read.total_width}"


seen = {"empty": sizes(0, 0), "one": sizes(1, 1), "table": sizes(3, 2)}
print(*(f"{name}: {size}" for name, size in seen.items()), sep="\n")
raise SystemExit(seen != {"empty": "0 0, 0 0", "one": "1 1, 0 0", "table": "3 2, 2 1"})
PY
"$folder/venv/bin/python" "$folder/seen.py"
