#!/bin/sh
# python-calamine (seen with 0.9.1, CPython 3.11.7, Linux x86-64): a cell whose formula ends in an error is read as an empty text,
# as if nobody had written anything there: a stock of #DIV/0! looks like one that was not filled in. (xlsx as xlsxwriter 3.3.1
# writes it, ods as LibreOffice 7.4 does; so it is with an xls of LibreOffice.) Of an ods it also drops <text:tab/>: "a", tab, "b"
# is read as "ab". Who has to tell an error from an empty cell must look into the parts of the workbook.
# Seen: "xlsx ['']" and "ods ['', 'ab']". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-calamine==0.9.1 xlsxwriter==3.3.1
cat > "$folder/seen.py" <<'PY'
import sys
import zipfile

import xlsxwriter
from python_calamine import CalamineWorkbook

folder = sys.argv[1]
with xlsxwriter.Workbook(f"{folder}/error.xlsx") as book:
    book.add_worksheet().write_formula(0, 0, "=1/0", None, "#DIV/0!")

names = ("office", "table", "text")
spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
spaces += ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
row = (
    '<table:table-cell table:formula="of:=1/0" office:value-type="string" office:string-value="" calcext:value-type="error">'
    "<text:p>#DIV/0!</text:p></table:table-cell>"
    '<table:table-cell office:value-type="string"><text:p>a<text:tab/>b</text:p></table:table-cell>'
)
sheet = f'<table:table table:name="Sheet"><table:table-row>{row}</table:table-row></table:table>'
with zipfile.ZipFile(f"{folder}/error.ods", "w") as parts:
    parts.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    parts.writestr("META-INF/manifest.xml", "<manifest/>")
    parts.writestr(
        "content.xml",
        f"<office:document-content {spaces}><office:body><office:spreadsheet>{sheet}</office:spreadsheet></office:body>"
        "</office:document-content>",
    )

seen = {}
for kind in ("xlsx", "ods"):
    sheet = CalamineWorkbook.from_path(f"{folder}/error.{kind}").get_sheet_by_index(0)
    seen[kind] = sheet.to_python(skip_empty_area=False)[0]
    print(kind, seen[kind])
raise SystemExit(seen != {"xlsx": [""], "ods": ["", "ab"]})
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder"
