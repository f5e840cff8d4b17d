"""Rows that come by replication, by a load or not at all after a crash, on real servers."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from inventory_ws.live.log import LOG
from inventory_ws.pg.schema import sql_file

from .conftest import create, healthy, settled
from .test_history import Serve, honoured, make, renewed, serve  # noqa: F401
from .test_unheard import REPLICA, reason, restarted
from .tools.cluster import Cluster
from .tools.screen import agree, run, shown

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("attentive")]

NUMBERS = count()
STATES = "SELECT tgenabled FROM pg_trigger WHERE tgname ~ '^(eventos|zz_productos)_' ORDER BY tgname"


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """A PostgreSQL that can publish rows."""
    with Cluster(folder / "moves") as cluster:
        cluster.create()
        run(cluster.dsn, "ALTER SYSTEM SET wal_level = logical")
        cluster.stop()
        cluster.start()
        yield cluster


@pytest.fixture
def database(cluster: Cluster) -> Callable[..., str]:
    """Makes a database in it, with the schema or empty, and returns its DSN."""

    def database(*, empty: bool = False) -> str:
        name = f"moves_{next(NUMBERS)}"
        run(cluster.dsn, f"CREATE DATABASE {name}")
        dsn = make_dsn(cluster.dsn, dbname=name)
        if not empty:
            run(dsn, sql_file("schema.sql"))
        return dsn

    return database


@contextmanager
def subscription(source: str, target: str, tables: str) -> Iterator[None]:
    """Brings what is published of one database into another, both of one server."""
    name = f"moves_{next(NUMBERS)}"
    run(source, f"CREATE PUBLICATION {name} FOR {tables}")
    run(source, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    run(target, f"CREATE SUBSCRIPTION {name} CONNECTION '{source}' PUBLICATION {name} WITH (create_slot = false)")
    try:
        yield
    finally:
        run(target, f"ALTER SUBSCRIPTION {name} DISABLE", f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
        run(target, f"DROP SUBSCRIPTION {name}")


async def arrived(source: str, target: str, query: str) -> None:
    """Waits until a query has the same rows in both."""
    async with asyncio.timeout(20):
        while await asyncio.to_thread(run, target, query) != run(source, query):
            await asyncio.sleep(0.05)


async def test_rows_of_a_subscription_are_heard_or_reported(database: Callable[..., str], serve: Serve) -> None:  # noqa: F811
    source, target = database(), database()
    run(source, "INSERT INTO productos (nombre, precio) VALUES ('copiado', 1), ('copiado', 2)")
    client = await serve(target)
    with subscription(source, target, "TABLE productos"):
        assert "UPDATE eventos_epoca SET replica = true" in await reason(client)
    run(target, "TRUNCATE productos", REPLICA)
    await restarted(target)
    await healthy(client)
    epoch = client.app[LOG].epoch
    async with shown(client, 1) as screens:
        with subscription(source, target, "TABLE productos"):
            await settled(client, 2)
            await healthy(client)
            run(source, "INSERT INTO productos (nombre, precio) VALUES ('nuevo', 3)")
            run(source, "UPDATE productos SET stock = 9 WHERE id = 1", "DELETE FROM productos WHERE id = 2")
            await settled(client, 5)
            await agree(screens, target)
            assert (screens[0].told, screens[0].closed) == ([1, 2, 3, 4, 5], [])
            run(source, "TRUNCATE productos")
            await renewed(client, epoch)
            await agree(screens, target)


@pytest.mark.parametrize("pruned", [False, True])
async def test_database_moved_by_replication_keeps_positions(
    cluster: Cluster,
    database: Callable[..., str],
    serve: Serve,  # noqa: F811
    pruned: bool,
) -> None:
    blue, green = database(), database(empty=True)
    client = await serve(blue)
    await make(client, 4)
    cluster.run("pg_dump", "--schema-only", "-f", "schema.sql", "-d", blue)
    cluster.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", "schema.sql", "-d", green)
    with subscription(blue, green, "ALL TABLES"):
        await make(client, 3)
        await client.delete("/api/productos/7")
        await settled(client, 8)
        epoch = client.app[LOG].epoch
        if pruned:
            run(blue, "SELECT eventos_podar(NULL, 0)")
        await client.close()
        for query in (
            "SELECT * FROM eventos_epoca",
            "SELECT id FROM eventos ORDER BY id",
            "SELECT max(id) FROM productos",
        ):
            await arrived(blue, green, query)
    client = await serve(green)
    assert (await create(client))["id"] == (7 if pruned else 8), "the log of a deleted product is gone with it"
    await settled(client, 9)
    assert await honoured(client, 8, epoch) == [9]
    assert await honoured(client, 5, epoch) == (None if pruned else [6, 7, 8, 9])


async def test_load_of_data_only_leaves_the_owners_choice(
    cluster: Cluster,
    database: Callable[..., str],
    serve: Serve,  # noqa: F811
) -> None:
    source, target = database(), database()
    run(source, REPLICA, sql_file("schema.sql"))
    client = await serve(source)
    await make(client, 3)
    epoch = client.app[LOG].epoch
    cluster.run("pg_dump", "-Fc", "-f", "data", "-d", source)
    run(target, REPLICA, sql_file("schema.sql"), "TRUNCATE productos, eventos, eventos_epoca")
    cluster.run("pg_restore", "--data-only", "--disable-triggers", "--single-transaction", "-d", target, "data")
    assert run(target, STATES) == [("O",)] * 5
    client = await serve(target)
    assert run(target, STATES) == [("A",)] * 5
    assert await honoured(client, 2, epoch) == [3]


async def test_positions_that_a_crash_without_synchronous_commit_has_lost(
    cluster: Cluster,
    database: Callable[..., str],
    serve: Serve,  # noqa: F811
) -> None:
    dsn = make_dsn(database(), options="-c synchronous_commit=off")
    run(cluster.dsn, "ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()")
    lost = False
    while not lost:  # what is written to disk meanwhile survives
        client = await serve(dsn)
        await make(client, 1)
        run(cluster.dsn, "CHECKPOINT")
        kept, epoch = client.app[LOG].head, client.app[LOG].epoch
        await make(client, 2)
        with closing(psycopg2.connect(cluster.dsn)) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        await client.close()
        async with asyncio.timeout(20):
            while not (rows := with_patience(dsn)):
                await asyncio.sleep(0.05)
        lost = rows < [(kept + 2,)]
    run(dsn, *["INSERT INTO productos (nombre, precio) VALUES ('otro', 1)"] * 3)
    client = await serve(dsn)
    assert await honoured(client, kept + 2, epoch) is None
    assert (await honoured(client, kept, epoch) or [])[:1] == [kept + 1]


def with_patience(dsn: str) -> list[tuple[int]]:
    """The last event, or nothing while the server recovers."""
    try:
        return run(dsn, "SELECT max(id) FROM eventos")
    except psycopg2.OperationalError:
        return []
