"""The checks of exercises, run in copies of the checkout."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")


class Outcome(NamedTuple):
    """What pytest printed, how the tests of each check ended, and what the failed ones said."""

    said: str
    ends: dict[str, set[str]]
    failures: list[str]


def check(number: str) -> str:
    """The name of an exercise's check."""
    return f"check_{number.replace('.', '_')}"


def copy(tree: Path) -> None:
    """Copies the checkout."""
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)


def run(tree: Path, *numbers: str, limit: float, env: Mapping[str, str] = os.environ) -> Outcome:
    """Runs the checks of a copy. Raises TimeoutExpired after `limit` seconds. There are no ends where pytest cannot start."""
    files = [f"tests/exercises/{check(number)}.py" for number in numbers]
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "--junitxml=results.xml"]
    command = [sys.executable, "-B", "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=limit, check=False)
    ends: dict[str, set[str]] = {}
    failures: list[str] = []
    results = tree / "results.xml"
    for test in ElementTree.parse(results).iter("testcase") if results.exists() else ():
        end = next((child.tag for child in test if child.tag in ("failure", "error", "skipped")), "passed")
        ends.setdefault(test.get("classname", "").rpartition(".")[2], set()).add(end)
        failures += [child.get("message", "") for child in test if child.tag in ("failure", "error")]
    return Outcome(done.stdout + done.stderr, ends, failures)
