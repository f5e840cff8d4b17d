"""Checks what a class has handed in: python -m tests.exercises 4.1 entregas

Each file of the folder is the output of `git diff` of one student; each folder in it has the files that a student changed. Each
is applied to a copy of its own of what is committed, whose tests stay as they are."""

import codecs
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copytree

from ..tools.exercises import LEFT_OUT, ROOT, run

LIMIT = 300  # seconds for one student's check
PLACES = ("client", "ejercicios", "inventory_ws", "sql")  # where solutions are


def committed(tree: Path, part: str = ".") -> None:
    """Copies what is committed: the teacher's folder may have solutions in it. An sdist is copied as it stands."""
    if (ROOT / ".git").exists():
        tree.mkdir(exist_ok=True)
        files = subprocess.run(["git", "archive", "HEAD", part], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=files, check=True)
    else:
        copytree(ROOT / part, tree / part, ignore=LEFT_OUT, dirs_exist_ok=True)


def apply(handed_in: Path, tree: Path) -> str:
    """Apply the output of `git diff`, or copy the files; return what hinders it, if anything does."""
    if handed_in.is_dir():
        if not any((handed_in / place).exists() for place in PLACES):
            return (
                f"la carpeta no tiene nada en su sitio: dentro tiene que estar {', '.join(PLACES[:-1])} o {PLACES[-1]}"
            )
        copytree(handed_in, tree, ignore=LEFT_OUT, dirs_exist_ok=True)
        return ""
    diff = handed_in.read_bytes()
    if diff.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell's > writes it
        diff = diff.decode("utf-16", "replace").encode()
    diff = diff.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    if not diff.strip():
        return "el archivo está vacío: ¿faltaban «git add -A» y «git commit»?"
    if b"+++ " not in diff:
        return "el archivo no es la salida de git diff"
    applied = subprocess.run(
        ["git", "apply", "--whitespace=nowarn"], cwd=tree, input=diff, capture_output=True, check=False
    )
    return (
        f"no se puede aplicar: {applied.stderr.decode(errors='replace').splitlines()[0]}" if applied.returncode else ""
    )


def verdict(number: str, handed_in: Path, tree: Path) -> str:
    """Return "bien", or what was expected and is not so, in one line."""
    committed(tree)
    try:
        if hindrance := apply(handed_in, tree):
            return f"mal: {hindrance}"
    except OSError as exc:  # copytree's has the faults of all files
        return f"mal: no se puede copiar: {str(exc)[:200]}"
    committed(tree, "tests")  # a check that a student has changed would find anything right
    try:
        outcome = run(tree, number, limit=LIMIT)
    except TimeoutError:
        return f"mal: no termina en {LIMIT} segundos"
    if outcome.failures:
        return f"mal: {outcome.failures[0].splitlines()[0]}"
    if not outcome.ends:
        last = outcome.said.strip().rpartition("\n")[2] or "el programa termina sin decir nada, como con exit()"
        return f"mal: las pruebas no arrancan: {last}"
    return "sin comprobar: falta Chromium" if "skipped" in outcome.ends else "bien"


def main() -> None:
    number, folder = sys.argv[1], Path(sys.argv[2])
    all_handed_in = sorted(folder.glob("[!.]*"))
    if not all_handed_in:
        sys.exit(f"No hay entregas en «{folder}»")
    for handed_in in all_handed_in:
        with tempfile.TemporaryDirectory() as place:
            name = handed_in.name if handed_in.is_dir() else handed_in.stem
            print(f"{name:20} {verdict(number, handed_in, Path(place, 'tree'))}", flush=True)


if __name__ == "__main__":
    main()
