"""`python -m tests.stress [name ...]`: the service under load, on one machine, each check with its demands.

It prints a table of what was demanded and measured, and exits 1 where a demand failed. PostgreSQL is the embedded one,
or that of TEST_DATABASE_URL, in databases of its own.
"""

import asyncio
import logging
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from inventory_ws import embedded

from . import compress, crowd, dead, resume, stalled, storm
from .service import Figure, temporary

CHECKS = {
    "storm": storm.check,
    "stalled": stalled.check,
    "resume": resume.check,
    "resume-old": resume.check_old,
    "compress": compress.check,
    "dead": dead.check,
}
LIMIT = 180.0  # seconds for one check

log = logging.getLogger(__name__)


@contextmanager
def server() -> Iterator[str]:
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with embedded.postgres(temporary() / "data") as dsn:
        yield dsn


async def run(name: str, dsn: str) -> bool:
    """Runs one check and prints its table. Returns whether every demand was met."""
    began, failed = time.monotonic(), False
    print(f"\n{name}: {CHECKS[name].__doc__}", flush=True)
    print(f"  {'':50} {'demanded':>14} {'measured':>24}", flush=True)
    try:
        async with asyncio.timeout(LIMIT):
            figures = await CHECKS[name](dsn)
    except Exception as exc:
        log.exception("%s", name)
        figures = [Figure("the check", "ends", type(exc).__name__, False)]
    for figure in figures:
        verdict = {None: "", True: "ok", False: "FAILED"}[figure.ok]
        print(f"  {figure.name:50} {figure.demanded:>14} {figure.measured:>24}  {verdict}".rstrip(), flush=True)
        failed |= figure.ok is False
    print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return not failed


def main(names: list[str]) -> int:
    if unknown := set(names) - set(CHECKS):
        print(f"no check is called {', '.join(sorted(unknown))}; there are: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{os.cpu_count()} cores shared with the clients" + ("" if crowd.QUICK else "; no cc: fewer, slower clients"))
    with server() as dsn:
        good = [asyncio.run(run(name, dsn)) for name in names or CHECKS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
