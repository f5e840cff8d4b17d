"""pgbouncer before a server, as Debian packages it."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from .service import free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def pgbouncer(folder: Path, dsn: str, mode: str) -> Iterator[str]:
    """Pools the sessions of the DSN's server in the mode; yields the DSN of the way through it."""
    words, port = parse_dsn(dsn), free_port()
    target = " ".join(f"{name}={words[name]}" for name in ("host", "port", "user", "password") if words.get(name))
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\npool_mode = {mode}\n"
    )
    folder.chmod(0o755)
    account = {"user": "nobody"} if os.getuid() == 0 else {}
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([PGBOUNCER, folder / "pgbouncer.ini"], stdout=log, stderr=log, **account)
    through = make_dsn(dsn, host="127.0.0.1", port=port)
    try:
        for _ in range(100):
            with suppress(psycopg2.OperationalError):
                psycopg2.connect(through).close()
                break
            time.sleep(0.05)
        else:
            raise AssertionError((folder / "pgbouncer.log").read_text())
        yield through
    finally:
        process.terminate()
        process.wait(20)
