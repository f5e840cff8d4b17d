"""What a teacher does while thirty pages are open."""

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from inventory_ws.cli.main import main

from .conftest import create, settled
from .test_main import Service, service  # noqa: F401
from .test_operation import PROGRAMS
from .tools.screen import agree, shown

ON_A_TERMINAL = """
import sys

from inventory_ws.cli import main

sys.stderr.isatty = lambda: True
main.TELL_EVERY = 0.05
sys.exit(main.main())
"""

pytestmark = pytest.mark.slow


def reset(name: str, dsn: str) -> str:
    """Runs `inventory-ws reset NAME | psql DSN`. Returns what psql said was wrong."""
    with redirect_stdout(io.StringIO()) as sql:
        assert main(["reset", *name.split()]) == 0
    command = [PROGRAMS / "psql", "-q", dsn]
    done = subprocess.run(command, input=sql.getvalue(), check=False, capture_output=True, text=True, timeout=60)
    return done.stderr


async def test_class_begins_again_with_the_sample_and_every_page_follows(
    client: TestClient, dsn: str, psql: Callable
) -> None:
    await create(client, nombre="Pintada")
    await settled(client, 1)
    async with shown(client, 30) as screens:
        await agree(screens, dsn)
        for name in ("tienda", ""):
            assert "no se ha borrado nada" in await asyncio.to_thread(reset, name, dsn)
        assert psql("SELECT nombre FROM productos") == [("Pintada",)]
        ((name,),) = psql("SELECT current_database()")
        assert await asyncio.to_thread(reset, name, dsn) == ""
        await agree(screens, dsn)
        assert {min(screen.rows) for screen in screens} == {1}
        assert {len(screen.rows) for screen in screens} == {12}
        assert (await create(client))["id"] == 13
        await agree(screens, dsn)


async def test_terminal_shows_how_many_are_connected(service: Callable[..., Service]) -> None:  # noqa: F811
    one = await asyncio.to_thread(service, program=(sys.executable, "-c", ON_A_TERMINAL))

    async def told(number: int) -> None:
        async with asyncio.timeout(10):
            while f"open sockets: {number}" not in one.written():
                await asyncio.sleep(0.02)

    async with aiohttp.ClientSession(one.url) as session:
        async with session.ws_connect("/ws"), session.ws_connect("/ws"):
            await told(2)
        await told(0)
    assert one.stop()[0] == 0
