#!/bin/sh
# zipfile.is_zipfile() (seen with CPython 3.11.7) is true for an xls that Excel 2007 or newer has saved: such a file contains the
# theme of the workbook, which is a zip, and is_zipfile() looks for the end of an archive in the last 64 KiB, whatever the file
# begins with. "The magic number" of its documentation is that end. ZipFile() then opens the theme. Who tells an xls from an xlsx
# has to look at the first bytes: of a small xls everything else says zip. The sample is one of xlrd's own tests.
# Seen: "begins with d0cf11e0: is_zipfile True, theme/theme/theme1.xml in it True; xlrd reads 10 rows". Exit status 1 if that
# changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip --quiet --disable-pip-version-check"
$pip install setuptools==80.9.0 wheel==0.45.1 xlrd==1.2.0
$pip download --no-deps --no-binary xlrd --no-build-isolation --dest "$folder" xlrd==1.2.0
tar -xzf "$folder/xlrd-1.2.0.tar.gz" -C "$folder"
cat > "$folder/seen.py" <<'PY'
import sys
import zipfile
from pathlib import Path

import xlrd

path = Path(sys.argv[1])
start = path.read_bytes()[:4].hex()
archive = zipfile.is_zipfile(path)
theme = archive and "theme/theme/theme1.xml" in zipfile.ZipFile(path).namelist()
rows = xlrd.open_workbook(path).sheet_by_index(0).nrows
print("CPython", sys.version.split()[0])
seen = f"begins with {start}: is_zipfile {archive}, theme/theme/theme1.xml in it {theme}; xlrd reads {rows} rows"
print(seen)
raise SystemExit(seen != "begins with d0cf11e0: is_zipfile True, theme/theme/theme1.xml in it True; xlrd reads 10 rows")
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder/xlrd-1.2.0/tests/xf_class.xls"
