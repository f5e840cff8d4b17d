"""A pooler between the service and PostgreSQL."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection

from inventory_ws import create_app
from inventory_ws.pg.connection import SERVER_SETTINGS
from inventory_ws.pg.database import DATABASE

from .conftest import PRODUCT, create, error, waits
from .test_main import one_line, run
from .tools.pgbouncer import PGBOUNCER, pgbouncer

pytestmark = pytest.mark.skipif(not (PGBOUNCER or os.environ.get("REQUIRE_ALL")), reason="needs pgbouncer")


@pytest.fixture
def pooled(folder: Path, dsn: str, request: pytest.FixtureRequest) -> Iterator[str]:
    home = folder / f"pgbouncer-{request.node.name.partition('[')[0]}"
    home.mkdir()
    with pgbouncer(home, dsn, request.param) as through:
        yield through


@pytest.mark.parametrize("pooled", ["session"], indirect=True)
async def test_every_limit_holds_behind_a_pooler_of_sessions(
    pooled: str, psql: Callable, connect: Callable, aiohttp_client: Callable
) -> None:
    client = await aiohttp_client(create_app(dsn=pooled))
    ws = await client.ws_connect("/ws")
    await ws.receive_json(timeout=5)
    await create(client)
    assert (await ws.receive_json(timeout=5))["id"] == 1
    ((settings,),) = await client.app[DATABASE].fetch(
        "SELECT jsonb_object_agg(name, current_setting(name)) FROM unnest(%(names)s::text[]) AS name",
        {"names": [*SERVER_SETTINGS, "statement_timeout"]},
    )
    assert (settings["lock_timeout"], settings["statement_timeout"]) == ("2s", "3300ms")
    locker: connection = connect()
    locker.autocommit = False
    locker.cursor().execute("UPDATE productos SET stock = 1")
    await error(await client.patch("/api/productos/1", json={"stock": 2}), 503)
    await waits(psql, "Lock", 0)
    locker.rollback()
    assert psql("SELECT stock FROM productos") == [(PRODUCT["stock"],)], "it is not made later"


@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
def test_pooler_of_transactions_is_an_error_of_one_line(pooled: str) -> None:
    result: subprocess.CompletedProcess[str] = run("--port", "0", "--database-url", pooled)
    assert "póngalo en modo sesión" in one_line(result)
