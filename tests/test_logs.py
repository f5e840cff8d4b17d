"""What operators read: one line a request, whatever was asked, and nothing in it that is nobody's business."""

import os
import re
import socket
import time
from collections.abc import Callable

import pytest

from .test_main import CLEAN, Service, service  # noqa: F401

pytestmark = pytest.mark.slow

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 127\.0\.0\.1 (\S+ \S+ \d{3}) \d+\.\d ms")
OURS = "Host: localhost\r\nConnection: close\r\n"
KEY = "Authorization: Bearer clave\r\n"
WRITES = f"{OURS}{KEY}Content-Type: application/json\r\n"
SOCKET = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
SOCKET += "Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n"
GOODBYE = "\x88\x80mask"
REQUESTS = [
    (f"GET /api/productos?q=secreto HTTP/1.1\r\n{OURS}{KEY}\r\n", "GET /api/productos 200"),
    (f"GET http://u:secreto@localhost/api/salud?q=secreto HTTP/1.1\r\n{OURS}\r\n", "GET /api/salud 200"),
    (f"HEAD /api/salud HTTP/1.1\r\n{OURS}\r\n", "HEAD /api/salud 200"),
    (f"GET /api/productos?limit=secreto HTTP/1.1\r\n{OURS}{KEY}\r\n", "GET /api/productos 400"),
    (f"GET /api/productos HTTP/1.1\r\n{OURS}Authorization: Bearer secreto\r\n\r\n", "GET /api/productos 401"),
    (f"POST /api/productos HTTP/1.1\r\n{OURS}Origin: https://secreto\r\n\r\n", "POST /api/productos 403"),
    (f"GET /nada%0a%1b[31m?secreto HTTP/1.1\r\n{OURS}{KEY}\r\n", "GET /nada%0a%1b[31m 404"),
    (f"GET http://localhost?secreto HTTP/1.1\r\n{OURS}{KEY}\r\n", "GET - 404"),
    (f"DELETE /api/productos HTTP/1.1\r\n{OURS}{KEY}\r\n", "DELETE /api/productos 405"),
    (f"POST /api/productos HTTP/1.1\r\n{WRITES}Expect: secreto\r\n\r\n", "POST /api/productos 417"),
    ("GET /api/productos?q=secreto HTTP/1.1\r\nHost: secreto\r\nConnection: close\r\n\r\n", "GET /api/productos 421"),
    (
        f"POST /api/productos HTTP/1.1\r\n{WRITES}Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nsecreto",
        "POST /api/productos 400",
    ),
    (f"POST /api/productos?secreto HTTP/1.1\r\n{WRITES}Transfer-Encoding: chunked\r\n\r\nsecreto\r\n", "UNKNOWN / 400"),
    (f"G\rET /secreto HTTP/1.1\r\n{OURS}\r\n", "UNKNOWN / 400"),
    (f"GET /a\x1b[31msecreto HTTP/1.1\r\n{OURS}\r\n", "UNKNOWN / 400"),
    (f"GET /secreto\r404 HTTP/1.1\r\n{OURS}\r\n", "UNKNOWN / 400"),
    ("GET /?q=secreto HTTP/1.1\r\nsecreto\r\n\r\n", "UNKNOWN / 400"),
    (f"GET /{'secreto' * 1300} HTTP/1.1\r\n{OURS}\r\n", "UNKNOWN / 400"),
    ("secreto\r\n\r\n", "UNKNOWN / 400"),
    (f"GET /ws?productos=1 HTTP/1.1\r\n{SOCKET}{KEY}\r\n{GOODBYE}", "GET /ws 101"),
    (f"GET /ws HTTP/1.1\r\n{SOCKET}\r\n{GOODBYE}", "GET /ws 101"),
    (f"GET /ws HTTP/1.1\r\n{SOCKET}{KEY}Sec-WebSocket-Protocol: bearer.secreto\r\n\r\n", "GET /ws 400"),
]
# A C1 control and a line separator, in valid UTF-8 and not.
ODD = (
    f"GET /\u00f1\u009b\u2028 HTTP/1.1\r\n{OURS}{KEY}\r\n".encode(),
    f"GET /\xff\x9b31m HTTP/1.1\r\n{OURS}{KEY}\r\n".encode("latin-1"),
)


def ask(one: Service, request: bytes) -> None:
    """Sends the request as it is, and reads until the service ends the connection."""
    with socket.create_connection(("127.0.0.1", int(one.url.rpartition(":")[2])), timeout=10) as conn:
        conn.sendall(request)
        while conn.recv(65536):
            pass


@pytest.mark.parametrize(
    ("parser", "odd"),
    [("C", ["UNKNOWN / 400"] * 2), ("Python", [r"GET /\xf1\x9b\u2028 404", r"GET /\udcff\udc9b31m 404"])],
)
def test_every_request_has_one_line_and_no_secret(
    service: Callable,  # noqa: F811
    parser: str,
    odd: list[str],
) -> None:
    one = service("--token", "clave", env=CLEAN | ({"AIOHTTP_NO_EXTENSIONS": "1"} if parser == "Python" else {}))
    for request, _ in REQUESTS:
        ask(one, request.encode("latin-1"))
    for request in ODD:
        ask(one, request)
    _, log = one.stop()
    lines = [LINE.fullmatch(line) for line in log.split("\n")[:-1]]
    assert None not in lines, log
    assert sorted(line[1] for line in lines) == sorted([*(line for _, line in REQUESTS), *odd])
    assert "secreto" not in log


def test_socket_is_logged_at_its_end_with_its_duration(service: Callable) -> None:  # noqa: F811
    one = service()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(one.url.rpartition(":")[2])), timeout=10) as conn:
        conn.sendall(f"GET /ws?last_event_id=0 HTTP/1.1\r\n{SOCKET}\r\n".encode())
        assert conn.recv(1000).startswith(b"HTTP/1.1 101 ")
        time.sleep(0.5)
        assert os.fstat(one.log.fileno()).st_size == 0
        conn.sendall(GOODBYE.encode("latin-1"))
        while conn.recv(65536):
            pass
    _, log = one.stop()
    assert LINE.fullmatch(log.strip())[1] == "GET /ws 101"
    assert 500 <= float(log.split()[-2]) <= (time.monotonic() - began) * 1000


def test_internal_error_is_logged_with_its_traceback(service: Callable, psql: Callable) -> None:  # noqa: F811
    one = service()
    psql("ALTER TABLE productos RENAME TO otra")
    ask(one, f"GET /api/productos?q=secreto HTTP/1.1\r\n{OURS}\r\n".encode())
    _, log = one.stop()
    assert [line[1] for line in map(LINE.fullmatch, log.splitlines()) if line] == ["GET /api/productos 500"]
    assert "ERROR inventory_ws.web.errors: GET /api/productos failed\nTraceback" in log
    assert "secreto" not in log
