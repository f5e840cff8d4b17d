"""Checks what a class has handed in: python -m tests.exercises 4.1 entregas

Each file of the folder is the output of `git diff` of one student; each folder in it has the files that a student changed. Each
is applied to a copy of the checkout of its own."""

import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copytree, ignore_patterns
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
LIMIT = 300  # seconds for one student's check


def failure(number: str, handed_in: Path, tree: Path) -> str | None:
    """What was expected and is not so, in one line; None if the exercise is solved."""
    copytree(ROOT, tree, ignore=ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__"))
    if handed_in.is_dir():
        copytree(handed_in, tree, dirs_exist_ok=True)
    else:
        applied = subprocess.run(
            ["git", "apply", handed_in.resolve()], cwd=tree, capture_output=True, text=True, check=False
        )
        if applied.returncode:
            return f"no se puede aplicar: {applied.stderr.strip().splitlines()[0]}"
    check = f"tests/exercises/check_{number.replace('.', '_')}.py"
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=results.xml", check]
    try:
        subprocess.run(command, cwd=tree, capture_output=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return f"no termina en {LIMIT} segundos"
    for test in ElementTree.parse(tree / "results.xml").iter("testcase"):
        for end in test:
            if end.tag in ("failure", "error"):
                return end.get("message", "").removeprefix("AssertionError: ").splitlines()[0]
    return None


def main() -> None:
    number, folder = sys.argv[1], Path(sys.argv[2])
    for handed_in in sorted(folder.iterdir()):
        with tempfile.TemporaryDirectory() as place:
            reason = failure(number, handed_in, Path(place, "tree"))
        print(f"{handed_in.stem:20} {'bien' if reason is None else f'mal: {reason}'}", flush=True)


if __name__ == "__main__":
    main()
