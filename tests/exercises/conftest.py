import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psycopg2
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from ..conftest import Listen
from ..tools.browser import CHROMIUM
from ..tools.service import ended

ROOT = Path(__file__).parents[2]
expect.set_options(timeout=5_000)  # for a page that never shows it, which is what is looked for here
LINE = "Se esperaba"  # how a line begins that says what was expected
MOST = 1 << 20  # bytes that a program may print: an endless loop prints gigabytes while it is waited for


def short(text: str) -> str:
    """A text within a line."""
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:199]}…"


def shown(value: object) -> str:
    """A value within a line."""
    return f"«{short(value)}»" if isinstance(value, str) else short(json.dumps(value, ensure_ascii=False, default=str))


def same(got: object, wanted: object, where: str = "", why: str = "") -> None:
    """Fails with a line where the values differ. `where`: when, or of what, `wanted` was expected. `why`: what is known of the
    reason, if there is none."""
    came = f"no llegó nada{why}" if got == "" else "falta, o es null" if got is None else f"llegó {shown(got)}"
    assert got == wanted, f"{LINE} {shown(wanted)}{where and f' {where}'}; {came}"


@contextlib.contextmanager
def expected(what: str) -> Iterator[None]:
    """Fails with a line that says what was expected, however the block fails."""
    try:
        yield
    except Exception as exc:
        said = str(exc)
        if said.startswith(LINE):  # said already, and better
            raise
        raise AssertionError(f"{LINE} {what}; {_reason(exc)}") from None


def _reason(exc: BaseException) -> str:
    """What came instead, of an exception of any kind."""
    said = str(exc)
    if isinstance(exc, TimeoutError):
        return "no llegó a tiempo"
    if actual := re.search(r"^Actual value: (.*)", said, re.MULTILINE):  # of Playwright
        came = actual[1].strip()
        return "no llegó nada" if came in ("", "None") else f"llegó {shown(came)}"
    first = short(next(iter(said.splitlines()), ""))
    return f"llegó {first}" if isinstance(exc, AssertionError) else f"llegó un {type(exc).__name__}: {first}"


def _line(item: pytest.Function, call: pytest.CallInfo[None]) -> str:
    """What was expected, in one line, where a check or what it stands on has failed."""
    assert call.excinfo
    if "visit" in item.funcargs and (faults := item.funcargs["visit"].faults()):  # which explain whatever failed
        return f"{LINE} una página sin errores de JavaScript (F12 dice dónde); llegó {shown(faults[0])}"
    exc: BaseException | None = call.excinfo.value
    # What Python found when it tidied up.
    while isinstance(exc, ExceptionGroup | pytest.PytestUnraisableExceptionWarning):
        exc = exc.exceptions[0] if isinstance(exc, ExceptionGroup) else exc.__cause__
    exc = exc or call.excinfo.value
    if isinstance(exc, RuntimeWarning):
        return f"{LINE} un await donde falta; {_reason(exc)}"
    first = next(iter(str(exc).splitlines()), "")
    if isinstance(exc, AssertionError) and first.startswith(LINE):
        return first
    if isinstance(exc, psycopg2.Error):
        return f"{LINE} un SQL que PostgreSQL acepte; {_reason(exc)}"
    if call.when != "call":
        return f"{LINE} que el servicio y lo demás arrancaran y pararan bien; {_reason(exc)}"
    if call.excinfo.traceback[-1].name == "create":  # which most checks begin with
        return f"{LINE} un 201 de POST /api/productos; {_reason(exc)}"
    line = next((entry.lineno + 1 for entry in reversed(call.excinfo.traceback) if entry.path == item.path), "?")
    return f"{LINE} lo que comprueba la línea {line} de tests/exercises/{item.path.name}; {_reason(exc)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A check says in one line what it expected; with -v it shows the traceback as well as any test."""
    report: Any = yield
    if report.failed and call.excinfo and item.config.get_verbosity() < 1:
        report.longrepr = _line(item, call)
    return report


@pytest.fixture(autouse=True)
def what_to_install(request: pytest.FixtureRequest) -> None:
    """Says it, where the check of a page would be skipped without a word that helps."""
    if "browser" in request.fixturenames and not (CHROMIUM or os.environ.get("REQUIRE_ALL")):
        pytest.skip("falta Chromium, sin el que este ejercicio no se puede comprobar: sudo apt install chromium")


async def asked(client: TestClient, path: str, when: str = "") -> Any:
    """The JSON that is answered to a GET, with status 200."""
    resp = await client.get(path)
    same(resp.status, 200, f"de GET {path}{when and f' {when}'}")
    with expected(f"JSON de GET {path}"):
        return await resp.json()


async def heard(ws: ClientWebSocketResponse, what: str, seconds: float = 3) -> Any:
    """The next message of the socket. `what`: which one is expected."""
    with expected(f"{what} por el socket"):
        message = await ws.receive(timeout=seconds)
        assert message.type is not WSMsgType.BINARY, "una trama binaria, y no un texto"
        assert message.type is WSMsgType.TEXT, f"un cierre con {ws.close_code}"
        return message.json()


async def heard_event(ws: ClientWebSocketResponse, what: str) -> Any:
    """The next event of a product; messages of any other type are passed over, as a client should."""
    while not str((message := await heard(ws, what)).get("type")).startswith("PRODUCT_"):
        pass
    return message


Seen = Callable[[bytes], Awaitable[None]]


@contextlib.asynccontextmanager
async def between(url: str, connected: Callable[[bytes], Awaitable[Seen]]) -> AsyncIterator[str]:
    """A proxy before the service; yields its URL. `connected` is called with the head of a connection's first request, before
    the service gets it, and returns what each piece of the answers is given to, before the program gets it."""

    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def forth() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    there.write(data)
            there.close()

        serving.append(cast("asyncio.Task[None]", asyncio.current_task()))
        with contextlib.suppress(ConnectionError, asyncio.CancelledError), contextlib.closing(writer):
            back, there = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
            with contextlib.closing(there):
                head = await reader.readuntil(b"\r\n\r\n")
                seen = await connected(head)
                there.write(head)
                forwarding = asyncio.create_task(forth())
                while data := await back.read(65536):
                    await seen(data)
                    writer.write(data)
                forwarding.cancel()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:  # a program that was refused may have left connections open
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving)


class Program:
    """A running program of ejercicios/, and what it prints."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, errors: int) -> None:
        self.name, self.process, self._errors = name, process, errors
        self.last = ""  # the last line that it has printed
        self._read = b""  # what was read last

    async def line(self) -> str:
        """The next line it prints; "" when there is none in five seconds, or it has ended."""
        assert self.process.stdout
        try:
            async with asyncio.timeout(5):
                self._read = await self.process.stdout.readline()
        except TimeoutError:
            self._read = b""
        except ValueError:  # what readline raises
            raise AssertionError(f"{LINE} una línea más corta de {self.name}; llegó una de más de 64 KiB") from None
        line = self._read.decode(errors="replace").rstrip()
        self.last = line or self.last
        return line

    async def says(self, line: str, when: str = "") -> None:
        """Sees that this is the next line it prints."""
        said = await self.line()
        same(said, line, f"de {self.name}{when and f' {when}'}", self.why(said))

    def why(self, said: str) -> str:
        """Why it may be that nothing was said."""
        if said:
            return ""
        if self._read:
            return " más que una línea vacía"
        assert self.process.stdout
        error = self.error()
        if self.process.stdout.at_eof():
            return f": terminó con «{error}»" if error else ": terminó sin un error"
        if error:
            return f" en cinco segundos; en la salida de errores, «{error}»"
        return " en cinco segundos" if self.last else " en cinco segundos (¿lleva flush=True?)"

    def errors(self) -> str:
        """What it has written of errors, the last of it: a terminal shows the end."""
        size = os.fstat(self._errors).st_size
        return os.pread(self._errors, 8192, max(0, size - 8192)).decode(errors="replace")

    def error(self) -> str:
        """The last line of that."""
        return short(self.errors().rstrip().rpartition("\n")[2])

    async def rest(self) -> str:
        """All that it prints until it ends, within twenty seconds."""
        assert self.process.stdout
        out = b""
        async with asyncio.timeout(20):
            while data := await self.process.stdout.read(MOST):
                out += data
                assert len(out) <= MOST, "más de 1 MiB de texto (¿un bucle que no termina?)"
            await self.process.wait()
        return out.decode(errors="replace")

    async def output(self, hint: str = "") -> str:
        """The rest of what it prints until it ends, which it has to do well. `hint`: where to look if it does not."""
        with expected(f"que {self.name} terminara en veinte segundos{hint}"):
            out = await self.rest()
        status, error = self.process.returncode, self.error()
        assert status == 0, f"{LINE} que {self.name} terminara bien{hint}; llegó el estado {status}: «{error}»"
        return out


Start = Callable[..., Awaitable[Program]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts programs of ejercicios/, which end with the test."""
    programs: list[Program] = []
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, *args: object) -> Program:
            path = ROOT / "ejercicios" / name
            assert path.is_file(), f"{LINE} el programa ejercicios/{name}; ese archivo no existe"
            env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
            env.pop("PYTHONUNBUFFERED", None)  # as people have it
            errors = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            process = await asyncio.create_subprocess_exec(
                sys.executable, path, *map(str, args), stdout=asyncio.subprocess.PIPE, stderr=errors, env=env
            )
            await stack.enter_async_context(ended(process))
            programs.append(Program(name, process, errors.fileno()))
            return programs[-1]

        yield start
        for program in programs:
            sys.stderr.write(program.errors())  # which pytest shows


@pytest.fixture
async def listen(client: TestClient) -> Listen:
    """Opens sockets, their welcome already read."""

    async def listen(path: str = "/ws", **options: Any) -> ClientWebSocketResponse:
        with expected(f"que {path} abriera un socket"):
            ws = await client.ws_connect(path, **options)
        welcome = await heard(ws, f"la bienvenida de {path}")
        same(welcome.get("type"), "CONNECTION_ESTABLISHED", f"como primer mensaje de {path}")
        return ws

    return listen


@pytest.fixture
def url(client: TestClient) -> str:
    """Where the service is, as its programs are told."""
    return str(client.make_url("/")).rstrip("/")
