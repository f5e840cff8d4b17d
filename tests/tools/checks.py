"""Checks that are run by name, each with a table of what was demanded and measured.

PostgreSQL is the embedded one, or that of TEST_DATABASE_URL, in databases of their own.
"""

import asyncio
import logging
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from inventory_ws.cli import embedded

from . import crowd
from .service import Figure, temporary

Check = Callable[[str], Awaitable[list[Figure]]]
"""Given the DSN of a PostgreSQL, says what it measured; its docstring is its headline."""

log = logging.getLogger(__name__)


@contextmanager
def server() -> Iterator[str]:
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with embedded.postgres(temporary() / "data") as dsn:
        yield dsn


async def run(name: str, check: Check, limit: float, dsn: str) -> bool:
    """Runs one check and prints its table. Returns whether every demand was met."""
    began, failed = time.monotonic(), False
    print(f"\n{name}: {check.__doc__}", flush=True)
    print(f"  {'':50} {'demanded':>14} {'measured':>24}", flush=True)
    try:
        async with asyncio.timeout(limit):
            figures = await check(dsn)
    except Exception as exc:
        log.exception("%s", name)
        figures = [Figure("the check", "ends", type(exc).__name__, False)]
    for figure in figures:
        verdict = {None: "", True: "ok", False: "FAILED"}[figure.ok]
        print(f"  {figure.name:50} {figure.demanded:>14} {figure.measured:>24}  {verdict}".rstrip(), flush=True)
        failed |= figure.ok is False
    print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return not failed


def main(checks: Mapping[str, Check], names: list[str], limit: float) -> int:
    """Runs the checks so named (none: all), each for `limit` seconds at most. Returns the exit status: 1 where a demand
    failed."""
    if unknown := set(names) - set(checks):
        print(f"no check is called {', '.join(sorted(unknown))}; there are: {', '.join(checks)}", file=sys.stderr)
        return 2
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{os.cpu_count()} cores shared with the clients" + ("" if crowd.QUICK else "; no cc: fewer, slower clients"))
    with server() as dsn:
        good = [asyncio.run(run(name, checks[name], limit, dsn)) for name in names or checks]
    return 0 if all(good) else 1
