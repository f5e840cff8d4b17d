"""The service starts on a data folder that something has befallen."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from ..tools.service import Ended, Figure, Service, free_port
from .disk import NOT_TRIED, filled, small_disk
from .killed import data_folder, processes, serving

PRODUCT = {"nombre": "Teclado español", "precio": 64.9, "stock": 30}
STARTS, SAID = "starts", "says why"  # with its data as it was; in one line, with status 2
TOGETHER = 2.0  # seconds that one of two who start together goes on


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


async def refusal(starting: AbstractAsyncContextManager[Service]) -> str:
    """The one line with which a service that can't start has ended, its status 2; empty where it was otherwise."""
    try:
        async with starting:
            return ""
    except Ended as ended:
        status, said = ended.args
        return said if status == 2 and len(said.splitlines()) == 1 else ""


async def fill(data: Path) -> None:
    """Makes the folder, with one product in it."""
    async with (
        serving(data, free_port()) as service,
        service.session.post(f"{service.url}/api/productos", json=PRODUCT) as resp,
    ):
        assert resp.status == 201, await resp.text()


async def outcome(data: Path, seconds: float = 0.0) -> str:
    """What becomes of a service on the folder."""
    try:
        async with serving(data, free_port()) as service:
            products = (await service.get("/api/productos"))["data"]
            await asyncio.sleep(seconds)
            return STARTS if [product["nombre"] for product in products] == [PRODUCT["nombre"]] else f"has {products}"
    except Ended as ended:
        status, said = ended.args
        return SAID if status == 2 and len(said.splitlines()) == 1 else f"{status}: {said}"


async def stale_pid(data: Path) -> list[str]:
    """postmaster.pid names a living process"""
    other = await asyncio.create_subprocess_exec("sleep", "60")
    pid_file = data / "cluster" / "postmaster.pid"
    pid_file.write_text(f"{other.pid}\n{data}/cluster\n1\n5432\n{data}\n\n1 1\nready\n")
    run("chown", f"--reference={data}", pid_file)
    found = await outcome(data)
    if other.returncode is not None:
        return ["it has ended that process"]
    other.kill()
    await other.wait()
    return [found]


async def killed_in_initdb(data: Path) -> list[str]:
    """killed while it makes the cluster"""
    new = data.with_name("killed")
    command = [sys.executable, "-m", "inventory_ws", "--port", "0", "--data-dir", str(new)]
    process = await asyncio.create_subprocess_exec(*command)
    async with asyncio.timeout(20):
        while not (new / "cluster.new" / "base").exists():
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    await fill(new)
    return [await outcome(new)]


async def two_at_once(data: Path) -> list[str]:
    """two start at once on one folder"""
    return sorted(await asyncio.gather(outcome(data, TOGETHER), outcome(data, TOGETHER)))


async def long_path(data: Path) -> list[str]:
    """a path of over 150 characters"""
    long = data.with_name("n" * 150)
    run("mv", data, long)
    return [await outcome(long)]


async def other_version(data: Path) -> list[str]:
    """another PostgreSQL's data, and then its own"""
    version = data / "cluster" / "PG_VERSION"
    ours = version.read_text()
    version.write_text("17\n")
    found = await outcome(data)
    version.write_text(ours)
    return [found, await outcome(data)]


async def no_room(data: Path) -> list[str]:
    """no room on the disk for a cluster, then some"""
    with small_disk(30) as disk:
        if disk is None:
            return [NOT_TRIED]
        found = await outcome(disk / "data")
        run("mount", "-o", "remount,size=100m", disk)
        await fill(disk / "data")
        return [found, await outcome(disk / "data")]


async def full(data: Path) -> list[str]:
    """the disk is full of other things, then not"""
    with small_disk(100) as disk:
        if disk is None:
            return [NOT_TRIED]
        run("cp", "-a", data, disk)
        with filled(disk):
            found = await outcome(disk / data.name)
        return [found, await outcome(disk / data.name)]


Case = Callable[[Path], Awaitable[list[str]]]
"""Given a folder of its own with the product, what became of the services that started."""
CASES: dict[Case, list[set[str]]] = {
    stale_pid: [{STARTS}],
    killed_in_initdb: [{STARTS}],
    two_at_once: [{SAID}, {STARTS}],
    long_path: [{STARTS}],
    other_version: [{SAID}, {STARTS}],
    no_room: [{SAID}, {STARTS}],
    full: [{SAID, STARTS}, {STARTS}],
}


async def check(_: str, cases: Collection[Case] = CASES.keys()) -> list[Figure]:
    """the service starts on a folder that something has befallen, or says in one line what to do"""
    made = data_folder()
    await fill(made)
    figures = []
    for case in cases:
        home = data_folder()
        home.mkdir(mode=0o755)
        run("cp", "-a", made, home / "data")
        found = await case(home / "data")
        demanded = CASES[case]
        good = len(found) == len(demanded) and all(one in any_of for one, any_of in zip(found, demanded, strict=True))
        if left := processes(home):
            found.append(f"{len(left)} processes left")
        shown = [" or ".join(sorted(any_of)) for any_of in demanded]
        ok = None if found == [NOT_TRIED] else good and not left
        figures.append(Figure(str(case.__doc__), "; ".join(shown), "; ".join(found), ok))
    return figures
