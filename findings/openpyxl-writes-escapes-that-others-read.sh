#!/bin/sh
# openpyxl 3.1.5 (beside XlsxWriter 3.3.1 and python-calamine 0.9.1): in an xlsx, _xHHHH_ stands for the character of that number,
# and a text that holds just that has to be written _x005F_xHHHH_. XlsxWriter does so. openpyxl takes the escape off when it reads
# and does not put it on when it writes: for calamine, caja_x0050_uds is then cajaPuds. openpyxl reads its own file as it was, so
# that a test by writing and reading sees nothing, and a good file is damaged when openpyxl only opens and saves it. (calamine
# reads escapes up to _x00FF_: caja_x1000_uds stays.)
# Seen: "XlsxWriter: openpyxl reads caja_x0050_uds, calamine caja_x0050_uds", and for "openpyxl" and "XlsxWriter, saved by
# openpyxl": "openpyxl reads caja_x0050_uds, calamine cajaPuds". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openpyxl==3.1.5 XlsxWriter==3.3.1 python-calamine==0.9.1
cat > "$folder/seen.py" <<'PY'
import io
from importlib.metadata import version

import openpyxl
import xlsxwriter
from python_calamine import CalamineWorkbook

NAME = "caja_x0050_uds"


def saved(book: openpyxl.Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def by_openpyxl() -> bytes:
    book = openpyxl.Workbook()
    book.active["A1"] = NAME
    return saved(book)


def by_xlsxwriter() -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        book.add_worksheet().write(0, 0, NAME)
    return file.getvalue()


def reading(file: bytes) -> str:
    cell = openpyxl.load_workbook(io.BytesIO(file)).active["A1"].value
    other = CalamineWorkbook.from_filelike(io.BytesIO(file)).get_sheet_by_index(0).to_python()[0][0]
    return f"openpyxl reads {cell}, calamine {other}"


print(*(f"{name} {version(name)}" for name in ("openpyxl", "XlsxWriter", "python-calamine")))
good = by_xlsxwriter()
files = {
    "XlsxWriter": good,
    "openpyxl": by_openpyxl(),
    "XlsxWriter, saved by openpyxl": saved(openpyxl.load_workbook(io.BytesIO(good))),
}
seen = {writer: reading(file) for writer, file in files.items()}
print(*(f"{writer}: {read}" for writer, read in seen.items()), sep="\n")
wanted = dict.fromkeys(files, f"openpyxl reads {NAME}, calamine cajaPuds")
wanted["XlsxWriter"] = f"openpyxl reads {NAME}, calamine {NAME}"
raise SystemExit(seen != wanted)
PY
"$folder/venv/bin/python" "$folder/seen.py"
