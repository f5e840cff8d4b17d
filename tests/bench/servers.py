"""What is compared: this service and its peers, each on a database of its own with the same thousand products."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

from psycopg2.extensions import connection, parse_dsn

from ..tools.databases import empty_database
from ..tools.service import Service, free_port, insert, running, writer
from .drivers import PRODUCTS
from .table import BEFORE, OURS

PEERS = Path(__file__).with_name("peers")
BUILD = Path(__file__).parents[2] / "build" / "bench"
TEXT = "Laptop potente"
PATIENCE = 60  # seconds for a command of an installation
ABOUT = """Medians of turns. The cores are shared by the server, PostgreSQL and the load, so only ratios hold. Each server has a
pool of 8 connections, a database of its own, and logs as it does by default: ours and uvicorn each request (to a file),
Express nothing. `-`: not measured, or the server has no such thing (FastAPI no ETag, the peers no log to replay; they
ignore the keys). `before`: an earlier build, whose checkout the variable BEFORE names."""


class Absent(Exception):
    """A peer or a tool that this machine has not; the message says why."""


def _fill(conn: connection) -> None:
    """The products; their statistics are there, as they are wherever autovacuum has had a minute."""
    insert(conn, PRODUCTS, TEXT)
    with conn.cursor() as cursor:
        cursor.execute("ANALYZE")


@asynccontextmanager
async def ours(server: str, *flags: str, folder: str = "") -> AsyncIterator[Service]:
    """This build, or the one in a folder, which makes its own schema: it may be older."""
    port = free_port()
    env = {"PYTHONPATH": folder, "PYTHONSAFEPATH": "1"} if folder else {}
    with empty_database(server, "bench") as dsn:
        command = ("inventory_ws", "--port", str(port), "--database-url", dsn, *flags)
        async with running(*command, ready="/api/salud", port=port, env=env) as service:
            with closing(writer(dsn)) as conn:
                _fill(conn)
            yield service


def before(server: str) -> AbstractAsyncContextManager[Service]:
    if not (folder := os.environ.get("BEFORE")):
        raise Absent("BEFORE names no checkout of it")
    return ours(server, folder=folder)


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
    folder, code = BUILD / "node", PEERS / "node"
    if not shutil.which("npm"):
        raise Absent("there is no Node.js with npm")
    shutil.copytree(code, folder, dirs_exist_ok=True)  # Node.js looks for modules beside the program
    npm = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", folder]
    _install(folder, code / "package-lock.json", npm)
    return _peer(server, ["node", str(folder / "app.mjs")], {"NODE_ENV": "production"})


def fastapi(server: str) -> AbstractAsyncContextManager[Service]:
    folder, code = BUILD / "fastapi", PEERS / "fastapi"
    wanted = code / "requirements.txt"
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted]
    _install(folder, wanted, [sys.executable, "-m", "venv", folder], pip)
    uvicorn = [str(folder / "bin" / "uvicorn"), "app:app", "--app-dir", str(code), "--port", "{port}"]
    return _peer(server, uvicorn, {})


def _install(folder: Path, wanted: Path, *commands: list[str | Path]) -> None:
    """Runs the commands unless what is wanted is there. Raises Absent where it can't be had."""
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return
    try:
        for command in commands:
            subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True, text=True)
    except subprocess.SubprocessError as exc:
        said = (getattr(exc, "stderr", None) or str(exc)).strip().splitlines()
        raise Absent(f"it can't be installed: {said[-1] if said else exc}") from exc
    shutil.copyfile(wanted, stamp)


ALL = {OURS: ours, BEFORE: before, "node": node, "fastapi": fastapi}
