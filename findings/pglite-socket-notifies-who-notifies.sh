#!/bin/sh
# pglite-socket 0.2.17 with PGlite 0.5.14 (npm; seen with Node.js 20.20.2) and psycopg2 2.9.13: PGlite is PostgreSQL in one session,
# which pglite-socket shares among all connections. Transactions of two wait for one another, as if there were two sessions. But a
# notification goes to the connection that sent NOTIFY, which does not listen, and never to the one that listens. Both get the
# same advisory lock, both have the pid 42 by which a listener knows its own notifications, and a lock, LISTEN and
# set_config() outlive their connection. A program that listens is silent there, and one that takes turns by a lock takes none.
# Seen: "pids: 42, 42", "the same lock: True, True", "heard by the listener: [], by the notifier: ['stock']", "after the
# listener has gone: listening ['channel'], locks 1, user ana". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --prefix "$folder" @electric-sql/pglite@0.5.14 @electric-sql/pglite-socket@0.2.17
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check psycopg2-binary==2.9.13
cat > "$folder/server.mjs" <<'JS'
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

const server = new PGLiteSocketServer({ db: await PGlite.create(), host: "127.0.0.1", port: 0, maxConnections: 5 });
await server.start();
console.log(server.getServerConn());
process.stdin.on("end", () => process.exit()).resume();
JS
cat > "$folder/seen.py" <<'PY'
import subprocess
import sys

import psycopg2

server = subprocess.Popen(["node", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
host, port = server.stdout.readline().strip().rsplit(":", 1)


def connect() -> psycopg2.extensions.connection:
    connection = psycopg2.connect(host=host, port=port, user="postgres", dbname="postgres", sslmode="disable")
    connection.autocommit = True
    return connection


def ask(connection: psycopg2.extensions.connection, sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def heard(connection: psycopg2.extensions.connection) -> list[str]:
    ask(connection, "SELECT 1")  # PostgreSQL sends what is to be heard before its answer
    return [notify.payload for notify in connection.notifies]


listener, notifier = connect(), connect()
both = listener, notifier
print(ask(listener, "SELECT version()"))
seen = ["pids: {}, {}".format(*(ask(connection, "SELECT pg_backend_pid()") for connection in both))]
seen.append("the same lock: {}, {}".format(*(ask(connection, "SELECT pg_try_advisory_lock(1)") for connection in both)))
ask(listener, "LISTEN channel")
ask(listener, "SELECT set_config('app.user', 'ana', false)")
ask(notifier, "NOTIFY channel, 'stock'")
seen.append(f"heard by the listener: {heard(listener)}, by the notifier: {heard(notifier)}")
ask(notifier, "SELECT pg_advisory_unlock(1)")  # its own
listener.close()
listening = ask(notifier, "SELECT array_agg(channel) FROM pg_listening_channels() AS channel")
locks = ask(notifier, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
user = ask(notifier, "SELECT current_setting('app.user', true)")
seen.append(f"after the listener has gone: listening {listening}, locks {locks}, user {user}")
notifier.close()
server.stdin.close()
server.wait(10)
print(*seen, sep="\n")
wanted = ["pids: 42, 42", "the same lock: True, True", "heard by the listener: [], by the notifier: ['stock']"]
wanted.append("after the listener has gone: listening ['channel'], locks 1, user ana")
raise SystemExit(seen != wanted)
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder/server.mjs"
