"""A disk that is full, and has room again: a tmpfs of few megabytes, where mounting is allowed."""

import asyncio
import errno
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2

from ..tools.service import PATIENCE, Figure, free_port, temporary, writer
from .accounts import kept
from .killed import dsn_of, serving
from .network import ask, healthy
from .statements import query

NOT_TRIED = "not tried: no disk may be mounted here"
ROOM = 128  # MiB; a new cluster takes 46
HEAL = 10.0 * PATIENCE  # seconds


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path | None]:
    """A folder that has room for so much; None where no disk can be mounted."""
    folder = temporary() / f"disk-{time.monotonic_ns()}"
    folder.mkdir()
    options = f"size={megabytes}m,mode=755"
    if shutil.which("mount") is None:
        yield None
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True)
    if mounted.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The disk of the folder has no byte left, for the block."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
        try:
            yield
        finally:
            file.truncate(0)


async def check(_: str, seconds: float = 10.0) -> list[Figure]:
    """the disk of the embedded PostgreSQL is full, twice 10 s, under 30 changes a second"""
    with small_disk(ROOM) as disk:
        if disk is None:
            return [Figure(NOT_TRIED, "", "")]
        data, port, figures = disk / "data", free_port(), []
        async with serving(data, port) as service, kept(port) as accounts:
            for name in ("tables", "log"):
                await asyncio.sleep(1)
                # Connected before the disk is full: the changes may end PostgreSQL, which then comes back with room only.
                with closing(writer(dsn_of(data))) as conn, filled(disk):
                    if name == "log":  # it has 16 MiB at a time; where it can't have the next, PostgreSQL ends
                        with suppress(psycopg2.DatabaseError):  # it ends: the class varies
                            await query(conn, "SELECT pg_switch_wal()")
                    began, reads, begin = time.monotonic(), Counter[int](), len(accounts.writes)
                    while time.monotonic() - began < seconds:
                        reads[(await ask(service))[0]] += 1
                        await asyncio.sleep(0.1)
                    writes = Counter(
                        status for write in accounts.writes[begin:] for status, _ in write.attempts if status
                    )
                healed = await healthy(service)
                with closing(writer(dsn_of(data))) as conn:
                    heard = await accounts.insert(conn)
                stays = {200} if name == "tables" else {200, 503}
                figures += [
                    Figure("", "", ""),
                    Figure(f"-- no room for its {name}", "", ""),
                    Figure("statuses of reads", str(stays), str(dict(reads)), {*reads} <= stays),
                    Figure("statuses of writes", "503 among them", str(dict(writes)), writes[503] > 0),
                    Figure("healthy after there is room, s", f"<= {HEAL:.0f}", f"{healed:.2f}", healed <= HEAL),
                    Figure(
                        "psql's next change to the last listener, s",
                        f"<= {2 * PATIENCE:.0f}",
                        f"{heard:.2f}",
                        heard <= 2 * PATIENCE,
                    ),
                ]
            figures += await accounts.balance(dsn_of(data), answers=4.3 * PATIENCE)
    return figures
