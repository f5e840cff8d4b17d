"""The exercises of the guide: each check fails where nothing was done, and passes where its solution was applied."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from unidiff import PatchSet

from .tools.guide import GUIDE
from .tools.service import PATIENCE

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "exercises"
NUMBERS = sorted((path.stem for path in FOLDER.glob("*.patch")), key=lambda number: [*map(int, number.split("."))])
LIMIT = 90 * PATIENCE  # seconds for the checks of one tree

pytestmark = pytest.mark.slow


def check(number: str) -> str:
    return f"check_{number.replace('.', '_')}"


def apply(patch: Path, tree: Path) -> None:
    """Applies the patch as `git apply` would, which need not be here: each hunk where its lines are, and nowhere else."""
    for file in PatchSet(patch.read_text()):
        path = tree / file.path
        text = "" if file.is_added_file else path.read_text()
        for hunk in file:
            before = "".join(line.value for line in hunk.source_lines())
            after = "".join(line.value for line in hunk.target_lines())
            assert file.is_added_file or text.count(before) == 1, f"{patch.name} does not fit into {file.path}:\n{hunk}"
            text = text.replace(before, after, 1)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


class Trees:
    """Copies of the checkout, and what becomes of checks in them."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.env = {**os.environ, "TEST_DATABASE_URL": server}

    def run(self, name: str, *numbers: str, patch: Path | None = None) -> tuple[str, dict[str, set[str]]]:
        """Runs the checks in a new copy; returns what pytest printed and, by check, how its tests ended."""
        tree = self.folder / name
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info"))
        if patch:
            apply(patch, tree)
        files = [f"tests/exercises/{check(number)}.py" for number in numbers]
        options = ["-q", "-p", "no:cacheprovider", "--tb=short", "--junitxml=results.xml"]
        command = [sys.executable, "-B", "-m", "pytest", *options, *files]
        done = subprocess.run(
            command, cwd=tree, env=self.env, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        said = done.stdout + done.stderr
        ends: dict[str, set[str]] = {}
        for test in ElementTree.parse(tree / "results.xml").iter("testcase"):
            end = next((child.tag for child in test if child.tag in ("failure", "error", "skipped")), "passed")
            ends.setdefault(test.get("classname", "").rpartition(".")[2], set()).add(end)
        shutil.rmtree(tree)
        return said, ends


@pytest.fixture(scope="session")
def trees(folder: Path, server: str) -> Trees:
    """Where copies can be made, on the PostgreSQL that runs for all tests."""
    (folder / "exercises").mkdir()
    return Trees(folder / "exercises", server)


@pytest.fixture(scope="session")
def untouched(trees: Trees) -> tuple[str, dict[str, set[str]]]:
    """What becomes of all checks in an untouched copy."""
    return trees.run("untouched", *NUMBERS)


def test_every_exercise_has_its_solution_and_its_check() -> None:
    assert re.findall(r"^\d+\. \*\*([\d.]+)\*\*", GUIDE, re.MULTILINE) == NUMBERS
    assert {path.stem for path in FOLDER.glob("check_*.py")} == set(map(check, NUMBERS))
    for number in NUMBERS:
        assert GUIDE.count(f"`tests/exercises/{number}.patch`") == GUIDE.count(f"`make exercise N={number}`") == 1


@pytest.mark.parametrize("number", NUMBERS)
def test_check_passes_where_the_solution_was_applied(trees: Trees, number: str) -> None:
    said, ends = trees.run(number, number, patch=FOLDER / f"{number}.patch")
    assert ends.keys() == {check(number)}, said
    assert ends[check(number)] <= {"passed", "skipped"}, said  # skipped: without Chromium


@pytest.mark.parametrize("number", NUMBERS)
def test_check_fails_where_nothing_was_done(untouched: tuple[str, dict[str, set[str]]], number: str) -> None:
    said, ends = untouched
    assert ends[check(number)] & {"failure", "skipped"}, said
