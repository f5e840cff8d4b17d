"""The service where Python has no fcntl, pwd and resource, no SIGHUP, no signal handlers of a loop, and by default a loop that
watches no sockets: as on Windows, with a PostgreSQL of one's own. Nobody has run it on Windows itself."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from .conftest import PRODUCT
from .test_main import CLEAN, run, service  # noqa: F401
from .test_reader import row, xlsx

# In PYTHONPATH it is run at the start of each Python, also of those that the service starts.
WINDOWS = """
import asyncio, mimetypes, os, signal, socket, sys

sys.modules |= {"fcntl": None, "pwd": None, "resource": None}
for module, names in (
    (os, ("fchown", "geteuid", "getuid", "O_NOFOLLOW")),
    (signal, ("SIGHUP", "SIGKILL", "SIGQUIT")),
    (socket, ("TCP_USER_TIMEOUT",)),
):
    for name in names:
        delattr(module, name)


def lacking(*_):
    raise NotImplementedError


class ProactorEventLoop(asyncio.SelectorEventLoop):
    add_reader = add_writer = lacking


asyncio.SelectorEventLoop.add_signal_handler = lacking
asyncio.new_event_loop = ProactorEventLoop
mimetypes.add_type("text/plain", ".js")  # as a registry may have it
"""


@pytest.fixture
def windows(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python is as on Windows."""
    (tmp_path / "sitecustomize.py").write_text(WINDOWS)
    return CLEAN | {"PYTHONPATH": str(tmp_path)}


@pytest.mark.slow
async def test_service_works_as_on_windows(service: Callable, windows: dict[str, str]) -> None:  # noqa: F811
    one = await asyncio.to_thread(service, env=windows)
    assert one.url, one.stop()
    async with aiohttp.ClientSession(one.url) as session, session.ws_connect("/ws") as ws:
        await ws.receive_json(timeout=5)
        async with session.post("/api/productos", json=PRODUCT) as resp:
            assert resp.status == 201, await resp.text()
        assert (await ws.receive_json(timeout=5))["type"] == "PRODUCT_CREATED"
        async with session.get("/app.js") as resp:
            assert resp.content_type.endswith("javascript")
        book = {"Content-Type": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
        sheet = xlsx({"Hoja": row(1, "nombre", "precio") + row(2, "Cable", 1)})
        async with session.post("/api/productos", data=sheet, headers=book) as resp:
            assert (await resp.json())["data"] == {"creados": 1, "actualizados": 0}
        assert (await ws.receive_json(timeout=5))["data"]["nombre"] == "Cable"
        one.process.send_signal(signal.SIGINT)
        assert (await ws.receive(timeout=5)).data == 1001
    status, log = one.stop()
    assert status == 0, log
    assert "Traceback" not in log


@pytest.mark.slow
def test_embedded_postgresql_says_that_it_is_not_for_windows(windows: dict[str, str]) -> None:
    done = run(env=windows)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--database-url (DATABASE_URL)" in done.stderr
    assert "Traceback" not in done.stderr
