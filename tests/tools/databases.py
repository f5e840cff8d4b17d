"""A database for a test or a check, which goes with it."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count

import psycopg2
from psycopg2.extensions import cursor, make_dsn, parse_dsn

from inventory_ws.pg.schema import sql_file

NUMBERS = count(1)


@contextmanager
def empty_database(server: str, prefix: str, template: str = "template1") -> Iterator[str]:
    """A database with nothing in it, or a copy of another, on the server of the DSN; yields its own."""
    name = f"{prefix}_{os.getpid()}_{next(NUMBERS)}"
    with closing(psycopg2.connect(server)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute("SHOW fsync")
            # Without fsync, files are copied in half the time that a WAL of all their blocks takes.
            copied = cursor.fetchone() == ("off",) and admin.server_version >= 150000
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template} {'STRATEGY FILE_COPY' if copied else ''}")
            try:
                yield make_dsn(server, dbname=name)
            finally:
                _await_end_of_sessions(cursor, name)
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _await_end_of_sessions(cursor: cursor, name: str) -> None:
    """Waits until those that were closed have ended. DROP DATABASE would look for them only every 100 ms."""
    for _ in range(20):
        cursor.execute("SELECT FROM pg_stat_activity WHERE datname = %s", (name,))
        if not cursor.rowcount:
            break
        time.sleep(0.005)


@contextmanager
def template_database(server: str) -> Iterator[str]:
    """A database with the schema, to be copied; yields its name."""
    with empty_database(server, "template") as dsn:
        with closing(psycopg2.connect(dsn)) as conn, conn, conn.cursor() as cursor:
            cursor.execute(sql_file("schema.sql"))
        yield parse_dsn(dsn)["dbname"]


@contextmanager
def database(server: str, prefix: str, template: str) -> Iterator[str]:
    """A copy of that database; yields its DSN."""
    with empty_database(server, prefix, template) as dsn:
        with closing(psycopg2.connect(dsn)) as conn, conn, conn.cursor() as cursor:
            cursor.execute("UPDATE eventos_epoca SET epoca = gen_random_uuid()")  # no two databases have the same epoch
        yield dsn
