#!/bin/sh
# python-calamine (seen with 0.9.1, CPython 3.11.7, Linux x86-64): a sheet is one table from its first to its last cell. With cells
# in A1 and XFD1048576 (a workbook of 5 KB, written by xlsxwriter 3.3.1) it asks for 400 GB, and the process aborts: no exception
# can be caught. A service has to read workbooks in a process of its own, with a limit of memory (here 2 GB).
# Beside it: `total_height` is the index of the last row, and so 0 for a sheet of one row; `height` counts.
# Seen: "exit status -6" and "height 1, total_height 0". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-calamine==0.9.1 xlsxwriter==3.3.1
cat > "$folder/write.py" <<'PY'
import sys

import xlsxwriter

for name, cells in {"far": [(0, 0), (1048575, 16383)], "one": [(0, 0)]}.items():
    with xlsxwriter.Workbook(f"{sys.argv[1]}/{name}.xlsx") as book:
        sheet = book.add_worksheet()
        for row, column in cells:
            sheet.write(row, column, "x")
PY
cat > "$folder/read.py" <<'PY'
import resource
import sys

from python_calamine import CalamineWorkbook

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
sheet = CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0)
print(f"height {sheet.height}, total_height {sheet.total_height}")
PY
cat > "$folder/seen.py" <<'PY'
import subprocess
import sys

folder = sys.argv[1]
far, one = (
    subprocess.run([sys.executable, f"{folder}/read.py", f"{folder}/{name}.xlsx"], capture_output=True, text=True)
    for name in ("far", "one")
)
print(f"exit status {far.returncode}\n{one.stdout.strip()}")
raise SystemExit((far.returncode, one.stdout) != (-6, "height 1, total_height 0\n"))
PY
"$folder/venv/bin/python" "$folder/write.py" "$folder"
"$folder/venv/bin/python" "$folder/seen.py" "$folder"
