"""What is measured, and the goals: a literal table."""

from collections.abc import Sequence
from typing import NamedTuple

from .drivers import Request
from .table import BEFORE, Goal, Row

NEW = '{"nombre":"Laptop Dell","descripcion":"Laptop potente","precio":1299.99,"stock":10}'
FAR = 100_000  # events that a socket has missed
FEW, BROADCAST = 10, 5_000  # sockets


class Plan(NamedTuple):
    """How much is measured. A turn asks every server once, in the order of the turn before turned round."""

    turns: int
    climbs: int  # turns of the sockets
    idle: int  # sockets that only wait
    steps: Sequence[tuple[int, int, int]]  # sockets, broadcasts to them, milliseconds between
    flooded: int | None  # sockets that get events as fast as they can be made
    requests: Sequence[str]
    replays: int


REQUESTS = {
    "GET one": Request(20, "GET", "/api/productos/1"),
    "GET list of 100": Request(20, "GET", "/api/productos?limit=100"),
    "GET list of 1,000": Request(20, "GET", "/api/productos?limit=1000"),
    "GET list of 100, another each time": Request(20, "GET", "/api/productos?limit=100&after=%k"),
    "GET list of 1,000, another each time": Request(20, "GET", "/api/productos?limit=1000&after=%k"),
    "GET list of 100, If-None-Match": Request(20, "GET", "/api/productos?limit=100", known=True),
    "GET list of 1,000, If-None-Match": Request(20, "GET", "/api/productos?limit=1000", known=True),
    "POST, 1 connection": Request(1, "POST", "/api/productos", NEW),
    "POST, 20 connections": Request(20, "POST", "/api/productos", NEW),
    "POST, 64 connections": Request(64, "POST", "/api/productos", NEW),
    "POST with a key, 20 connections": Request(20, "POST", "/api/productos", NEW, keyed=True),
    "PATCH, 1 connection": Request(1, "PATCH", "/api/productos/%d", '{"stock":%d}'),
    "PATCH, 20 connections": Request(20, "PATCH", "/api/productos/%d", '{"stock":%d}'),
    "PATCH, 64 connections": Request(64, "PATCH", "/api/productos/%d", '{"stock":%d}'),
    "stock move, 1 connection": Request(1, "POST", "/api/productos/%d/stock", '{"delta":1}'),
    "stock move, 20 connections": Request(20, "POST", "/api/productos/%d/stock", '{"delta":1}'),
    "stock move of one product, 20 connections": Request(20, "POST", "/api/productos/7/stock", '{"delta":1}'),
    "stock move, 64 connections": Request(64, "POST", "/api/productos/%d/stock", '{"delta":1}'),
    "stock move with a key, 20 connections": Request(20, "POST", "/api/productos/%d/stock", '{"delta":1}', keyed=True),
    "DELETE, 20 connections": Request(20, "DELETE", "/api/productos/%n"),
}
STEPS = ((FEW, 100, 3), (100, 20, 20), (1_000, 10, 50), (BROADCAST, 7, 100), (10_000, 5, 100))
FULL = Plan(3, 2, 4_000, STEPS, 500, list(REQUESTS), 3)
QUICK = Plan(1, 1, 2_000, (STEPS[0], STEPS[3]), None, [*list(REQUESTS)[:7], "POST, 20 connections"], 0)

ALONE = ("POST, 1 connection", "PATCH, 1 connection", "stock move, 1 connection")  # what an answer takes is told, too
COSTED = (  # and of these: the CPU of server and PostgreSQL for each
    "POST, 1 connection",
    "POST, 20 connections",
    "POST with a key, 20 connections",
    "stock move, 20 connections",
    "stock move with a key, 20 connections",
)
FLOOR = f"write() to each of {BROADCAST:,}"
FLOODED = "events to 500 sockets, 20 writers"
BESIDE = tuple(f"event to 10 beside 20 writers: {what}" for what in ("median", "p99"))  # from its timestamp on
REPLAY = f"replay of {FAR:,} missed events"
REPORTED = {"p50": "median", "p99": "p99", "last": "last client", "post": "the POST", "get": "a GET meanwhile"}
GOALS = {
    "memory of an idle socket": (Goal(16, None),),
    "GET one": (Goal(1.4),),
    "GET list of 100": (Goal(1.4),),
    "GET list of 1,000": (Goal(2),),
    "GET list of 100, another each time": (Goal(1.4),),
    "GET list of 1,000, another each time": (Goal(2),),
    "GET list of 100, If-None-Match": (Goal(5, "GET list of 100, another each time"),),
    "GET list of 1,000, If-None-Match": (Goal(5, "GET list of 1,000, another each time"),),
    "POST, 20 connections": (Goal(1.6), Goal(1.8, BEFORE)),
    "POST, 64 connections": (Goal(1.8), Goal(2.2, BEFORE)),
    "PATCH, 20 connections": (Goal(1.5), Goal(1.7, BEFORE)),
    "stock move, 20 connections": (Goal(1.5), Goal(1.7, BEFORE)),
    "stock move of one product, 20 connections": (Goal(1.8), Goal(2.2, BEFORE)),
    "POST with a key, 20 connections": (Goal(1.3), Goal(0.85, "POST, 20 connections")),
    "stock move with a key, 20 connections": (Goal(1.3), Goal(0.85, "stock move, 20 connections")),
    "DELETE, 20 connections": (Goal(1.6, BEFORE),),
    **dict.fromkeys(BESIDE, (Goal(1, BEFORE),)),
    **{f"{name}: {part}": (Goal(1.03, BEFORE),) for name in ALONE for part in ("median", "p99")},
    "POST, 20 connections: CPU": (Goal(0.6, BEFORE),),
    "event to 10: median": (Goal(1),),
    "event to 5,000: last client": (Goal(0.7), Goal(1.5, FLOOR)),
    "event to 5,000: the POST": (Goal(0.1),),
    "event to 5,000: a GET meanwhile": (Goal(0.1),),
    REPLAY: (Goal(2, None),),
}
UNITS = {
    "memory of an idle socket": "KiB",
    "connections accepted": "/s",
    **dict.fromkeys(REQUESTS, "/s"),
    **{f"{name}: {part}": "ms" for name in ALONE for part in ("median", "p99")},
    **{f"{name}: CPU": "us" for name in COSTED},
    FLOOR: "ms",
    **{
        f"event to {n:,}: {what}": "ms"
        for n, *_ in STEPS
        for what in list(REPORTED.values())[: 2 if n == FEW else None]
    },
    **dict.fromkeys(BESIDE, "ms"),
    FLOODED: "/s",
    "bytes of an event": "B",
    "bytes of an event, compressed": "B",
    REPLAY: "s",
}
ROWS = tuple(Row(name, unit, GOALS.get(name, ())) for name, unit in UNITS.items())
