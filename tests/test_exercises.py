"""The exercises of the guide: each check fails where nothing was done, and says in one line what it expected; it passes
where a solution was applied, by whichever road."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from unidiff import PatchSet

from .tools.exercises import ROOT, Outcome, check, copy, run
from .tools.guide import GUIDE
from .tools.service import PATIENCE

FOLDER = ROOT / "tests" / "exercises"
PATCHES = sorted(path.stem for path in FOLDER.glob("*.patch"))  # 2.2, and 2.2.otra: another solution of the same
NUMBERS = sorted(
    {".".join(patch.split(".")[:2]) for patch in PATCHES}, key=lambda number: [*map(int, number.split("."))]
)
LIMIT = 90 * PATIENCE  # seconds for the checks of one tree
AT_ONCE = 5  # checks in one untouched copy

pytestmark = pytest.mark.slow


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

    def run(self, name: str, *numbers: str, patch: Path | None = None) -> Outcome:
        """Runs the checks in a new copy."""
        tree = self.folder / name
        copy(tree)
        if patch:
            apply(patch, tree)
        outcome = run(tree, *numbers, limit=LIMIT, env=self.env)
        shutil.rmtree(tree)
        return outcome


@pytest.fixture(scope="session")
def trees(folder: Path, server: str) -> Trees:
    """Where copies can be made, on the PostgreSQL that runs for all tests."""
    (folder / "exercises").mkdir()
    return Trees(folder / "exercises", server)


@pytest.fixture(scope="session")
def untouched(trees: Trees) -> Outcome:
    """What becomes of all checks in untouched copies; some at a time, as they wait for what does not come."""
    some = [NUMBERS[at : at + AT_ONCE] for at in range(0, len(NUMBERS), AT_ONCE)]
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(lambda numbers: trees.run(f"untouched-{numbers[0]}", *numbers), some))
    return Outcome(
        "\n".join(outcome.said for outcome in outcomes),
        {name: ends for outcome in outcomes for name, ends in outcome.ends.items()},
        [failure for outcome in outcomes for failure in outcome.failures],
    )


def test_every_exercise_has_its_solution_and_its_check() -> None:
    assert re.findall(r"^\d+\. \*\*([\d.]+)\*\*", GUIDE, re.MULTILINE) == NUMBERS
    assert set(PATCHES) - {f"{number}.otra" for number in NUMBERS} == set(NUMBERS)
    assert {path.stem for path in FOLDER.glob("check_*.py")} == set(map(check, NUMBERS))
    on_pages = [number for number in NUMBERS if "test_page" in (FOLDER / f"{check(number)}.py").read_text()]
    for told in re.findall(r"[Ll]os ejercicios ([\d., y]+)(?: se comprueban en una página|, Chromium)", GUIDE):
        assert re.findall(r"\d+\.\d", told) == on_pages
    for number in NUMBERS:
        assert GUIDE.count(f"`tests/exercises/{number}.patch`") == GUIDE.count(f"`make exercise N={number}`") == 1


@pytest.mark.parametrize("patch", PATCHES)
def test_check_passes_where_a_solution_was_applied(trees: Trees, patch: str) -> None:
    number = patch.removesuffix(".otra")
    outcome = trees.run(patch, number, patch=FOLDER / f"{patch}.patch")
    assert outcome.ends.keys() == {check(number)}, outcome.said
    assert outcome.ends[check(number)] <= {"passed", "skipped"}, outcome.said  # skipped: without Chromium


@pytest.mark.parametrize("number", NUMBERS)
def test_check_fails_where_nothing_was_done(untouched: Outcome, number: str) -> None:
    assert untouched.ends[check(number)] & {"failure", "skipped"}, untouched.said


def test_check_fails_where_nothing_was_done_and_says_in_one_line_what_it_expected(untouched: Outcome) -> None:
    assert untouched.failures
    assert [said for said in untouched.failures if not re.fullmatch("Se esperaba .+", said)] == []


def test_exercise_without_chromium_says_what_to_install(trees: Trees) -> None:
    env = {name: value for name, value in trees.env.items() if name != "REQUIRE_ALL"} | {"PATH": "/nowhere"}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", FOLDER / "check_9_1.py"]
    said = subprocess.check_output(command, cwd=ROOT, env=env, text=True, timeout=LIMIT)
    assert "sudo apt install chromium" in said


def test_what_a_class_has_handed_in_is_checked_one_by_one(trees: Trees, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "4.1.patch", tmp_path / "ana.patch")
    (tmp_path / "eva.diff").write_text("I forgot\n")
    (tmp_path / "juan").mkdir()
    (tmp_path / "leo" / "inventory_ws" / "products").mkdir(parents=True)
    (tmp_path / "leo" / "inventory_ws" / "products" / "models.py").write_text("def (\n")
    (tmp_path / ".hidden").touch()
    command = [sys.executable, "-m", "tests.exercises", "4.1", str(tmp_path)]
    lines = subprocess.check_output(command, cwd=ROOT, env=trees.env, text=True, timeout=LIMIT).splitlines()
    assert [line.split(maxsplit=2)[:2] for line in lines] == [
        ["ana", "bien"],
        ["eva", "mal:"],
        ["juan", "mal:"],
        ["leo", "mal:"],
    ]
    assert "no se puede aplicar" in lines[1]
    assert "Se esperaba 200 de GET /api/resumen" in lines[2]
    assert "las pruebas no arrancan" in lines[3]
