"""The exercises of the guide: each check passes where a solution was applied, by whichever road. It fails where nothing was
done, and where the solution is wrong in a way that is likely, and says in one line what it expected."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from unidiff import PatchSet

from .exercises import __main__ as marking
from .exercises.wrong import WRONG, Wrong
from .tools.exercises import ROOT, Outcome, check, copy, run
from .tools.guide import GUIDE
from .tools.service import PATIENCE

FOLDER = ROOT / "tests" / "exercises"
PATCHES = sorted(path.stem for path in FOLDER.glob("*.patch"))  # 2.2, and 2.2.otra: another solution of the same
NUMBERS = sorted(
    {".".join(patch.split(".")[:2]) for patch in PATCHES}, key=lambda number: [*map(int, number.split("."))]
)
PROGRAMS = [number for number in NUMBERS if "+++ b/ejercicios/" in (FOLDER / f"{number}.patch").read_text()]
LIMIT = 90 * PATIENCE  # seconds for a check
SCHEMA = "sql/schema.sql"
IDENTITY = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org", "-c", "commit.gpgsign=false")

pytestmark = pytest.mark.slow


def apply(patch: Path, tree: Path) -> list[Path]:
    """Applies the patch as `git apply` would, which need not be here: each hunk where its lines are, and nowhere else.
    Returns the files that it has changed."""
    paths = []
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
        paths.append(path)
    return paths


def spoil(paths: list[Path], changes: Mapping[str, str]) -> None:
    """Replaces texts, each of which is in one of the files, and there once."""
    for text, instead in changes.items():
        (path,) = (path for path in paths if text in path.read_text())
        assert path.read_text().count(text) == 1, f"«{text}» is in {path} several times"
        path.write_text(path.read_text().replace(text, instead))


class Tree:
    """A copy of the checkout, and what becomes of checks in it."""

    def __init__(self, place: Path, server: str, template: str) -> None:
        self.place, self.template = place, template
        self.env = {"TEST_DATABASE_URL": server}
        copy(place)

    def run(self, number: str, *options: str, patch: str = "", changes: Mapping[str, str] = {}) -> Outcome:
        """Runs the check where a solution is applied, with other texts in it. Afterwards the copy is as it was."""
        changed: list[Path] = []
        try:
            if patch:
                changed += apply(FOLDER / f"{patch}.patch", self.place)
                spoil(changed, changes)
            made = {} if self.place / SCHEMA in changed else {"TEST_TEMPLATE": self.template}
            return run(self.place, number, *options, limit=LIMIT, env=self.env | made)
        finally:
            for path in changed:
                path.unlink()
                if (original := ROOT / path.relative_to(self.place)).exists():
                    shutil.copy2(original, path)  # with its time: it has been compiled


@pytest.fixture(scope="session")
def tree(folder: Path, server: str, template: str) -> Tree:
    """A copy of the checkout, on the PostgreSQL that runs for all tests."""
    return Tree(folder / "exercises", server, template)


def test_every_exercise_has_its_solution_its_check_and_three_wrong_solutions() -> None:
    assert re.findall(r"^\d+\. \*\*([\d.]+)\*\*", GUIDE, re.MULTILINE) == NUMBERS
    assert set(PATCHES) - {f"{number}.otra" for number in NUMBERS} == set(NUMBERS)
    assert {path.stem for path in FOLDER.glob("check_*.py")} == set(map(check, NUMBERS))
    on_pages = [number for number in NUMBERS if "test_page" in (FOLDER / f"{check(number)}.py").read_text()]
    for told in re.findall(r"[Ll]os ejercicios ([\d., y]+)(?: se comprueban en una página|, Chromium)", GUIDE):
        assert re.findall(r"\d+\.\d", told) == on_pages
    for number in NUMBERS:
        assert GUIDE.count(f"`tests/exercises/{number}.patch`") == GUIDE.count(f"`make exercise N={number}`") == 1
    assert [number for number in NUMBERS if sum(wrong.number == number for wrong in WRONG) < 3] == []
    assert {wrong.number for wrong in WRONG} <= set(NUMBERS)


@pytest.mark.parametrize("patch", PATCHES)
def test_check_passes_where_a_solution_was_applied(tree: Tree, patch: str) -> None:
    outcome = tree.run(patch.removesuffix(".otra"), patch=patch)
    assert outcome.ends, outcome.said
    assert outcome.ends <= {"passed", "skipped"}, outcome.said  # skipped: without Chromium


def test_check_passes_where_python_or_a_library_only_warns(tree: Tree) -> None:
    warned_of = '    app["cuenta"] = "\\-"\n    return app\n\n'  # no AppKey, no escape, and both work
    assert tree.run("4.1", patch="4.1", changes={"    return app\n\n": warned_of}).ends == {"passed"}


def test_program_of_a_solution_asks_no_proxy_of_a_school(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tree.env, "http_proxy", "http://127.0.0.1:9")
    assert tree.run("14.2", patch="14.2.otra").ends == {"passed"}


def refused(outcome: Outcome) -> str:
    """The line in which the check says what it expected."""
    assert outcome.failures, outcome.said
    assert [said for said in outcome.failures if not re.fullmatch("Se esperaba[^\n]+", said)] == []
    return outcome.failures[0]


@pytest.mark.parametrize(
    "number", [number for number in NUMBERS if number not in PROGRAMS[1:]]
)  # all miss their program
def test_check_fails_where_nothing_was_done(tree: Tree, number: str) -> None:
    outcome = tree.run(number)
    if outcome.ends != {"skipped"}:
        refused(outcome)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.number}-{wrong.mistake}")
def test_check_refuses_a_wrong_solution_in_a_line_that_leads_on(tree: Tree, wrong: Wrong) -> None:
    outcome = tree.run(wrong.number, patch=wrong.patch or wrong.number, changes=wrong.changes)
    if outcome.ends != {"skipped"}:
        assert wrong.said in refused(outcome)


def test_exercise_without_chromium_says_what_to_install(tree: Tree) -> None:
    env = {name: value for name, value in os.environ.items() if name != "REQUIRE_ALL"}
    env |= tree.env | {"PATH": "/nowhere"}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", FOLDER / "check_9_1.py"]
    said = subprocess.check_output(command, cwd=ROOT, env=env, text=True, timeout=LIMIT)
    assert "sudo apt install chromium" in said


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """A checkout with what its teacher has tried in it."""
    place = tmp_path / "checkout"
    place.mkdir()
    (place / "code.py").write_text("committed = 1\n")
    for command in (["init", "-q"], ["add", "-A"], [*IDENTITY, "commit", "-qm", "A class"]):
        subprocess.run(["git", *command], cwd=place, check=True)
    (place / "code.py").write_text("tried = 1\n")
    (place / "saludo.py").touch()
    return place


def test_what_is_handed_in_is_applied_to_what_is_committed(
    class_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "ROOT", class_folder)
    marking.committed(tmp_path / "tree")
    assert {path.name: path.read_text() for path in (tmp_path / "tree").iterdir()} == {"code.py": "committed = 1\n"}


def test_what_is_handed_in_fits_where_git_writes_the_files_as_on_windows(
    class_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / ".gitattributes", class_folder)
    for command in (["config", "core.autocrlf", "true"], ["add", ".gitattributes"], [*IDENTITY, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=class_folder, check=True)
    monkeypatch.setattr(marking, "ROOT", class_folder)
    marking.committed(tmp_path / "tree")
    assert (tmp_path / "tree" / "code.py").read_bytes() == b"committed = 1\n"


@pytest.mark.parametrize(
    ("handed_in", "said"),
    [
        (b"\n", "vacío: ¿faltaban «git add -A»"),
        (b"import asyncio\n", "no es la salida de git diff"),
        ("--- /dev/null\r\n+++ b/año.py\r\n@@ -0,0 +1 @@\r\n+x = 1\r\n".encode("utf-16"), ""),
        (b"--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x\n+y \n", "no se puede aplicar: error:"),
    ],
    ids=["empty", "program", "PowerShell", "of another, with a trailing blank"],
)
def test_file_that_is_handed_in_is_applied_or_said_what_it_is(tmp_path: Path, handed_in: bytes, said: str) -> None:
    (tmp_path / "ana.diff").write_bytes(handed_in)
    hindrance = marking.apply(tmp_path / "ana.diff", tmp_path)
    assert said in hindrance
    assert said or (tmp_path / "año.py").read_text() == "x = 1\n", hindrance


def test_class_folder_may_have_a_blank_in_its_name_and_one_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    made = ["-s", "-o", ".venv/test.stamp", f"BIN={Path(sys.executable).parent}"]
    command = ["make", *made, "exercise", "N=4.1", f"FROM={tmp_path}/entregas 1A"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.stderr.splitlines()[0] == f"No hay entregas en «{tmp_path}/entregas 1A»"


def test_what_a_class_has_handed_in_is_checked_one_by_one(tree: Tree, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "4.1.patch", tmp_path / "ana.patch")
    (tmp_path / "eva.diff").write_text("I forgot\n")
    (tmp_path / "juan" / "juan" / "ejercicios").mkdir(parents=True)  # as a ZIP is unpacked
    (tmp_path / "leo" / "inventory_ws" / "products").mkdir(parents=True)
    (tmp_path / "leo" / "inventory_ws" / "products" / "models.py").write_text("def (\n")
    (tmp_path / "luz.mar" / "sql").mkdir(parents=True)
    (tmp_path / "luz.mar" / "README.md").mkdir()
    shutil.copytree(tmp_path / "leo", tmp_path / "mia")
    (tmp_path / "mia" / "inventory_ws" / "products" / "models.py").write_text("exit()\n")
    (tmp_path / "noa" / "tests" / "exercises").mkdir(parents=True)
    (tmp_path / "noa" / "ejercicios").mkdir()
    (tmp_path / "noa" / "tests" / "exercises" / "check_4_1.py").write_text("def test_nothing():\n    pass\n")
    (tmp_path / ".hidden").touch()
    command = [sys.executable, "-m", "tests.exercises", "4.1", str(tmp_path)]
    env = os.environ | tree.env
    lines = subprocess.check_output(command, cwd=ROOT, env=env, text=True, timeout=LIMIT).splitlines()
    assert [line.split(maxsplit=2)[:2] for line in lines] == [
        ["ana", "bien"],
        ["eva", "mal:"],
        ["juan", "mal:"],
        ["leo", "mal:"],
        ["luz.mar", "mal:"],
        ["mia", "mal:"],
        ["noa", "mal:"],
    ]
    assert "no es la salida de git diff" in lines[1]
    assert "no tiene nada en su sitio" in lines[2]
    assert "las pruebas no arrancan" in lines[3]
    assert "no se puede copiar" in lines[4]
    assert "sin decir nada" in lines[5]
    assert "Se esperaba 200 de GET /api/resumen" in lines[6]  # its own check counts for nothing
