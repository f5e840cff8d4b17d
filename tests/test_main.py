"""The command line, as people run it: in a process of its own."""

import asyncio
import fcntl
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import aiohttp
import psutil
import psycopg2
import pytest
import trustme
import zxingcpp

from inventory_ws.cli import tls
from inventory_ws.cli.flags import parser
from inventory_ws.cli.main import _socket_limit
from inventory_ws.pg.schema import sql_file

from .tools.service import PATIENCE, free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "INVENTORY", "HOST", "PORT"))
}

PROGRAM = (sys.executable, "-W", "error", "-m", "inventory_ws")


def run(*args: str, env: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inventory_ws", *args]
    env = CLEAN | (env or {})
    return subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=60, **options)


class Service:
    """A running service and what it has printed."""

    def __init__(self, *args: str, program: Sequence[str] = PROGRAM, **options: object) -> None:
        command = [*program, "--port", "0", *args]
        # A pipe that nobody reads would fill, and stop the service.
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stderr=self.log, text=True, **{"stdout": subprocess.PIPE, "env": CLEAN, **options}
        )
        self.url = ""
        if self.process.stdout and (first := self.process.stdout.readline()):
            self.url = re.search(r"https?://\S+", first)[0].rstrip("/")

    def get(self, path: str, data: object = None) -> object:
        body = None if data is None else json.dumps(data).encode()
        with urlopen(Request(self.url + path, body, {"Content-Type": "application/json"}), timeout=5) as resp:
            return json.load(resp)

    def written(self) -> str:
        """What it has logged."""
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Ends the service; returns its status and its log."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=30)
        self.log.seek(0)
        with self.log:
            return self.process.returncode, self.log.read()


@contextmanager
def services() -> Iterator[Callable[..., Service]]:
    """Starts services; the end of the block ends those that are still running."""
    started: list[Service] = []

    def start(*args: str, **options: object) -> Service:
        started.append(Service(*args, **options))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            if one.process.poll() is None:
                one.stop()


@pytest.fixture
def service(dsn: str) -> Iterator[Callable[..., Service]]:
    """Starts services on a database with the schema."""
    with services() as start:
        yield partial(start, "--database-url", dsn)


@pytest.fixture
def alone() -> Iterator[Callable[..., Service]]:
    """Starts services."""
    with services() as start:
        yield start


def test_help_explains_every_flag_and_its_environment() -> None:
    text = run("--help").stdout
    for flag in ("--host", "--port", "--database-url", "--data-dir", "--origins", "--hosts", "--max-sockets", "--demo"):
        assert flag in text
    for name in ("HOST", "PORT", "DATABASE_URL", "INVENTORY_WS_DATA", "INVENTORY_WS_ORIGINS", "INVENTORY_WS_HOSTS"):
        assert name in text


def test_schema_is_printed_for_its_owner() -> None:
    assert run("schema").stdout == sql_file("schema.sql")


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_reads_are_not_open_without_a_token_for_changes(tmp_path: Path) -> None:
    told = one_line(run("--port", "0", "--data-dir", str(tmp_path / "data"), "--open-reads"))
    assert "--token" in told
    assert not (tmp_path / "data").exists()


def test_certificate_that_cannot_be_used_is_an_error_of_one_line(tmp_path: Path) -> None:
    trustme.CA().issue_cert("127.0.0.1").cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with pytest.raises(ValueError, match="--tls-key"):
        tls.context(str(tmp_path / "cert.pem"), None)
    for flags in (["--tls-cert", "/nowhere.pem"], ["--tls-key", "key.pem"]):
        assert "--tls-cert" in one_line(run("--port", "0", "--data-dir", str(tmp_path / "data"), *flags))


async def test_renewed_certificate_is_taken_on_sighup_and_closes_no_connection(
    service: Callable[..., Service], tmp_path: Path
) -> None:
    old, new, file = trustme.CA(), trustme.CA(), tmp_path / "both.pem"

    def certify(authority: trustme.CA) -> None:
        file.write_bytes(authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes())

    async def answers(authority: trustme.CA) -> bool:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            with suppress(aiohttp.ClientConnectorCertificateError):
                async with session.get(f"{one.url}/api/salud") as resp:
                    return resp.status == 200
        return False

    certify(old)
    one = service("--tls-cert", str(file))
    assert one.url.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context()
    old.configure_trust(trusting)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session,
        session.ws_connect(f"{one.url}/ws") as ws,
    ):
        await ws.receive_json(timeout=5)
        file.write_text("half a file")
        one.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while "the certificate stays as it was" not in one.written():
                await asyncio.sleep(0.02)
        assert await answers(old)
        certify(new)
        one.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while not await answers(new):
                await asyncio.sleep(0.02)
        await ws.send_json({"type": "PING"})
        assert (await ws.receive_json(timeout=5))["type"] == "PONG"
    assert one.stop()[0] == 0


def test_service_with_tls_ends_with_its_terminal(service: Callable[..., Service], tmp_path: Path) -> None:
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    window, terminal = os.openpty()
    one = service(
        *("--tls-cert", str(tmp_path / "both.pem")),
        stdin=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    os.close(window)
    assert one.process.wait(20) == 0
    one.stop()


async def test_limits_are_settings_of_the_program(service: Callable[..., Service], connect: Callable) -> None:
    flags, env = ("--pool-size", "1", "--ping-every", "0.3"), CLEAN | {"INVENTORY_WS_STATEMENT_TIMEOUT": "1"}
    one, session = service(*flags, env=env), connect()
    async with aiohttp.ClientSession(one.url) as client, client.ws_connect("/ws", autoping=False) as ws:
        await ws.receive_json(timeout=5)
        assert (await ws.receive(timeout=5)).type is aiohttp.WSMsgType.PING
        session.cursor().execute("BEGIN; LOCK TABLE productos IN SHARE MODE")
        posts = [client.post("/api/productos", json={"nombre": "Teclado", "precio": 1}) for _ in range(2)]
        assert [resp.status for resp in await asyncio.gather(*posts)] == [503, 503]
    log = one.stop()[1]
    assert log.count("canceling statement due to statement timeout") == 1, (
        log
    )  # the other has waited for the connection


def test_port_in_use_is_an_error_of_one_line(dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = one_line(run("--port", port, "--database-url", dsn))
        assert port in told and "PORT=3001 make run" in told
    assert "--port" in one_line(run("--port", "99999", "--database-url", dsn))


@pytest.mark.parametrize(
    "url", ["postgresql://x@127.0.0.1:1/x", "host=/nowhere dbname=x", "nonsense", "postgresql://["]
)
def test_silent_database_is_an_error_of_one_line(url: str) -> None:
    said = one_line(run("--port", "0", "--database-url", url))
    assert "--database-url" in said and "DATABASE_URL" in said


def test_flag_wins_over_the_environment(dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        env = {"DATABASE_URL": dsn, "PORT": str(taken.getsockname()[1])}
        assert env["PORT"] in one_line(run(env=env))
        assert "99998" in one_line(run("--port", "99998", env=env))
    assert "invalid int value" in run(env={"PORT": "abc"}).stderr
    for flag, wrong in (("--keep-days", "nan"), ("--keep-events", "-1"), ("--max-sockets", "-1")):
        assert flag in run(flag, wrong).stderr


def test_empty_environment_variable_is_ignored(dsn: str) -> None:
    names = ("HOST", "PORT", "INVENTORY_WS_DATA", "INVENTORY_WS_MAX_SOCKETS", "INVENTORY_WS_KEEP_DAYS")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = dict.fromkeys(names, "")
        assert "127.0.0.1" in one_line(run("--port", port, "--database-url", dsn, env=env)), "and not every network"


@pytest.mark.parametrize(
    ("value", "on"),
    [
        *dict.fromkeys(("1", "yes", "True", "on"), True).items(),
        *dict.fromkeys(("0", "No", "off", "FALSE", ""), False).items(),
    ],
)
def test_flag_without_a_value_can_be_off_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, on: bool
) -> None:
    monkeypatch.setenv("INVENTORY_WS_COMPRESS", value)
    assert parser().parse_args([]).compress is on
    assert parser().parse_args(["--compress"]).compress is True


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--compress", "tal vez", "INVENTORY_WS_COMPRESS=tal vez"),
        ("--hosts", "http://a.example", "--hosts: http://a.example"),
        ("--hosts", "a.example:3000", "--hosts: a.example:3000"),
        ("--origins", "a.example", "--origins: a.example"),
        ("--origins", "https://a.example/", "--origins: https://a.example/"),
        ("--port", "abc", "--port"),
        ("--title", "\udcd1and\udcfa", "--title"),  # Latin-1, with which each load of the page was a 500
    ],
)
def test_flag_of_which_the_value_is_none_of_its_kind_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, flag: str, value: str, reason: str
) -> None:
    if flag == "--compress":  # which has a value in the environment alone
        monkeypatch.setenv("INVENTORY_WS_COMPRESS", value)
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args([] if flag == "--compress" else [flag, value])
    usage, error = capsys.readouterr().err.splitlines()
    assert "--help" in usage
    assert reason in error


def test_empty_token_is_none() -> None:
    assert "--token" in one_line(run("--token", "", "--port", str(free_port())))


def test_unprintable_welcome_does_not_end_the_service(service: Callable) -> None:
    closed, end = os.pipe()
    os.close(closed)
    port = free_port()
    for out in (end, None):
        options = {"stdout": out} if out else {"stdout": subprocess.PIPE, "preexec_fn": lambda: os.close(1)}
        one = service("--port", str(port), **options)
        one.url = f"http://127.0.0.1:{port}"
        until_it_answers(one)
        assert one.stop()[0] == 0
    os.close(end)
    one = service(env=CLEAN | {"PYTHONIOENCODING": "ascii"})
    assert one.get("/api/salud")["success"] is True


def until_it_answers(one: Service) -> None:
    for _ in range(200):
        with suppress(URLError):
            assert one.get("/api/salud")["success"] is True
            return
        time.sleep(0.05)
    raise AssertionError(one.stop()[1])


def test_low_limit_of_open_files_leaves_room_for_http(service: Callable) -> None:
    one = service(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))

    async def sockets() -> list[int]:
        async with aiohttp.ClientSession() as session:
            asked = [session.ws_connect(one.url) for _ in range(40)]
            opened = await asyncio.gather(*asked, return_exceptions=True)
            async with session.get(f"{one.url}/app.js") as resp:
                return [*sorted(getattr(ws, "status", 101) for ws in opened), resp.status]

    assert asyncio.run(sockets()) == [101] * 32 + [503] * 8 + [200]
    assert "room for 32 sockets" in one.stop()[1]


@pytest.mark.parametrize("refusal", [OSError, ValueError])
@pytest.mark.parametrize("hard", [1000, 4096, resource.RLIM_INFINITY])
def test_fixed_limit_of_open_files_allows_fewer_sockets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hard: int, refusal: type[Exception]
) -> None:
    def refuse(*_: object) -> None:
        raise refusal("not permitted")

    caplog.set_level("INFO")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, hard))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert _socket_limit(10_000) == 744
    assert "is 1000: room for 744 sockets" in caplog.text
    assert _socket_limit(100) == 100


def test_limit_of_open_files_is_raised_to_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    for limits, room in (((64, 64), 32), ((64, 4096), 3840), ((64, resource.RLIM_INFINITY), 10_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        assert _socket_limit(10_000) == room, limits
    assert raised == [(64, 64), (4096, 4096), (10_256, resource.RLIM_INFINITY)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert _socket_limit(10_000) == 10_000
    assert len(raised) == 3, "no limit is no reason for one"


def test_service_ends_with_status_0_on_sigterm_and_ctrl_c(service: Callable) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        one = service()
        assert one.get("/api/salud")["success"] is True
        status, err = one.stop(number)
        assert status == 0, err
        assert "Traceback" not in err


async def test_further_signals_do_not_break_off_the_end(service: Callable) -> None:
    one = service()
    async with aiohttp.ClientSession() as session:
        ws = await session.ws_connect(one.url)  # it does not answer the close frame: the service waits for it
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            one.process.send_signal(number)
            await asyncio.sleep(0.2)
        while (message := await ws.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.data == 1001
    status, err = await asyncio.to_thread(one.stop)
    assert status == 0, err
    assert "Traceback" not in err


# On a machine with one network, whatever this one has.
IN_A_ROOM = """
import sys

from inventory_ws.cli import addresses
from inventory_ws.cli.main import main

addresses.default_address = lambda family: ["192.168.1.10"]
sys.exit(main())
"""
ROOM = (sys.executable, "-W", "error", "-c", IN_A_ROOM)


def shown(start: Callable, *args: str, encoding: str = "utf-8") -> str:
    """What the service prints on a terminal at its start."""
    ours, theirs = os.openpty()
    one = start(*args, program=ROOM, stdout=theirs, env=CLEAN | {"PYTHONIOENCODING": encoding})
    os.close(theirs)
    text = b""
    while b"Para parar" not in text:
        text += os.read(ours, 1000)
    os.close(ours)
    assert one.stop()[0] == 0
    return text.decode()


def test_terminal_shows_a_qr_code(service: Callable) -> None:
    text = shown(service, "--host", "0.0.0.0")
    url = re.search(r"En la red: (http://192\.168\.1\.10:[0-9]+/)", text)[1]
    code = re.findall(r"\x1b\[97;40m(.+)\x1b\[0m", text)
    assert len(code) < 18, "it leaves room on a screen of 24 lines"
    light = [[255 * (block in blocks) for block in line] for line in code for blocks in ("█▀", "█▄")]
    pixels = b"".join(bytes(pixel for pixel in row for _ in range(4)) * 4 for row in light)
    image = memoryview(pixels).cast("B", (len(light) * 4, len(light[0]) * 4))
    (read,) = zxingcpp.read_barcodes(image, try_invert=False)
    assert read.text == url


def test_qr_code_needs_a_capable_terminal_and_a_network(service: Callable) -> None:
    text = shown(service, "--host", "0.0.0.0", encoding="ascii")
    assert "En la red: http://192.168.1.10:" in text
    assert "\x1b" not in text and "u2588" not in text
    assert "\x1b" not in shown(service)
    one = service("--host", "0.0.0.0", program=ROOM)
    assert one.process.stdout.readline().startswith("En la red: http://192.168.1.10:")
    assert "Aviso: " in one.process.stdout.readline()


async def test_service_accepts_every_name_of_this_machine(service: Callable) -> None:
    name = socket.gethostname()
    ours = ["192.168.1.10:3000", "[fd00::10]", f"{name.upper()}:3000", f"{name.partition('.')[0]}.local"]

    async def statuses(url: str, names: Sequence[str]) -> set[int]:
        found = set()
        async with aiohttp.ClientSession(url) as session:
            for name in names:
                async with session.get("/", headers={"Host": name}) as resp:
                    found.add(resp.status)
        return found

    one = service("--host", "0.0.0.0", "--token", "clave")
    assert await statuses(one.url, [*ours, "localhost", "tienda.localhost:3000"]) == {200}
    assert await statuses(one.url, ["evil.example", "192.168.1.10.evil.example", "192.168.1"]) == {421}
    assert not [line for line in iter(one.process.stdout.readline, "Para parar: Ctrl+C\n") if "Aviso" in line]
    alone = service()
    assert await statuses(alone.url, ["localhost", "tienda.localhost:3000"]) == {200}
    assert await statuses(alone.url, ours) == {421}


def test_host_and_origin_are_guarded_from_the_command_line(service: Callable) -> None:
    one = service("--hosts", "tienda.lan", "--origins", "https://shop.example, null")

    async def statuses() -> list[int]:
        async with aiohttp.ClientSession() as session:
            return [
                (
                    await session.post(f"{one.url}/api/productos", json={"nombre": "x", "precio": 1}, headers=headers)
                ).status
                for headers in (
                    {"Host": "evil.example"},
                    {"Origin": "https://evil.example"},
                    {"Host": "tienda.lan"},
                    {"Origin": "https://shop.example"},
                    {"Origin": "null"},
                )
            ]

    assert asyncio.run(statuses()) == [421, 403, 201, 201, 201]


def postgres_on(folder: Path) -> list[int]:
    """The processes of the PostgreSQL in the folder."""
    return [
        process.pid
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and str(folder) in " ".join(process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_embedded_database_ends_with_the_service_and_keeps_the_data(alone: Callable, folder: Path, number: int) -> None:
    data = folder / f"main-{number}"
    one = alone("--data-dir", str(data))
    product = one.get("/api/productos", {"nombre": "Teclado", "precio": 1})["data"]
    welcome = [one.process.stdout.readline().split(maxsplit=1) for _ in range(2)]
    assert [name for name, _ in welcome] == ["Datos:", "Base:"]
    with closing(psycopg2.connect(welcome[1][1].strip())) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT nombre FROM productos")
        assert cursor.fetchall() == [("Teclado",)], "psql and a second instance find it by what is printed"
    assert postgres_on(data)
    busy = run("--port", "0", "--data-dir", str(data))
    assert str(data) in one_line(busy) and "INVENTORY_WS_DATA=carpeta make run" in busy.stderr
    status, log = one.stop(number)
    assert status == 0, log
    assert postgres_on(data) == []
    # What says where another PostgreSQL is does not lead away from this one.
    names = {"PGHOST": "nowhere", "PGHOSTADDR": "10.0.0.1", "PGSERVICE": "x", "PGTARGETSESSIONATTRS": "read-only"}
    one = alone("--data-dir", str(data), env=CLEAN | names | {"PGTZ": "x", "PGGSSENCMODE": "require"})
    assert one.get("/api/productos")["data"] == [product]
    one.stop()


def test_kill_9_loses_nothing_and_leaves_no_process(alone: Callable, folder: Path) -> None:
    data = folder / "killed"
    one = alone("--data-dir", str(data))
    product = one.get("/api/productos", {"nombre": "Teclado", "precio": 1})["data"]
    one.stop(signal.SIGKILL)
    one = alone("--data-dir", str(data))
    assert one.get("/api/productos")["data"] == [product]
    status, log = one.stop()
    assert status == 0, log
    assert postgres_on(data) == []


def test_demo_is_loaded_only_into_an_empty_inventory(service: Callable, psql: Callable) -> None:
    one = service("--demo", "--keep-events", "1000")
    answer = one.get("/api/productos")
    assert len(answer["data"]) >= 10
    assert answer["last_event_id"] == len(answer["data"]), "it is loaded before the feed takes its position"
    one.stop()
    psql("DELETE FROM productos WHERE id > 1")
    one = service("--demo")
    assert [product["id"] for product in one.get("/api/productos")["data"]] == [1]
    one.stop()


def test_service_with_1000_sockets_ends_in_5_seconds(service: Callable) -> None:
    one = service()

    async def sockets() -> tuple[float, list[int | None]]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            opened = [await session.ws_connect(one.url) for _ in range(1000)]
            began = time.monotonic()
            one.process.send_signal(signal.SIGTERM)

            async def code(ws: aiohttp.ClientWebSocketResponse) -> int | None:
                while (await ws.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                return ws.close_code

            codes = await asyncio.gather(*map(code, opened))
            status = await asyncio.to_thread(one.process.wait, 30)
            assert status == 0
            return time.monotonic() - began, codes

    took, codes = asyncio.run(sockets())
    assert codes == [1001] * 1000
    assert took < 5 * PATIENCE
    one.stop()
