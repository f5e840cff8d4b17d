"""Checks what a class has handed in: python -m tests.exercises 4.1 entregas

Each file of the folder is the output of `git diff` of one student; each folder in it has the files that a student changed. Each
is applied to a copy of the checkout of its own."""

import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copytree

from ..tools.exercises import copy, run

LIMIT = 300  # seconds for one student's check


def verdict(number: str, handed_in: Path, tree: Path) -> str:
    """Return "bien", or what was expected and is not so, in one line."""
    copy(tree)
    if handed_in.is_dir():
        copytree(handed_in, tree, dirs_exist_ok=True)
    else:
        command = ["git", "apply", handed_in.resolve()]
        applied = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if applied.returncode:
            return f"mal: no se puede aplicar: {applied.stderr.strip().splitlines()[0]}"
    try:
        outcome = run(tree, number, limit=LIMIT)
    except TimeoutError:
        return f"mal: no termina en {LIMIT} segundos"
    if outcome.failures:
        return f"mal: {outcome.failures[0].splitlines()[0]}"
    if not outcome.ends:
        return f"mal: las pruebas no arrancan: {outcome.said.strip().splitlines()[-1]}"
    return "sin comprobar: falta Chromium" if "skipped" in outcome.ends else "bien"


def main() -> None:
    number, folder = sys.argv[1], Path(sys.argv[2])
    for handed_in in sorted(path for path in folder.iterdir() if path.name[0] != "."):
        with tempfile.TemporaryDirectory() as place:
            print(f"{handed_in.stem:20} {verdict(number, handed_in, Path(place, 'tree'))}", flush=True)


if __name__ == "__main__":
    main()
