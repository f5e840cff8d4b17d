"""The checks of exercises, run in copies of the checkout."""

import gc
import multiprocessing
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info")
# As LENIENT in the Makefile.
WARNINGS = ("-Wignore", "-Werror::RuntimeWarning", "-Werror::pytest.PytestUnraisableExceptionWarning")
OPTIONS = ("-q", "-x", "--tb=short", "--junitxml=results.xml", "--assert=plain", "-p", "no:cacheprovider", *WARNINGS)
PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "pytest_aiohttp.plugin")  # to look for others takes a third of the time

# A check runs in a fork of a process that has imported all that a check needs: importing takes longer than most checks.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [f"tests.{name}" for name in ("exercises.conftest", "test_feed", "test_main", "test_page")]
)


class Outcome(NamedTuple):
    """What pytest printed, how the tests of the check ended, and what the failed ones said."""

    said: str
    ends: set[str]
    failures: list[str]


def check(number: str) -> str:
    """The name of an exercise's check."""
    return f"check_{number.replace('.', '_')}"


def copy(tree: Path) -> None:
    """Copies the checkout, with its compiled modules: those that are changed are newer, and compiled again."""
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)


def run(tree: Path, number: str, *options: str, limit: float, env: Mapping[str, str] = {}) -> Outcome:
    """Runs the check of a copy. Raises TimeoutError after `limit` seconds. There are no ends where pytest cannot start."""
    said, results = tree / "said.txt", tree / "results.xml"
    results.unlink(missing_ok=True)
    command = [*OPTIONS, *PLUGINS, *options, f"tests/exercises/{check(number)}.py"]
    process = FORKS.Process(target=_fork, args=(tree, said, command, dict(env)))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        raise TimeoutError(said.read_text())
    tests = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
    ends = {
        next((child.tag for child in test if child.tag in ("failure", "error", "skipped")), "passed") for test in tests
    }
    failed = [child for test in tests for child in test if child.tag in ("failure", "error")]
    return Outcome(said.read_text(), ends, [(child.text or "").strip() for child in failed])


def _fork(tree: Path, said: Path, command: list[str], env: Mapping[str, str]) -> None:
    """Runs pytest on the modules of the copy; what others have imported before it is theirs as well."""
    os.chdir(tree)
    os.environ.update(env, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    with said.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.path[:] = [str(tree), *(place for place in sys.path if place not in ("", str(ROOT)))]
    for name in list(sys.modules):
        if name.partition(".")[0] in ("tests", "inventory_ws"):
            del sys.modules[name]
    sys.dont_write_bytecode = True
    gc.freeze()  # pytest collects garbage several times, and what was imported is none
    sys.exit(pytest.main(command))
