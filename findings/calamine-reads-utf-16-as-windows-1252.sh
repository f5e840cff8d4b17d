#!/bin/sh
# python-calamine 0.9.1 (CPython 3.11.7, Linux x86-64), an xls by Perl's Spreadsheet::WriteExcel 2.40 (Debian 12): its strings are
# UTF-16, as in every xls since Excel 97, and its record CODEPAGE says 1252, which counts for older files. calamine decodes the
# UTF-16 with 1252: a NUL behind each letter, and of € two other characters. xlrd and LibreOffice 7.4 do not ask CODEPAGE there.
# With 1200 in its place all is read. A text with NULs equals no title and no name, and PostgreSQL stores none.
# Seen: "calamine: 'P\x00V\x00P\x00 \x00¬ ', with 1200 'PVP €'; xlrd 'PVP €'". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-calamine==0.9.1 xlrd==2.0.2
for package in libspreadsheet-writeexcel-perl libole-storage-lite-perl libparse-recdescent-perl; do
    (cd "$folder" && apt-get --quiet --option APT::Sandbox::User=root download $package > /dev/null)
done
for package in "$folder"/*.deb; do dpkg --extract "$package" "$folder"; done
PERL5LIB="$folder/usr/share/perl5" perl -e '
    use utf8;
    use Spreadsheet::WriteExcel;
    my $book = Spreadsheet::WriteExcel->new("$ARGV[0]/prices.xls");
    $book->add_worksheet()->write_string(0, 0, "PVP €");
    $book->close();
    print "Spreadsheet::WriteExcel $Spreadsheet::WriteExcel::VERSION\n";
' "$folder"
cat > "$folder/seen.py" <<'PY'
import io
import sys
from importlib.metadata import version
from pathlib import Path

import xlrd
from python_calamine import CalamineWorkbook

file = Path(sys.argv[1]).read_bytes()


def cell(body: bytes) -> str:
    return CalamineWorkbook.from_filelike(io.BytesIO(body)).get_sheet_by_index(0).to_python()[0][0]


print("python-calamine", version("python-calamine"))
named = file.replace(b"\x42\x00\x02\x00\xe4\x04", b"\x42\x00\x02\x00\xb0\x04")
other = xlrd.open_workbook(file_contents=file).sheet_by_index(0).cell_value(0, 0)
seen = f"calamine: {cell(file)!r}, with 1200 {cell(named)!r}; xlrd {other!r}"
print(seen)
raise SystemExit(seen != r"calamine: 'P\x00V\x00P\x00 \x00¬ ', with 1200 'PVP €'; xlrd 'PVP €'")
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder/prices.xls"
