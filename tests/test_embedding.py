"""Inside another application: under its prefix, behind its users, and heard by its code."""

import asyncio
import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which

import aiohttp
import psycopg2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from psycopg2.extensions import make_dsn, parse_dsn
from yarl import URL

import inventory_ws
from inventory_ws.live.eventlog import prune_events
from inventory_ws.pg.database import DATABASE

from .conftest import PRODUCT, create, error, settled, waits
from .test_main import ROOT
from .test_readme import README
from .tools.databases import empty_database
from .tools.markdown import blocks
from .tools.service import free_port

HERE = {**os.environ, "PYTHONPATH": str(ROOT)}


def hosting(inventories: dict[str, web.Application]) -> web.Application:
    """A host with a route and a middleware of its own."""

    @web.middleware
    async def stamped(request: web.Request, handler: Callable) -> web.StreamResponse:
        response = await handler(request)
        if not response.prepared:
            response.headers["X-Shop"] = "yes"
        return response

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    host = web.Application(middlewares=[stamped])
    host.add_routes([web.get("/", hello)])
    for prefix, inventory in inventories.items():
        host.add_subapp(prefix, inventory)
    return host


async def test_inventory_under_a_prefix_does_not_affect_the_host(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(hosting({"/inventario/": inventory_ws.create_app(dsn=dsn)}))
    resp = await client.get("/")
    assert await resp.text() == "hello"
    assert "Content-Security-Policy" not in resp.headers
    resp = await client.get("/nothing")
    assert (resp.status, resp.content_type) == (404, "text/plain")
    resp = await client.get("/inventario/nothing")
    assert resp.headers["X-Shop"] == "yes"
    assert (await error(resp, 404))["message"] == "Ruta no encontrada"
    resp = await client.post("/inventario/api/productos", json=PRODUCT)
    assert resp.url.join(URL(resp.headers["Location"])).path == "/inventario/api/productos/1"
    resp = await client.get("/inventario/api/productos?limit=1")
    assert resp.links["next"]["url"].path_qs == "/inventario/api/productos?limit=1&after=1"


async def test_bare_prefix_redirects_to_the_page_and_accepts_sockets(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(hosting({"/inventario": inventory_ws.create_app(dsn=dsn)}))
    resp = await client.get("/inventario")
    assert resp.url.path == "/inventario/"
    assert "<title>Inventario</title>" in await resp.text()
    assert [(each.status, "Content-Security-Policy" in each.headers) for each in resp.history] == [(308, True)]
    for path in ("/inventario", "/inventario/", "/inventario/ws"):
        async with client.ws_connect(path) as ws:
            assert (await ws.receive_json(timeout=5))["type"] == "CONNECTION_ESTABLISHED"


async def test_two_inventories_are_independent(dsn: str, server: str, aiohttp_client: Callable) -> None:
    with empty_database(server, "other") as other:
        apps = {"/lima": inventory_ws.create_app(dsn=dsn), "/quito": inventory_ws.create_app(dsn=other)}
        client = await aiohttp_client(hosting(apps))
        lima, quito = [await client.ws_connect(f"{prefix}/ws") for prefix in apps]
        assert (await lima.receive_json())["epoch"] != (await quito.receive_json())["epoch"]
        for prefix, name in (("/quito", "Mate"), ("/lima", "Pisco")):
            assert (await client.post(f"{prefix}/api/productos", json={**PRODUCT, "nombre": name})).status == 201
        assert (await lima.receive_json(timeout=5))["data"]["nombre"] == "Pisco"
        assert (await quito.receive_json(timeout=5))["data"]["nombre"] == "Mate"
        with pytest.raises(TimeoutError):
            await lima.receive_json(timeout=0.3)
        await client.close()


async def test_authentication_of_the_host_is_used(dsn: str, aiohttp_client: Callable) -> None:
    async def signed_in(request: web.Request) -> bool:
        return request.cookies.get("session") == "juan"

    client = await aiohttp_client(hosting({"/inventario": inventory_ws.create_app(dsn=dsn, authenticate=signed_in)}))
    await error(await client.get("/inventario/api/productos"), 401)
    async with client.ws_connect("/inventario/ws") as ws:
        assert (await ws.receive(timeout=5)).data == 4401
    client.session.cookie_jar.update_cookies({"session": "juan"})
    assert (await client.get("/inventario/api/productos")).status == 200
    async with client.ws_connect("/inventario/ws") as ws:
        assert (await ws.receive_json(timeout=5))["type"] == "CONNECTION_ESTABLISHED"


@pytest.mark.parametrize(
    ("raised", "status", "header"),
    [
        (RuntimeError("the sessions are not there"), 500, ("X-Content-Type-Options", "nosniff")),
        (web.HTTPUnauthorized(headers={"WWW-Authenticate": "Basic"}), 401, ("WWW-Authenticate", "Basic")),
    ],
)
async def test_exception_of_authenticate_has_the_error_body_and_the_security_headers(
    dsn: str, aiohttp_client: Callable, raised: Exception, status: int, header: tuple[str, str]
) -> None:
    async def failing(request: web.Request) -> bool:
        raise raised

    client = await aiohttp_client(inventory_ws.create_app(dsn=dsn, authenticate=failing))
    resp = await client.get("/api/productos")
    await error(resp, status)
    assert header in resp.headers.items()


async def test_host_says_in_its_own_words_what_a_user_may_not(dsn: str, aiohttp_client: Callable) -> None:
    async def looking(request: web.Request) -> str:
        assert request.app is inventory
        if request.method == "POST":
            raise web.HTTPForbidden(text="Solo puedes mirar")
        if request.method == "DELETE":
            raise web.HTTPForbidden
        return "ana"

    inventory = inventory_ws.create_app(dsn=dsn, authenticate=looking)
    client = await aiohttp_client(inventory)
    assert (await error(await client.post("/api/productos", json=PRODUCT), 403))["message"] == "Solo puedes mirar"
    assert (await error(await client.delete("/api/productos/1"), 403))["message"] == "No está permitido"
    async with client.ws_connect("/ws") as ws:
        assert (await ws.receive_json(timeout=5))["actor"] == "ana"
    assert 'data-user="ana" data-reader=""' in await (await client.get("/")).text()
    assert (await client.get("/", data=b"x")).status == 200


@pytest.mark.parametrize(
    "wrong", [{"pool_size": 0}, {"statement_timeout": 0.9}, {"ping_every": 0}, {"authenticate_every": float("nan")}]
)
def test_limit_that_is_none_is_refused_by_its_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        inventory_ws.create_app(dsn="", **wrong)


async def test_pool_size_is_the_number_of_connections_that_changes_take(
    dsn: str, aiohttp_client: Callable, psql: Callable, connect: Callable
) -> None:
    client = await aiohttp_client(inventory_ws.create_app(dsn=dsn, pool_size=2))
    session = connect()
    session.cursor().execute("BEGIN; LOCK TABLE productos IN SHARE MODE")
    posts = [asyncio.create_task(client.post("/api/productos", json=PRODUCT)) for _ in range(20)]
    await waits(psql, "Lock", 2)
    session.cursor().execute("COMMIT")
    assert {resp.status for resp in await asyncio.gather(*posts)} == {201}
    ours = "application_name = 'inventory_ws' AND datname = current_database()"
    ((number,),) = psql(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")
    assert 2 + 2 <= number <= 2 + 4  # one for health, one that listens, at most two for reading


async def test_wrong_setup_raises_an_error_with_a_remedy(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError, match="dsn"):
        inventory_ws.create_app()
    with pytest.raises(TypeError, match="dsn"):  # as of a variable that is not set
        inventory_ws.create_app(dsn=None)
    for size, error_type in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)):
        with pytest.raises(error_type):
            inventory_ws.create_app(dsn=dsn, pool_size=size)
    with pytest.raises(TypeError, match="create_app"):
        inventory_ws.watch(web.Application())
    with pytest.raises(inventory_ws.Unavailable):
        await web.AppRunner(inventory_ws.create_app(dsn="host=127.0.0.1 port=1 dbname=x")).setup()
    with pytest.raises(ValueError, match="dsn"):
        inventory_ws.create_app(dsn="localhost/shop")
    monkeypatch.setattr("inventory_ws.pg.schema.PACKAGE", tmp_path)
    with pytest.raises(FileNotFoundError, match="pack the data of inventory_ws"):
        await web.AppRunner(inventory_ws.create_app(dsn=dsn)).setup()


async def test_application_starts_once_and_goes_on_where_it_is_started_again(client: TestClient) -> None:
    with pytest.raises(RuntimeError, match="create another one"):
        await web.AppRunner(client.app).setup()
    listening = asyncio.create_task(heard(client.app, 1))
    assert (await create(client))["id"] == (await listening)[0].data["id"]
    failed = inventory_ws.create_app(dsn="host=127.0.0.1 port=1 dbname=x")
    for raised in (inventory_ws.Unavailable, RuntimeError):
        with pytest.raises(raised):
            await web.AppRunner(failed).setup()


async def heard(app: web.Application, number: int, **position: object) -> list[inventory_ws.Event]:
    """The next so many events."""
    events = []
    async with asyncio.timeout(10):
        async for event in inventory_ws.watch(app, **position):
            events.append(event)
            if len(events) == number:
                break
    return events


async def test_watch_yields_the_events_of_the_sockets(client: TestClient, psql: Callable) -> None:
    listening = asyncio.create_task(heard(client.app, 3))
    await asyncio.sleep(0)
    product = await create(client, precio=89)
    psql("UPDATE productos SET stock = 3")
    await client.delete("/api/productos/1")
    created, updated, deleted = await listening
    log = (await (await client.get("/api/eventos")).json())["data"]
    assert [(event.id, event.type, event.timestamp) for event in (created, updated, deleted)] == [
        (event["id"], event["type"], event["timestamp"]) for event in log
    ]
    assert created.data == {**product, "precio": created.data["precio"]}
    assert repr(created.data["precio"]) == "Decimal('89.00')"
    assert updated.data["stock"] == 3
    assert deleted.data == {"id": 1}


async def test_watch_resumes_from_a_position(client: TestClient, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable', 1 FROM generate_series(1, 1500)")
    await settled(client, 1500)
    first = await heard(client.app, 700, last_event_id=0)
    assert [event.id for event in first] == list(range(1, 701))
    listening = asyncio.create_task(heard(client.app, 900, last_event_id=first[-1].id, epoch=first[-1].epoch))
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable', 1 FROM generate_series(1, 100)")
    assert [event.id for event in await listening] == list(range(701, 1601))


async def test_watch_raises_lost_instead_of_skipping(client: TestClient, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'Cable', 1 FROM generate_series(1, 10)")
    await settled(client, 10)
    with pytest.raises(inventory_ws.Lost):
        await heard(client.app, 1, last_event_id=11)
    with pytest.raises(inventory_ws.Lost):
        await heard(client.app, 1, last_event_id=5, epoch="another")
    await prune_events(client.app[DATABASE], None, 3)
    await create(client)
    await settled(client, 11)
    with pytest.raises(inventory_ws.Lost):
        await heard(client.app, 1, last_event_id=5)
    assert [event.id for event in await heard(client.app, 4, last_event_id=7)] == [8, 9, 10, 11]
    listening = asyncio.create_task(heard(client.app, 1))
    await asyncio.sleep(0)
    psql("TRUNCATE productos")
    with pytest.raises(inventory_ws.Lost):
        await listening


async def test_watch_waits_for_the_start_and_for_postgresql(dsn: str, psql: Callable, aiohttp_client: Callable) -> None:
    app = inventory_ws.create_app(dsn=dsn)
    listening = asyncio.create_task(heard(app, 2))
    await asyncio.sleep(0.05)
    client = await aiohttp_client(app)
    await create(client)
    psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'inventory_ws'")
    psql("INSERT INTO productos (nombre, precio) VALUES ('Cable', 1)")
    assert [event.id for event in await listening] == [1, 2]


@pytest.mark.parametrize("wait", [inventory_ws.snapshot, lambda inventory: heard(inventory, 1)])
async def test_waiting_before_the_start_raises_an_error_with_a_remedy(
    dsn: str, monkeypatch: pytest.MonkeyPatch, wait: Callable
) -> None:
    """A host's own cleanup contexts start before those of the applications in it."""
    monkeypatch.setattr("inventory_ws.live.log.START_TIMEOUT", 0.05)
    inventory = inventory_ws.create_app(dsn=dsn)

    async def context(_: web.Application) -> AsyncIterator[None]:
        async with asyncio.timeout(5):
            await wait(inventory)
        yield

    host = hosting({"/inventario": inventory})
    host.cleanup_ctx.append(context)
    with pytest.raises(RuntimeError, match="has not started.* on_startup that is appended after add_subapp"):
        await web.AppRunner(host).setup()


async def test_next_event_may_be_awaited_with_a_time_limit_again_and_again(client: TestClient) -> None:
    """The usual loop of a handler of server-sent events."""
    events = inventory_ws.watch(client.app)
    for number in (1, 2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.05)
        await create(client)
        assert (await asyncio.wait_for(anext(events), 10)).id == number
    both = [asyncio.create_task(anext(events)) for _ in range(2)]
    await create(client)
    await create(client)
    assert sorted([(await asyncio.wait_for(one, 10)).id for one in both]) == [3, 4]


@pytest.mark.parametrize("ask", [inventory_ws.snapshot, lambda inventory: heard(inventory, 1)])
async def test_asking_in_the_loop_of_another_thread_raises_an_error_with_a_remedy_and_disturbs_nobody(
    client: TestClient, ask: Callable
) -> None:
    with pytest.raises(RuntimeError, match="run_coroutine_threadsafe"):
        await asyncio.wait_for(asyncio.to_thread(asyncio.run, ask(client.app)), 15)
    loop, listening = asyncio.get_running_loop(), asyncio.create_task(heard(client.app, 1))
    asked = await asyncio.to_thread(asyncio.run_coroutine_threadsafe, ask(client.app), loop)
    await create(client)
    await asyncio.wait_for(asyncio.gather(listening, asyncio.wrap_future(asked)), 10)


async def test_watch_ends_when_the_application_shuts_down(dsn: str) -> None:
    """Handlers and jobs that iterate would hold up the end of the host for two minutes."""
    inventory, ended = inventory_ws.create_app(dsn=dsn), asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for event in inventory_ws.watch(inventory):
            await response.write(event.type.encode())
        ended.set()
        return response

    host = hosting({"/inventario": inventory})
    host.add_routes([web.get("/stream", stream)])
    runner = web.AppRunner(host)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url) as session, session.get("/stream") as resp, asyncio.timeout(10):
        async with session.post("/inventario/api/productos", json=PRODUCT) as created:
            assert created.status == 201
        assert await resp.content.readexactly(15) == b"PRODUCT_CREATED"
        await runner.cleanup()
        assert ended.is_set()
    assert await heard(inventory, 1) == []
    with pytest.raises(inventory_ws.Unavailable):
        await asyncio.wait_for(inventory_ws.snapshot(inventory), 10)
    with pytest.raises(RuntimeError, match="starts once"):
        await web.AppRunner(host).setup()


@pytest.fixture
def programs(tmp_path: Path, server: str, dsn: str) -> Iterator[dict[str, Path]]:
    """The programs of the README that embed, on databases of their own and a free port."""
    written = {}
    with empty_database(server, "lima") as lima, empty_database(server, "quito") as quito:
        names = tuple(parse_dsn(one)["dbname"] for one in (lima, quito))
        for word, block in zip(("plain", "users", "watched", "two"), blocks(README, "python")[1:], strict=True):
            assert 10 <= len(block.text.splitlines()) <= (50 if word == "watched" else 30), word
            text = block.text.replace("postgresql://localhost/shop", dsn).replace('("lima", "quito")', repr(names))
            text = text.replace("postgresql://localhost/{city}", make_dsn(server, dbname="{city}"))
            written[word] = tmp_path / f"{word}.py"
            written[word].write_text(text)
            assert "localhost" not in text
        yield {**written, **{f"/{name}": Path() for name in names}}


def prefixes(programs: dict[str, Path], word: str) -> list[str]:
    return [name for name in programs if name.startswith("/")] if word == "two" else ["/inventario"]


async def is_served(
    url: str, prefix: str, ready: Callable[[], bool] = lambda: True, done: Callable[[], bool] = lambda: True
) -> None:
    """Sees that the inventory under the prefix has its page, and tells of a change; `session` is the README's user.
    `ready` and `done`: whether its program waits for the changes, and has heard of them."""
    async with aiohttp.ClientSession(url, cookies={"session": "juan"}) as session:
        async with asyncio.timeout(20):
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"{prefix}/") as resp:
                        assert "<title>Inventario</title>" in await resp.text()
                        break
                await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            while not ready():
                await asyncio.sleep(0.05)
        async with session.ws_connect(f"{prefix}/ws") as ws:
            await ws.receive_json(timeout=5)
            async with session.post(f"{prefix}/api/productos", json=PRODUCT) as resp:
                assert resp.status == 201, await resp.text()
                product = (await resp.json())["data"]
            assert (await ws.receive_json(timeout=5))["data"] == product
            url = f"{prefix}/api/productos/{product['id']}"
            for stock in (2, 1):
                async with session.patch(url, json={"stock": stock}) as resp:
                    assert resp.status == 200, await resp.text()
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # for a second instance to do it too


def run_app(program: Path, port: int) -> list[str]:
    text = program.read_text()
    start = 'web.run_app(app, host="127.0.0.1"'
    assert start in text
    program.write_text(text.replace(start, f"{start}, port={port}"))
    return [sys.executable, str(program)]


# A worker that is told to end before it has come so far does not hear it.
READY = "def post_worker_init(worker):\n    open(f'ready.{worker.pid}', 'w').close()\n"


def gunicorn(program: Path, port: int) -> list[str]:
    command = re.search(r"`gunicorn shop:app (.*?)`", README)[1].split()
    where = ["--chdir", str(program.parent), "--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(program.parent)]
    (conf := program.with_name("conf.py")).write_text(READY)
    return [sys.executable, "-m", "gunicorn", f"{program.stem}:app", *command, *where, "--config", str(conf)]


def gunicorn_on_uvloop(program: Path, port: int) -> list[str]:
    return [word.replace("GunicornWebWorker", "GunicornUVLoopWebWorker") for word in gunicorn(program, port)]


@pytest.mark.parametrize(
    ("word", "server_of"),
    [
        ("plain", run_app),
        ("plain", gunicorn),
        ("plain", gunicorn_on_uvloop),
        ("users", gunicorn),
        ("watched", run_app),
        ("watched", gunicorn),
        ("two", run_app),
    ],
)
@pytest.mark.slow
def test_programs_of_the_readme_run(programs: dict[str, Path], psql: Callable, word: str, server_of: Callable) -> None:
    def positions() -> list[int]:
        """Where the program is in the log, as soon as it has a position."""
        made = psql("SELECT 1 FROM pg_class WHERE oid = to_regclass('reordered')")
        return [position for (position,) in psql("SELECT last_event_id FROM reordered")] if made else []

    def ready() -> bool:
        return word != "watched" or positions() != []

    def done() -> bool:
        return word != "watched" or positions() == [psql("SELECT max(id) FROM eventos")[0][0]]

    port = free_port()
    command = server_of(programs[word], port)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=HERE)
    try:
        for prefix in prefixes(programs, word):
            asyncio.run(is_served(f"http://127.0.0.1:{port}", prefix, ready, done))
        deadline = time.monotonic() + 20
        while "--workers" in command and len(list(programs[word].parent.glob("ready.*"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert out.count("reorder") == out.count("reorder Laptop Dell: 2 left") == (word == "watched")


async def test_program_of_the_readme_runs_in_app_runner(
    programs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(programs["plain"].parent)
    runner = web.AppRunner(importlib.import_module("plain").app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    await is_served(f"http://127.0.0.1:{port}", "/inventario")
    await runner.cleanup()


async def test_task_of_the_readme_goes_on_after_a_statement_that_postgresql_has_cancelled(
    programs: dict[str, Path],
    dsn: str,
    psql: Callable,
    connect: Callable,
    monkeypatch: pytest.MonkeyPatch,
    aiohttp_client: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    psql(f"ALTER DATABASE {parse_dsn(dsn)['dbname']} SET statement_timeout = 300")
    monkeypatch.syspath_prepend(programs["watched"].parent)
    app, running = importlib.import_module("watched").app, [""]

    async def look(_: web.Application) -> None:
        running[:] = [task.get_coro().__name__ for task in asyncio.all_tasks()]

    app.on_cleanup.insert(1, look)  # after the program's own
    client = await aiohttp_client(app)

    async def position() -> list[tuple[int]]:
        async with asyncio.timeout(10):
            while True:
                with suppress(psycopg2.errors.UndefinedTable):
                    if position := psql("SELECT last_event_id FROM reordered"):
                        return position
                await asyncio.sleep(0.02)

    await position()
    session = connect()
    session.cursor().execute("BEGIN; LOCK TABLE reordered")
    url = "/inventario/api/productos"
    assert (await client.post(url, json={**PRODUCT, "stock": 3})).status == 201
    assert (await client.post(f"{url}/1/stock", json={"delta": -1})).status == 200
    await waits(psql, "Lock", 1)
    await waits(psql, "Lock", 0)
    session.cursor().execute("ROLLBACK")
    async with asyncio.timeout(10):
        while await position() != [(2,)]:
            await asyncio.sleep(0.02)
    failed, told = capsys.readouterr().out.splitlines()
    assert "CancelledError" in failed
    assert told == "reorder Laptop Dell: 2 left"
    await client.close()
    assert not {"", "work"} & set(running), "it is cancelled and has not ended"


@pytest.mark.slow
def test_programs_of_the_readme_pass_mypy_strict(programs: dict[str, Path]) -> None:
    files = [path for path in programs.values() if path.suffix] + [ROOT / "guia" / "tienda" / "tienda.py"]
    wrong = files[0].with_name("wrong.py")
    wrong.write_text("import inventory_ws\n\ninventory_ws.create_app(dns='typo')\ninventory_ws.watch(inventory_ws)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={wrong.parent}/mypy"]
    checked = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False, env=HERE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = subprocess.run([*command, str(wrong)], capture_output=True, text=True, check=False, env=HERE)
    assert 'Unexpected keyword argument "dns"' in checked.stdout
    assert 'Argument 1 to "watch" has incompatible type' in checked.stdout


@pytest.mark.slow
@pytest.mark.skipif(which("node") is None and "REQUIRE_ALL" not in os.environ, reason="pyright would download Node.js")
def test_programs_of_the_readme_pass_pyright(programs: dict[str, Path]) -> None:
    folder = programs["plain"].parent
    (folder / "tienda.py").symlink_to(ROOT / "guia" / "tienda" / "tienda.py")
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    env = {**HERE, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", str(folder)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (folder / "wrong.py").write_text("import inventory_ws\n\ninventory_ws.create_app(dns='typo')\n")
    checked = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert 'No parameter named "dns"' in checked.stdout
