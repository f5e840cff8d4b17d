"""What is compared: this service and its peers, each on a database of its own with the same thousand products."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

from psycopg2.extensions import connection, parse_dsn

from ..tools.databases import empty_database
from ..tools.service import Service, database, free_port, insert, inventory, running, writer

PEERS = Path(__file__).with_name("peers")
BUILD = Path("build/bench").resolve()
PRODUCTS = 1_000
TEXT = "Laptop potente"
PATIENCE = 120  # seconds for an installation


class Absent(Exception):
    """A peer or a tool that this machine has not; the message says why."""


def _fill(conn: connection) -> None:
    """The products; their statistics are there, as they are wherever autovacuum has had a minute."""
    insert(conn, PRODUCTS, TEXT)
    with conn.cursor() as cursor:
        cursor.execute("ANALYZE")


@asynccontextmanager
async def ours(server: str, *flags: str) -> AsyncIterator[Service]:
    with database(server) as dsn, closing(writer(dsn)) as conn:
        _fill(conn)
        async with inventory(dsn, *flags) as service:
            yield service


@asynccontextmanager
async def _peer(server: str, program: list[str], env: Mapping[str, str]) -> AsyncIterator[Service]:
    """A peer finds its database by the variables of libpq, and makes its own table."""
    port = free_port()
    with empty_database(server, "bench") as dsn:
        found = {f"PG{word.upper()}": str(value) for word, value in parse_dsn(dsn).items()}
        found["PGDATABASE"] = found.pop("PGDBNAME")
        env = {**env, **found, "PORT": str(port)}
        program = [word.format(port=port) for word in program]
        async with running(ready="/api/productos?limit=1", port=port, program=program, env=env) as service:
            with closing(writer(dsn)) as conn:
                _fill(conn)
            yield service


def node(server: str) -> AbstractAsyncContextManager[Service]:
    folder = BUILD / "node"
    if not shutil.which("npm"):
        raise Absent("there is no Node.js with npm here")
    if not _installed(folder, PEERS / "node" / "package-lock.json"):
        shutil.copytree(PEERS / "node", folder, dirs_exist_ok=True)
        _install(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)], folder)
    shutil.copy(PEERS / "node" / "app.mjs", folder)  # beside its node_modules, where Node.js looks for them
    return _peer(server, ["node", str(folder / "app.mjs")], {"NODE_ENV": "production"})


def fastapi(server: str) -> AbstractAsyncContextManager[Service]:
    folder, wanted = BUILD / "fastapi", PEERS / "fastapi" / "requirements.txt"
    if not _installed(folder, wanted):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        _install([*pip, "--requirement", str(wanted)], folder)
    uvicorn = [str(folder / "bin" / "uvicorn"), "app:app", "--app-dir", str(PEERS / "fastapi"), "--port", "{port}"]
    return _peer(server, uvicorn, {})


def _installed(folder: Path, wanted: Path) -> bool:
    stamp = folder / "installed"
    return stamp.exists() and stamp.stat().st_mtime > wanted.stat().st_mtime


def _install(command: list[str], folder: Path) -> None:
    """Raises Absent where it can't be had."""
    try:
        subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True, text=True)
    except subprocess.SubprocessError as exc:
        said = (getattr(exc, "stderr", None) or str(exc)).strip().splitlines()
        raise Absent(f"it can't be installed: {said[-1] if said else exc}") from exc
    (folder / "installed").touch()
