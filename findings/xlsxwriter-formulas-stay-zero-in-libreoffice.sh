#!/bin/sh
# XlsxWriter 3.3.1, openpyxl 3.1.5, xlwt 1.3.0 and odfpy 1.4.1, read by python-calamine 0.9.1 and LibreOffice 7.4 (Debian 12):
# none of the four computes a formula that it writes. Three write no value; XlsxWriter writes 0, as its documentation says, and
# trusts in fullCalcOnLoad="1" in the workbook, which asks whoever opens it to compute all formulas. openpyxl's files have it,
# too. Neither reader obeys it: calamine reads 0 and '', LibreOffice computes the formulas without a value and keeps XlsxWriter's
# 0, which after a conversion is a price like any other. So fullCalcOnLoad is what tells a reader that a 0 may be none.
# Seen, for =2*3: "XlsxWriter: asks True, calamine 0.0, LibreOffice 0", "openpyxl: asks True, calamine '', LibreOffice 6", "xlwt:
# asks False, calamine '', LibreOffice 6", "odfpy: asks False, calamine '', LibreOffice 6". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    XlsxWriter==3.3.1 openpyxl==3.1.5 xlwt==1.3.0 odfpy==1.4.1 python-calamine==0.9.1
cat > "$folder/seen.py" <<'PY'
import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import xlsxwriter
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from python_calamine import CalamineWorkbook

folder = Path(sys.argv[1])
files = {"XlsxWriter": "xlsxwriter.xlsx", "openpyxl": "openpyxl.xlsx", "xlwt": "xlwt.xls", "odfpy": "odfpy.ods"}


def write() -> None:
    """Each file has a formula between two numbers."""
    with xlsxwriter.Workbook(folder / files["XlsxWriter"]) as book:
        book.add_worksheet().write_row(0, 0, [5, "=2*3", 5])
    book = openpyxl.Workbook()
    book.active.append([5, "=2*3", 5])
    book.save(folder / files["openpyxl"])
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet")
    for column, cell in enumerate((5, xlwt.Formula("2*3"), 5)):
        sheet.write(0, column, cell)
    book.save(folder / files["xlwt"])
    book = OpenDocumentSpreadsheet()
    table, row = Table(name="Sheet"), TableRow()
    for cell in ({"valuetype": "float", "value": 5}, {"formula": "of:=2*3"}, {"valuetype": "float", "value": 5}):
        row.addElement(TableCell(**cell))
    table.addElement(row)
    book.spreadsheet.addElement(table)
    book.save(folder / files["odfpy"])


def read(name: str) -> str:
    path = folder / files[name]
    asks = path.suffix == ".xlsx" and b'fullCalcOnLoad="1"' in zipfile.ZipFile(path).read("xl/workbook.xml")
    cell = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()[0][1]
    office = ["soffice", "--headless", f"-env:UserInstallation={folder.as_uri()}/profile", "--convert-to", "csv"]
    subprocess.run([*office, "--outdir", folder, path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with path.with_suffix(".csv").open(newline="") as converted:
        computed = next(csv.reader(converted))[1]
    return f"{name}: asks {asks}, calamine {cell!r}, LibreOffice {computed}"


print(subprocess.run(["soffice", "--version"], check=True, capture_output=True, text=True).stdout.strip())
write()
seen = [read(name) for name in files]
print(*seen, sep="\n")
wanted = ["XlsxWriter: asks True, calamine 0.0, LibreOffice 0", "openpyxl: asks True, calamine '', LibreOffice 6"]
wanted += [f"{name}: asks False, calamine '', LibreOffice 6" for name in ("xlwt", "odfpy")]
raise SystemExit(seen != wanted)
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder"
