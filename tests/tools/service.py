"""The service under load: its process, what it costs, its database, and requests to it."""

import asyncio
import atexit
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psycopg2
from psycopg2.extensions import connection

from inventory_ws.pg.schema import sql_file

from .databases import empty_database

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = float(os.environ.get("PATIENCE", "1"))  # a factor to every demand on the clock: the tests' machine is busy
READY = 20 * PATIENCE  # seconds for a server to come up
RESERVED: list[socket.socket] = []  # what `free_port` has bound


class Figure(NamedTuple):
    """One line of the table; `ok` is None where nothing was demanded."""

    name: str
    demanded: str
    measured: str
    ok: bool | None = None


@cache
def temporary() -> Path:
    """A folder until the end of the program, which any account can enter: PostgreSQL does not run as root."""
    path = Path(tempfile.mkdtemp(prefix="inventory_ws-stress-"))
    path.chmod(0o755)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@contextmanager
def database(server: str) -> Iterator[str]:
    """A database of its own with the schema; yields its DSN."""
    with empty_database(server, "stress") as dsn:
        with closing(writer(dsn)) as conn, conn.cursor() as cursor:
            cursor.execute(sql_file("schema.sql"))
        yield dsn


def writer(dsn: str) -> connection:
    """A session of somebody else on the database, as psql's; it waits for a server that is starting."""
    deadline = time.monotonic() + READY
    while True:
        try:
            conn = psycopg2.connect(dsn)
        except psycopg2.OperationalError as exc:
            if "the database system is" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            conn.autocommit = True
            return conn


def insert(conn: connection, rows: int, text: str) -> None:
    """Creates products in one transaction. Each tells in its descripcion when it was made: `@<microseconds> <text>`."""
    with conn.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO productos (nombre, descripcion, precio, stock)
            SELECT 'Laptop Dell XPS ' || n, '@' || (extract(epoch FROM clock_timestamp()) * 1e6)::bigint || ' ' || %s,
                1299.99, n FROM generate_series(1, %s) AS n
            """,
            (text, rows),
        )


def steadily(
    dsn: str, events: int, rate: float, rows: int, text: str, go_on: Callable[[], bool] = lambda: True
) -> float:
    """Writes so many events, `rows` a transaction, at a steady rate; for a thread. Returns the events a second."""
    with closing(writer(dsn)) as conn:
        began = time.monotonic()
        for done in range(0, events, rows):
            if not go_on():
                break
            time.sleep(max(0.0, began + done / rate - time.monotonic()))
            insert(conn, rows, text)
        return events / (time.monotonic() - began)


@asynccontextmanager
async def ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Ends the process with the block, at last by force."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(15):
                    await process.communicate()  # wait() would wait for what it has printed to be read
            except TimeoutError:
                process.kill()
                await process.wait()


class Ended(Exception):
    """A server that has not come up: its exit status, and what it has written."""


class Service:
    """A running server, ours or another, and the costs of its process."""

    def __init__(
        self, port: int, process: asyncio.subprocess.Process, session: aiohttp.ClientSession, log: Path
    ) -> None:
        self.port, self.process, self.session, self.log = port, process, session, log
        self.pid = process.pid
        self.url = f"http://127.0.0.1:{port}"

    def memory(self) -> float:
        """Its resident memory in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU it has used: in all, and of those in the kernel."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / TICKS, int(words[12]) / TICKS

    async def connections(self) -> int:
        """Its open sockets, one connection of ours with them, without those of Unix: more or fewer of them are to PostgreSQL."""
        await self.health()
        return await asyncio.to_thread(self._count_connections)

    def _count_connections(self) -> int:
        folder = f"/proc/{self.pid}/fd"
        local = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()}
        count = 0
        for fd in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed meanwhile
                name = os.readlink(f"{folder}/{fd}")
                count += name.startswith("socket:") and name not in local
        return count

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as resp:
            return await resp.json()

    async def health(self) -> dict[str, Any]:
        return (await self.get("/api/salud"))["data"]

    async def position(self) -> tuple[int, str]:
        """The feed's position and epoch, as a client gets them before its socket."""
        listed = await self.get("/api/productos?limit=1")
        return listed["last_event_id"], listed["epoch"]

    async def settled(self, event: int, limit: float = 60) -> None:
        """Waits until the feed has come to the event."""
        async with asyncio.timeout(limit):
            while (await self.health())["last_event_id"] < event:
                await asyncio.sleep(0.05)

    def complaints(self) -> Figure:
        """What it has logged beside its requests."""
        lines = self.log.read_text(errors="replace").splitlines()
        bad = [line for line in lines if " ERROR " in line or " WARNING " in line or line.startswith("Traceback")]
        return Figure("warnings and errors logged", "0", f"{len(bad)} {' | '.join(bad[:2])[:200]}".strip(), not bad)


@asynccontextmanager
async def running(
    *command: str, ready: str, port: int, program: Collection[str] = (sys.executable, "-m"), env: Mapping[str, str] = {}
) -> AsyncIterator[Service]:
    """A server on the port, started by `python -m <command>` or another program; it is ready when `ready` answers 200."""
    log = temporary() / f"{port}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *program, *command, stdout=out, stderr=out, env={**os.environ, **env}
        )
    connector = aiohttp.TCPConnector(limit=0)
    async with ended(process), aiohttp.ClientSession(connector=connector) as session:
        service = Service(port, process, session, log)
        deadline, answer = time.monotonic() + READY, ""
        while True:
            try:
                async with session.get(service.url + ready) as resp:
                    if resp.status == 200:
                        break
                    answer = await resp.text()
            except aiohttp.ClientError as exc:
                answer = str(exc)
            if process.returncode is not None:
                raise Ended(process.returncode, log.read_text())
            assert time.monotonic() < deadline, f"{answer}\n{log.read_text()}"
            await asyncio.sleep(0.05)
        yield service


def free_port() -> int:
    """A port that nobody else gets while this process lives, however late its server starts."""
    sock = socket.socket()
    # The port is bound, so no connection is given it. A server with SO_REUSEADDR may bind it too, as nobody listens yet.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    RESERVED.append(sock)
    return sock.getsockname()[1]


@asynccontextmanager
async def inventory(dsn: str, *flags: str, program: str = "inventory_ws") -> AsyncIterator[Service]:
    """The service on the database, or a program that starts it in its own way."""
    port = free_port()
    command = (program, "--port", str(port), "--database-url", dsn, *flags)
    async with running(*command, ready="/api/salud", port=port) as service:
        yield service


def percentile(times: Collection[float], part: float) -> float:
    return sorted(times)[min(int(len(times) * part), len(times) - 1)] if times else float("nan")
