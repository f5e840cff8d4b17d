"""A PostgreSQL that a test can stop, kill, copy and promote, from the embedded binaries."""

import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from inventory_ws.cli import embedded


class Cluster:
    """The cluster of a folder, as `embedded` lays it out. `dsn`: of its database `inventario`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.dsn = folder, f"host={folder} port=5432 user=postgres dbname=inventario"
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = embedded._Server(folder, {})  # knows which account may run PostgreSQL, and from where

    def __enter__(self) -> Self:
        self._keeper.settle(self._stack)
        self._keeper.prepare(self._stack)
        self._spawn = {**self._keeper.spawn, "stdin": subprocess.DEVNULL}
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        self._stack.close()

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs."""
        command = [f"{self._keeper.bin}/{program}", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, **self._spawn)
        assert done.returncode == 0, done.stderr.decode()

    def create(self) -> None:
        """Makes the cluster and its database, and starts it."""
        self.run("initdb", "-D", "cluster", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.start()
        self.run("createdb", "-h", str(self.folder), "-U", "postgres", "inventario")

    def start(self) -> None:
        """Starts it, and waits until it takes connections, as a standby does too."""
        pid_file = self.folder / "cluster" / "postmaster.pid"
        pid_file.unlink(missing_ok=True)
        command = [f"{self._keeper.bin}/postgres", "-D", "cluster", "--listen_addresses=", "--port=5432", "--fsync=off"]
        with open(self.folder / "log", "ab") as out:
            self._process = subprocess.Popen(
                [*command, f"--unix_socket_directories={self.folder}"], stdout=out, stderr=out, **self._spawn
            )
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and any(word in pid_file.read_text() for word in ("ready", "standby"))):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: by SIGINT in order, by SIGQUIT as a crash does."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def follow(self, primary: Self) -> None:
        """Makes it a standby of another, which runs; what it has been is gone."""
        shutil.rmtree(self.folder / "cluster", ignore_errors=True)
        source = ["-d", f"host={primary.folder} port=5432 user=postgres", "-D", "cluster"]
        self.run("pg_basebackup", *source, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")

    def promote(self) -> None:
        """Makes a primary of the standby."""
        self.run("pg_ctl", "promote", "-D", "cluster", "-w")

    def keep(self, copy: Path) -> None:
        """Copies the data of a cluster that is stopped."""
        subprocess.run(["cp", "-a", self.folder / "cluster", copy], check=True)

    def put_back(self, copy: Path) -> None:
        """Puts such a copy in the place of the data."""
        shutil.rmtree(self.folder / "cluster", ignore_errors=True)
        subprocess.run(["cp", "-a", copy, self.folder / "cluster"], check=True)
