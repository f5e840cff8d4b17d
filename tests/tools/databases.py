"""A database for a test or a check, which goes with it."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count

import psycopg2
from psycopg2.extensions import make_dsn

NUMBERS = count(1)


@contextmanager
def empty_database(server: str, prefix: str) -> Iterator[str]:
    """A database with nothing in it, on the server of the DSN; yields its own."""
    name = f"{prefix}_{os.getpid()}_{next(NUMBERS)}"
    with closing(psycopg2.connect(server)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            try:
                yield make_dsn(server, dbname=name)
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
