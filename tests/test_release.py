"""What is published: what the sdist and the wheel hold, and that the service comes from them on every Python here."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import aiohttp
import pytest

import inventory_ws

from .test_main import CLEAN, ROOT, Service, postgres_on, run

pytestmark = pytest.mark.slow

FOLDERS = (".ci", ".github", "client", "guia", "inventory_ws", "sql", "tests")
FILES = (
    ".gitattributes",
    "CHANGELOG.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "setup.cfg",
)
RUBBISH = ("client/.hidden", "client/app.js~", "sql/old.sql~", "tests/__pycache__/x.pyc", "notes.txt")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
OURS = "{}.{}".format(*sys.version_info)
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--retries", "1")


def files(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    """A copy of the checkout."""
    source = folder / "source"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    return source


@pytest.fixture(scope="module")
def dist(source: Path, folder: Path) -> tuple[Path, Path]:
    """The sdist and the wheel, as `make dist` leaves them where more lies about than is published."""
    rubbish = [source / name for name in RUBBISH]
    for path in rubbish:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    stamps = folder / "stamps"
    stamps.mkdir()
    for name in ("run.stamp", "test.stamp"):
        (stamps / name).touch()
    make = ["make", "dist", f"VENV={stamps}", f"BIN={Path(sys.executable).parent}"]
    subprocess.run(make, cwd=source, check=True, timeout=120)
    for path in rubbish:
        path.unlink()
    (sdist,) = (source / "dist").glob("*.tar.gz")
    (wheel,) = (source / "dist").glob("*.whl")
    return sdist, wheel


def test_version_is_one_everywhere(dist: tuple[Path, Path]) -> None:
    newest = re.search(r"^## \[(.+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert inventory_ws.__version__ == newest
    assert run("--version").stdout == f"{newest}\n"
    assert [path.name for path in dist] == [f"inventory_ws-{newest}.tar.gz", f"inventory_ws-{newest}-py3-none-any.whl"]


def test_python_that_is_too_old_is_named_with_a_remedy(source: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    old = "import sys; sys.version_info, sys.version = (3, 10, 12), '3.10.12 (main)'; exec(sys.argv[1])"
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec \'{sys.executable}\' -c "{old}" "$2"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    command = ["make", f"VENV={tmp_path}", "PYTHON=true", "run"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=60)
    assert "Hace falta Python 3.11 o posterior, y este es el 3.10.12: make clean; PYTHON=" in done.stderr


def test_sdist_contains_what_its_tests_need(dist: tuple[Path, Path], source: Path, tmp_path: Path) -> None:
    with tarfile.open(dist[0]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    made = {name for name in files(source) if name.startswith(("dist/", "inventory_ws.egg-info/"))}
    added = {name for name in files(unpacked) if name == "PKG-INFO" or name.startswith("inventory_ws.egg-info/")}
    assert files(unpacked) - added == files(source) - made
    assert os.access(unpacked / ".ci/run", os.X_OK)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_models.py"]
    subprocess.run(command, cwd=unpacked, check=True, timeout=60)


def test_wheel_contains_only_the_package(dist: tuple[Path, Path]) -> None:
    with ZipFile(dist[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        text = wheel.read(metadata).decode()
        licence = wheel.read(metadata.replace("METADATA", "licenses/LICENSE"))
    expected = {f"inventory_ws/{name}" for name in files(ROOT / "inventory_ws") if "__pycache__" not in name}
    for inside in ("sql", "client"):
        expected |= {f"inventory_ws/{inside}/{name}" for name in files(ROOT / inside)}
    assert names == expected
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert re.search(r"^License(-Expression)?: Apache-2.0$", text, re.MULTILINE)
    assert text.endswith((ROOT / "README.md").read_text())


def python(version: str) -> str | None:
    """A Python of the version that can be run, which a shim of pyenv often can't."""
    if version == OURS:
        return sys.executable
    for program in (f"python{version}", *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))):
        if (
            shutil.which(program)
            and subprocess.run([program, "-c", "import ensurepip"], check=False, capture_output=True).returncode == 0
        ):
            return str(program)
    return None


def install(program: str, place: Path, wheel: str) -> Path | str:
    """Installs it into an environment of its own, its dependencies from the index, as people do. Returns the folder of
    its programs, or what went wrong."""
    subprocess.run([program, "-m", "venv", "--without-pip", place], check=True, capture_output=True, timeout=120)
    command = [sys.executable, *PIP, "--python", place / "bin/python", "install", "--no-compile", wheel]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, timeout=300, check=False)
    return done.stderr if done.returncode else place / "bin"


@pytest.fixture(scope="module")
def programs(dist: tuple[Path, Path], folder: Path) -> Callable[[str], Path]:
    """Where the programs of a Python's environment are; all of them are made at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = {
            version: pool.submit(
                install, program, folder / f"env-{version}", f"{dist[1]}[embedded]" if version == OURS else str(dist[1])
            )
            for version in VERSIONS
            if (program := python(version))
        }

    def find(version: str) -> Path:
        if version not in made:
            pytest.skip(f"there is no Python {version}")
        found = made[version].result()
        if isinstance(found, str):
            if "Retrying" in found and not os.environ.get("REQUIRE_ALL"):
                pytest.skip("no index answers: nothing is installed from it")
            pytest.fail(found)
        return found

    return find


async def serves(one: Service) -> None:
    """The page and its files, an answer from PostgreSQL, and a change that reaches a socket."""
    async with aiohttp.ClientSession(one.url) as session, session.ws_connect("/") as ws:
        for name in ("", *(path.name for path in (ROOT / "client").iterdir())):
            async with session.get(f"/{name}") as resp:
                assert (resp.status == 404) == name.endswith(".html"), name  # whose addresses are / and /docs
                assert await resp.read()
        async with session.get("/api/productos") as resp:
            assert len((await resp.json())["data"]) >= 10
        await ws.receive_json(timeout=5)
        async with session.post("/api/productos", json={"nombre": "Teclado", "precio": 1}) as resp:
            product = (await resp.json())["data"]
        event = await ws.receive_json(timeout=5)
        assert (event["type"], event["data"]) == ("PRODUCT_CREATED", product)


@pytest.mark.parametrize("version", VERSIONS)
async def test_wheel_serves(version: str, programs: Callable[[str], Path], dsn: str, tmp_path: Path) -> None:
    start = partial(Service, program=[str(programs(version) / "inventory-ws")], env=CLEAN, cwd=tmp_path)
    one = start("--database-url", dsn, "--demo")
    try:
        await serves(one)
    finally:
        status, err = one.stop()
    assert status == 0, err
    assert "Traceback" not in err


async def test_wheel_with_its_extra_includes_a_database(
    programs: Callable[[str], Path], folder: Path, tmp_path: Path
) -> None:
    data = folder / "published"
    program = [str(programs(OURS) / "inventory-ws")]
    one = Service("--demo", "--data-dir", str(data), program=program, env=CLEAN, cwd=tmp_path)
    try:
        await serves(one)
    finally:
        status, err = one.stop()
    assert status == 0, err
    assert postgres_on(data) == []


@pytest.fixture(scope="module")
def unpacked(dist: tuple[Path, Path], folder: Path) -> Path:
    """Where the sdist was installed, without its dependencies."""
    site = folder / "site"
    command = [sys.executable, *PIP, "install", "--no-deps", "--no-build-isolation", "--target", site, dist[0]]
    subprocess.run(command, check=True, timeout=120)
    return site


async def test_sdist_serves(unpacked: Path, dsn: str, tmp_path: Path) -> None:
    env = CLEAN | {"PYTHONPATH": str(unpacked)}
    where = run("schema", env=env, cwd=tmp_path)
    assert where.stdout == (unpacked / "inventory_ws/sql/schema.sql").read_text()
    one = Service("--database-url", dsn, "--demo", env=env, cwd=tmp_path)
    try:
        await serves(one)
    finally:
        status, err = one.stop()
    assert status == 0, err
