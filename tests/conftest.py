import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import uvloop
from aiohttp import ClientResponse, ClientSession, ClientWebSocketResponse
from aiohttp.test_utils import TestClient
from playwright.async_api import expect
from psycopg2.extensions import connection
from xdist.scheduler import LoadScopeScheduling

from inventory_ws import create_app
from inventory_ws.cli import embedded
from inventory_ws.pg.database import DATABASE
from inventory_ws.web.errors import FAILURES
from inventory_ws.web.security import HEADERS

from .tools.browser import Browsers
from .tools.databases import database, empty_database, template_database

os.environ.setdefault("PATIENCE", "10")  # what a machine that runs all tests gets, which may do more besides
expect.set_options(timeout=20_000)  # for the same reason

PRODUCT = {"nombre": "Laptop Dell", "descripcion": "Laptop potente", "precio": 1299.99, "stock": 10}


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a script's background: no program of a test would hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Many containers say so. Each program that a test starts would compile all modules anew, and each worker rewrite all tests.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    sys.dont_write_bytecode = False

# In memory a database is made in a fifth of the time that it takes on a disk; 4 GiB is more than five workers need.
MEMORY = "/dev/shm"
if (
    not {"TMPDIR", "PYTEST_DEBUG_TEMPROOT"} & os.environ.keys()
    and os.path.isdir(MEMORY)
    and shutil.disk_usage(MEMORY).free > 4 << 30
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
):
    os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.gettempdir()  # for tmp_path, which is kept after the run
    os.environ["TMPDIR"] = tempfile.tempdir = MEMORY


TOGETHER = (  # what they share takes long to make
    "test_release.py",
    "[firefox]",
    "[webkit]",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the long tests first: one that was begun last would keep a worker busy after all others had ended."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Gives each test to the next worker that is free, and to one worker all those that belong together."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda nodeid: next((name for name in TOGETHER if name in nodeid), nodeid)
    return scheduler


ON_BOTH_LOOPS = (
    "test_hub.py",
    "test_sockets.py",
    "test_stream.py",
    "test_transports.py",
    "test_feed.py",
    "test_database.py",
    "test_aiopg_fixes.py",
)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What touches transports and file descriptors is tested on uvloop too."""
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return loops if item.path.name in ON_BOTH_LOOPS else {"asyncio": loops["asyncio"]}


@pytest.fixture(scope="session", autouse=True)
def _failures_have_codes() -> Iterator[None]:
    """Sees that each answer of the service that a test gets, and that is an error, has a code of the list and its status."""
    ask = ClientSession._request

    async def ask_and_look(self: ClientSession, method: str, *args: Any, **options: Any) -> ClientResponse:
        resp = await ask(self, method, *args, **options)
        ours = resp.headers.get("Content-Security-Policy") == HEADERS["Content-Security-Policy"]
        if ours and resp.status >= 400 and method != "HEAD":
            failure = await resp.json()
            assert FAILURES[failure["code"]][0] == resp.status, failure
        return resp

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientSession, "_request", ask_and_look)
        yield


@pytest.fixture(scope="session")
def browsers() -> Iterator[Browsers]:
    """Browsers that all tests of this process share."""
    with asyncio.Runner() as runner:
        yield (browsers := Browsers(runner))
        runner.run(browsers.close())


@pytest.fixture
def _function_scoped_runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """The loop of a test. It takes the place of pytest-asyncio's fixture (1.5.0), which lets no test choose the loop of all
    its fixtures: a test with a browser runs in the browser's loop, any other in a loop of its own."""
    if "browsers" not in request.fixturenames:
        yield request.getfixturevalue("_function_scoped_runner")
        return
    browsers: Browsers = request.getfixturevalue("browsers")
    yield browsers.runner
    browsers.runner.run(browsers.end_test())


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that any account can enter: PostgreSQL does not run as root."""
    path = Path(tempfile.mkdtemp(prefix="inventory_ws-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[str]:
    """The DSN of a PostgreSQL for the whole session: the embedded one, or that of TEST_DATABASE_URL."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with embedded.postgres(folder / "server", settings={"fsync": "off", "max_wal_size": "100MB"}) as dsn:
        yield dsn


@pytest.fixture
def empty_dsn(server: str) -> Iterator[str]:
    """A database with nothing in it."""
    with empty_database(server, "inventario_test") as dsn:
        yield dsn


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a database with the schema, of which each test gets a copy: a new one, or that of TEST_TEMPLATE."""
    if name := os.environ.get("TEST_TEMPLATE"):
        yield name
        return
    with template_database(server) as name:
        yield name


@pytest.fixture
def dsn(server: str, template: str) -> Iterator[str]:
    """A database with the schema."""
    with database(server, "inventario_test", template) as dsn:
        yield dsn


Connect = Callable[[], connection]


@pytest.fixture
def connect(dsn: str) -> Iterator[Connect]:
    """Opens sessions of somebody else on the database, as psql would."""
    opened = []

    def connect() -> connection:
        opened.append(psycopg2.connect(dsn))
        opened[-1].autocommit = True
        return opened[-1]

    yield connect
    for conn in opened:
        conn.close()


@pytest.fixture
def psql(connect: Connect) -> Callable[..., list[tuple[Any, ...]]]:
    """Runs one statement as somebody else and returns its rows."""
    conn = connect()

    def run(sql: str, params: object = None) -> list[tuple[Any, ...]]:
        with conn.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
async def client(dsn: str, aiohttp_client: Callable[..., Awaitable[TestClient]]) -> TestClient:
    """The service on its own database, and a client of it."""
    return await aiohttp_client(create_app(dsn=dsn))


Listen = Callable[..., Awaitable[ClientWebSocketResponse]]


@pytest.fixture
async def listen(client: TestClient) -> Listen:
    """Opens sockets, their welcome already read."""

    async def listen(path: str = "/ws", **options: Any) -> ClientWebSocketResponse:
        ws = await client.ws_connect(path, **options)
        welcome = await ws.receive_json(timeout=5)
        assert welcome["type"] == "CONNECTION_ESTABLISHED", welcome
        return ws

    return listen


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a service whose feed only hears bells: it must come before the service in a test's arguments."""
    monkeypatch.setattr("inventory_ws.live.feed.POLL", 60)


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a service that looks at the triggers and the log all the time: before it, too."""
    monkeypatch.setattr("inventory_ws.live.eventlog.LOOK_EVERY", 0.05)
    monkeypatch.setattr("inventory_ws.live.feed.POLL", 0.05)


async def receive(ws: ClientWebSocketResponse, number: int) -> list[dict[str, Any]]:
    """The next `number` messages of the socket."""
    return [await ws.receive_json(timeout=10) for _ in range(number)]


async def silence(ws: ClientWebSocketResponse, client: TestClient) -> None:
    """Sees that the socket receives nothing more of what is in the log now: up to its end, only PINGs are answered."""
    ((last,),) = await client.app[DATABASE].fetch("SELECT coalesce(max(id), 0) FROM eventos")
    async with asyncio.timeout(10):
        while True:
            await ws.send_json({"type": "PING"})
            message = await ws.receive_json(timeout=5)
            assert message["type"] == "PONG", message
            if message["last_event_id"] >= last:
                break
            await asyncio.sleep(0.1)  # more than 20 a second are too many


async def waits(psql: Callable[..., list[tuple[Any, ...]]], what: str, number: int = 1) -> None:
    """Waits until so many sessions on the database wait for something: `Lock`, `PgSleep` or another event of PostgreSQL."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND %s IN (wait_event_type, wait_event)"
    async with asyncio.timeout(10):
        while psql(sessions, [what]) != [(number,)]:
            await asyncio.sleep(0.01)


async def settled(client: TestClient, last_event_id: int) -> None:
    """Waits until the feed has come to the event."""
    async with asyncio.timeout(10):
        while (await (await client.get("/api/salud")).json())["data"]["last_event_id"] < last_event_id:
            await asyncio.sleep(0.01)


async def healthy(client: TestClient, within: float = 5.0) -> None:
    """Waits until the service is in health."""
    async with asyncio.timeout(within):
        while (await client.get("/api/salud")).status != 200:
            await asyncio.sleep(0.05)


async def create(client: TestClient, **fields: Any) -> dict[str, Any]:
    """Creates a product through the service and returns it."""
    resp = await client.post("/api/productos", json={**PRODUCT, **fields})
    assert resp.status == 201, await resp.text()
    return (await resp.json())["data"]


async def error(resp: Any, status: int) -> dict[str, Any]:
    """Sees that the answer is the error body with this status, and returns it."""
    text = await resp.text()
    assert resp.status == status, text
    body = json.loads(text)
    assert body["success"] is False
    assert body["message"]
    return body
