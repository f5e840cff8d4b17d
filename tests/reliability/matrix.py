"""Who may do what: every Host with every Origin, Content-Type, token and method, judged by a rule of our own."""

import asyncio
import base64
import http.client
from collections import Counter
from contextlib import closing
from itertools import product
from typing import NamedTuple

from ..tools.service import Figure, database, inventory, writer

TOKEN, SHOP = "clave ñ", "https://shop.example"
HOSTS = ["localhost", "LOCALHOST:1", "[::1]:3000", "tienda.lan", "evil.example", "localhost.evil.example", ""]
OURS = HOSTS[:4]
ORIGINS = [
    None,
    "http://{host}",
    "https://{host}",
    SHOP,
    "null",
    "http://evil.example",
    "https://shop.example.evil",
    "x",
]
ALLOWED = [SHOP, "null"]
TYPES = [None, "application/json", "Application/JSON; charset=utf-8", "text/plain", "application/x-www-form-urlencoded"]
BASE64 = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
TOKENS = {  # the header that carries it, and whether it is the right one
    None: False,
    ("Authorization", f"Bearer {TOKEN}"): True,
    ("Authorization", f"bearer  {TOKEN} "): True,
    ("Authorization", f"Bearer {TOKEN}x"): False,
    ("Authorization", f"Basic {TOKEN}"): False,
    ("Sec-WebSocket-Protocol", f"inventario.v1, bearer.{BASE64}"): True,
    ("Sec-WebSocket-Protocol", "inventario.v1, bearer.AAAA"): False,
}
WRITES = {"POST": 201, "PUT": 200, "PATCH": 200, "DELETE": 404}  # what comes of them where nothing is against it
METHODS = ["GET", "HEAD", "OPTIONS", *WRITES, "SOCKET", "PAGE", "HEALTH"]
PATHS = {"POST": "/api/productos", "DELETE": "/api/productos/999", "SOCKET": "/ws", "PAGE": "/", "HEALTH": "/api/salud"}
BODY = b'{"nombre":"x","precio":1}'
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class Cell(NamedTuple):
    """One request."""

    host: str
    origin: str | None
    type: str | None
    token: tuple[str, str] | None
    method: str


def expected(cell: Cell, locked: bool) -> int:
    """The status: the first rule that applies. 4401 is the close code of a socket that was let in to be told so."""
    origin = cell.origin and cell.origin.format(host=cell.host)
    foreign = origin is not None and origin not in ALLOWED and not cell.origin.endswith("{host}")
    writes = cell.method in WRITES
    known = not locked or TOKENS[cell.token]
    rules = [
        (cell.host not in OURS, 421),
        (foreign and (writes or cell.method == "SOCKET"), 403),
        (cell.method == "OPTIONS" and origin in ALLOWED, 204),
        (cell.method in ("PAGE", "HEALTH"), 200),
        (cell.method == "SOCKET", 101 if known else 4401),
        (not known, 401),
        (cell.method == "OPTIONS", 405),
        (writes and cell.method != "DELETE" and cell.type not in TYPES[1:3], 415),
        (writes, WRITES.get(cell.method)),
    ]
    return next((status for applies, status in rules if applies), 200)


def ask(conn: http.client.HTTPConnection, cell: Cell) -> tuple[int, str]:
    """The status of the answer, and the origin it is shown to."""
    method = cell.method if cell.method in ("HEAD", "OPTIONS", *WRITES) else "GET"
    conn.putrequest(method, PATHS.get(cell.method, "/api/productos/1"), skip_host=True, skip_accept_encoding=True)
    headers = {"Host": cell.host, "Access-Control-Request-Method": "POST"}
    headers |= {"Origin": cell.origin.format(host=cell.host)} if cell.origin else {}
    headers |= {"Content-Type": cell.type} if cell.type else {}
    headers |= dict([cell.token]) if cell.token else {}
    headers |= UPGRADE if cell.method == "SOCKET" else {}
    headers |= {"Content-Length": str(len(BODY))} if cell.method in WRITES else {}
    for name, value in headers.items():
        conn.putheader(name, value.encode())
    conn.endheaders(BODY if cell.method in WRITES else None)
    resp = conn.getresponse()
    shown = resp.headers.get("Access-Control-Allow-Origin", "")
    if resp.status != 101:
        resp.read()
        return resp.status, shown
    first = resp.fp.read(4)  # of the welcome, or of a close
    conn.close()
    return int.from_bytes(first[2:], "big") if first[0] == 0x88 else 101, shown


def play(port: int, cells: list[Cell], locked: bool) -> Counter[str]:
    """Asks for each cell. Returns what was not as it should be."""
    wrong: Counter[str] = Counter()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as conn:
        for cell in cells:
            status, shown = ask(conn, cell)
            if status != (right := expected(cell, locked)):
                wrong[f"{status}, not {right}: {' '.join(map(str, cell))}"] += 1
            if status not in (101, 4401) and shown != (cell.origin if cell.origin in ALLOWED else ""):
                wrong[f"shown to {shown or 'nobody'}: {' '.join(map(str, cell))}"] += 1
    return wrong


async def check(server: str, every: int = 1) -> list[Figure]:
    """Host x Origin x Content-Type x token x method, every cell, with a token and without"""
    cells = [Cell(*values) for values in product(HOSTS, ORIGINS, TYPES, TOKENS, METHODS)]
    # What reads has no body, so its type makes no difference.
    cells = [cell for cell in cells if cell.type == TYPES[1] or cell.method in WRITES]
    figures = []
    for locked in (True, False):
        some = [cell for cell in cells if locked or not cell.token][::every]
        with database(server) as dsn, closing(writer(dsn)) as conn:
            with conn.cursor() as cursor:
                cursor.execute("INSERT INTO productos (nombre, precio) VALUES ('x', 1)")
            flags = ["--hosts", "tienda.lan", "--origins", ",".join(ALLOWED), *(["--token", TOKEN] if locked else [])]
            async with inventory(dsn, *flags) as service:
                halves = some[::2], some[1::2]
                wrong, more = await asyncio.gather(
                    *(asyncio.to_thread(play, service.port, half, locked) for half in halves)
                )
                wrong += more
                complaints = service.complaints()
            with conn.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM eventos")
                events = cursor.fetchone()[0] - 1
        made = sum(expected(cell, locked) == 201 for cell in some)
        name = "with a token" if locked else "without"
        bad = f"{wrong.total()} {'; '.join(list(wrong)[:3])}".strip()
        figures += [
            Figure(f"{name}: cells; statuses", "", f"{len(some)}; {len({expected(cell, locked) for cell in some})}"),
            Figure(f"{name}: cells that are not as they should", "0", bad, not wrong),
            Figure(f"{name}: events, of those that may", str(made), str(events), events == made),
            complaints,
        ]
    return figures
