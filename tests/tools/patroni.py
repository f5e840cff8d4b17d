"""Three servers that Patroni manages, with etcd, and HAProxy in front of them."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from inventory_ws.cli import embedded

from .programs import program
from .screen import run
from .service import PATIENCE, free_port, temporary

ETCD, HAPROXY = (shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("etcd", "haproxy"))
WHOLE = 90.0 * PATIENCE  # seconds until each server has its place
NAMES = ("uno", "dos", "tres")
SETTINGS = {  # of the cluster
    "ttl": 20,  # seconds until a primary whose Patroni is silent has a successor: Patroni allows no fewer
    "loop_wait": 2,
    "retry_timeout": 3,
    "synchronous_mode": True,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {"max_connections": 40, "fsync": "off", "wal_sender_timeout": "10s"},
        "pg_hba": ["local all all trust", "host all,replication all 127.0.0.1/32 trust"],
    },
}
CHECKS = "inter 1s fall 2 rise 1 on-marked-down shutdown-sessions"
BALANCER = """
defaults
    mode tcp
    timeout connect 4s
    timeout client 30m
    timeout server 30m
    timeout check 5s

listen postgresql
    bind 127.0.0.1:{port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server {checks}
{servers}
"""


@cache
def installed() -> Path | None:
    """Patroni, in an environment of its own that any account can enter; None if it cannot be had."""
    folder = temporary() / "patroni"
    # An account that may run PostgreSQL may be kept from a Python that root has at home.
    python = "/usr/bin/python3" if os.getuid() == 0 and os.path.exists("/usr/bin/python3") else sys.executable
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder),
        "install",
        "patroni[etcd3]>=4.1,<4.2",
        "psycopg2-binary",
    )
    for command in ((python, "-m", "venv", "--without-pip", str(folder)), pip):
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return None
    return folder / "bin/patroni"


def missing() -> str:
    """What is not installed of all that this needs."""
    found = {"etcd": ETCD, "HAProxy": HAPROXY, "Patroni": ETCD and HAPROXY and installed()}
    return next((name for name, path in found.items() if not path), "")


class Node:
    """A server and its Patroni. `port`: of PostgreSQL."""

    def __init__(self, name: str, folder: Path, etcd: int) -> None:
        self.name, self.folder = name, folder
        self.port, self.api = free_port(), free_port()
        self._etcd = etcd
        self._keeper = embedded._Server(folder, {})  # knows which account may run PostgreSQL, and from where
        self._patroni: subprocess.Popen[bytes] | None = None

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Has its folder and its configuration; ends all its processes with the block."""
        with ExitStack() as stack:
            self._keeper.settle(stack)
            self._keeper.prepare(stack)
            address = f"127.0.0.1:{self.port}"
            configuration = {
                "scope": "inventario",
                "name": self.name,
                "restapi": {"listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}"},
                "etcd3": {"host": f"127.0.0.1:{self._etcd}"},
                "bootstrap": {"dcs": SETTINGS, "initdb": [{"auth": "trust"}, {"encoding": "UTF8"}, "no-locale"]},
                "postgresql": {
                    "listen": address,
                    "connect_address": address,
                    "data_dir": str(self.folder / "data"),
                    "bin_dir": self._keeper.bin,
                    "pgpass": str(self.folder / "pgpass"),
                    "parameters": {"unix_socket_directories": str(self.folder)},
                    "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "replica"}},
                },
            }
            (self.folder / "patroni.json").write_text(json.dumps(configuration))  # YAML, too
            try:
                yield
            finally:
                self.kill()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Starts Patroni, which starts PostgreSQL."""
        with (self.folder / "log").open("ab") as out:
            self._patroni = subprocess.Popen(
                [installed(), "patroni.json"],
                **{**self._keeper.spawn, "stdin": subprocess.DEVNULL, "stdout": out, "stderr": out},
            )

    def processes(self) -> list[psutil.Process]:
        """PostgreSQL's, the first of them first: it starts no others then."""
        found = []
        for process in psutil.process_iter(["cwd", "create_time"]):
            if process.info["cwd"] == str(self.folder / "data"):
                found.append(process)
        return sorted(found, key=lambda process: process.info["create_time"])

    def kill_postgresql(self) -> None:
        """kill -9 of all its processes."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_patroni(self) -> None:
        """kill -9 of Patroni alone."""
        if self._patroni:
            self._patroni.kill()
            self._patroni.wait()
            self._patroni = None

    def kill(self) -> None:
        """kill -9 of both, as when the machine is lost."""
        self.kill_patroni()
        self.kill_postgresql()


class Managed:
    """The nodes, and the DSN of the way through HAProxy."""

    def __init__(self, nodes: list[Node], port: int, session: aiohttp.ClientSession) -> None:
        self.nodes, self._session = nodes, session
        self.dsn = f"host=127.0.0.1 port={port} user=postgres dbname=inventario"

    async def roles(self) -> dict[str, Node]:
        """The nodes that work, by role (leader, sync_standby, replica), as the first Patroni that answers tells it."""
        for node in self.nodes:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.get(f"http://127.0.0.1:{node.api}/cluster") as resp:
                    members: list[dict[str, Any]] = (await resp.json())["members"]
                by_name = {node.name: node for node in self.nodes}
                at_work = {"leader": "running", "sync_standby": "streaming", "replica": "streaming"}
                return {m["role"]: by_name[m["name"]] for m in members if m["state"] == at_work.get(m["role"])}
        return {}

    async def until(self, good: Callable[[dict[str, Node]], bool]) -> dict[str, Node]:
        """Waits until the roles are good, and returns them."""
        deadline = time.monotonic() + WHOLE
        while time.monotonic() < deadline:
            if good(roles := await self.roles()):
                return roles
            await asyncio.sleep(0.1)
        raise TimeoutError("\n".join(f"{node.name}: {node.log[-3000:]}" for node in self.nodes))

    async def whole(self) -> dict[str, Node]:
        """Waits until each server has its place."""
        return await self.until(lambda roles: {*roles} == {"leader", "sync_standby", "replica"})

    async def switch_over(self, leader: Node) -> None:
        """Has the synchronous standby take over, in order."""
        asked = {"leader": leader.name}
        async with self._session.post(f"http://127.0.0.1:{leader.api}/switchover", json=asked) as resp:
            assert resp.status == 200, await resp.text()


def balancing(home: Path, port: int, nodes: list[Node]) -> Path:
    """Makes the folder, with the configuration of HAProxy."""
    home.mkdir(0o755)
    servers = "\n".join(f"    server {node.name} 127.0.0.1:{node.port} check port {node.api}" for node in nodes)
    (home / "haproxy.cfg").write_text(BALANCER.format(port=port, checks=CHECKS, servers=servers))
    return home / "haproxy.cfg"


@asynccontextmanager
async def managed(home: Path) -> AsyncIterator[Managed]:
    """The servers, at work, with an empty database. `home`: a folder that is not there."""
    port, etcd, peers = free_port(), free_port(), free_port()
    nodes = [Node(name, home / name, etcd) for name in NAMES]
    file = balancing(home, port, nodes)
    at, beside = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}"
    own = ("--listen-client-urls", at, "--advertise-client-urls", at, "--listen-peer-urls", beside)
    assert ETCD
    assert HAPROXY
    async with AsyncExitStack() as stack:
        environment = dict(os.environ)
        flags = (*own, "--initial-advertise-peer-urls", beside, "--initial-cluster", f"default={beside}")
        await stack.enter_async_context(program(home, environment, ETCD, "--data-dir", str(home / "etcd"), *flags))
        for node in nodes:
            stack.enter_context(node.settled())
            node.start()
        await stack.enter_async_context(program(home, environment, HAPROXY, "-db", "-f", str(file)))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        cluster = Managed(nodes, port, session)
        leader = (await cluster.whole())["leader"]
        run(f"host=127.0.0.1 port={leader.port} user=postgres dbname=postgres", "CREATE DATABASE inventario")
        yield cluster
