"""What the guide says is what there is and what happens: its excerpts stand in the files, its commands are run."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest.mock import AsyncMock

import pytest

from .test_main import CLEAN, ROOT, Service, service  # noqa: F401
from .tools.guide import CHAPTERS, CONTENTS, FOLDER, GUIDE, WORKSHOP
from .tools.markdown import Block, blocks, commands, curl, slug, timeless
from .tools.service import PATIENCE, free_port

CODE = {"python", "javascript", "sql", "html"}
READING = re.compile(r"curl -s \S+$")
KINDS = ("flowchart", "sequenceDiagram", "stateDiagram-v2")
PAGES = [*FOLDER.glob("*.md"), ROOT / "README.md", *(ROOT / ".github").glob("*.md")]
TITLES = """
1. ¿Qué es WebSocket?
2. HTTP frente a WebSocket
3. Arquitectura del sistema
4. Implementación en el backend
5. Implementación en el cliente HTML
6. Flujo de comunicación completo
7. Eventos y mensajes
8. Casos de uso reales
9. Manejo de errores y reconexión
10. Autenticación
11. Salas
12. Compresión
13. Mensajes del cliente
14. Persistencia de eventos
15. Experimentos
""".strip().splitlines()


def test_chapters_are_in_their_order() -> None:
    assert [title for title, _ in CONTENTS if title[0].isdigit()] == TITLES
    assert {file for _, file in CONTENTS} | {"README.md"} == {path.name for path in FOLDER.glob("*.md")}


@pytest.mark.parametrize("number", range(len(CONTENTS)), ids=[file for _, file in CONTENTS])
def test_chapter_has_its_title_and_links_to_its_neighbours(number: int) -> None:
    before = [f"[← {title}]({file})" for title, file in CONTENTS[max(number - 1, 0) : number]]
    after = [f"[{title} →]({file})" for title, file in CONTENTS[number + 1 : number + 2]]
    links = " · ".join([*before, "[Índice](README.md)", *after])
    assert CHAPTERS[number].startswith(f"{links}\n\n# {CONTENTS[number][0]}\n")
    assert CHAPTERS[number].endswith(f"\n\n{links}\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(slug, headings), target


def pieces(excerpt: str) -> list[str]:
    """The parts of an excerpt between the lines that say `# …`."""
    return [dedent(part).strip("\n") for part in re.split(r"^ *(?:#|//|--) ….*\n", excerpt, flags=re.MULTILINE)]


def stands_in(excerpt: str, text: str) -> bool:
    """Whether all parts of the excerpt stand in the text in this order, as whole lines."""
    lines, at = text.splitlines(), 0
    for piece in pieces(excerpt):
        size = len(piece.splitlines())
        for start in range(at, len(lines) - size + 1):
            if dedent("\n".join(lines[start : start + size])) == piece:
                at = start + size
                break
        else:
            return False
    return True


EXCERPTS = [block for block in blocks(GUIDE) if block.kind == "Archivo"]


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=lambda excerpt: f"{excerpt.name}:{excerpt.text.splitlines()[0]}")
def test_excerpt_stands_in_its_file(excerpt: Block) -> None:
    assert stands_in(excerpt.text, (ROOT / excerpt.name).read_text())


def test_code_is_an_excerpt_or_a_program_or_says_that_it_is_neither() -> None:
    assert [block for block in blocks(GUIDE) if block.language in CODE and not block.kind] == []
    for block in blocks(GUIDE, "python"):
        if block.kind == "Boceto":
            compile(block.text, "guia", "exec")


def test_names_in_the_text_are_in_the_code() -> None:
    """Those that begin with an underscore, which are changed without much ado; some stand in solutions."""
    files = [*(ROOT / "inventory_ws").rglob("*.py"), *(ROOT / "tests" / "exercises").glob("*.patch")]
    code = {name for file in files for name in re.findall(r"\b_\w+", file.read_text())}
    named = {name for span in re.findall(r"`([^`\n]+)`", GUIDE) for name in re.findall(r"\b_\w+", span)}
    assert named > {"_reply", "_form"}
    assert named - code == set()


def test_chapter_tells_where_it_has_what_comes_from_elsewhere() -> None:
    """A new terminal has no BASE, and who begins at this chapter no program of an earlier one."""
    for (_, file), chapter in zip(CONTENTS, CHAPTERS, strict=True):
        before, used, _ = chapter.partition('"$BASE"')
        assert not used or "`Base:`" in before, file
        typed = re.findall(r"^\$ \.venv/bin/python (\w+\.py)", chapter, re.MULTILINE)
        for program in set(typed) - {block.name for block in blocks(chapter)}:
            assert f"`{program}` es el del capítulo" in chapter, (file, program)


@pytest.mark.skipif(not (ROOT / ".gitignore").exists(), reason="an sdist has none")
def test_git_does_not_see_what_the_reader_keeps_in_the_folder() -> None:
    """It would be handed in with the solution of an exercise, and be gone with its branch."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    kept = {block.name for block in blocks(GUIDE) if block.kind in ("Programa", "Datos", "Paso")}
    assert len(kept) > 15
    assert {f"/*{Path(name).suffix}" for name in kept | {"pagina.html", "ana.diff"}} - set(ignored) == set()


def test_days_of_a_course_are_full_and_give_each_chapter_its_minutes() -> None:
    teachers = (FOLDER / "para-docentes.md").read_text()
    minutes: dict[str, int] = {}
    for chapter, text, exercises in re.findall(r"^\| (\d+) \|.+\| (\d+) \| ([\d +]+) \|$", teachers, re.MULTILINE):
        minutes[f"capítulo {chapter}"] = int(text)
        for number, part in enumerate(exercises.split(" + "), 1):
            minutes[f"ejercicio {chapter}.{number}"] = int(part)
    for (title, _), chapter in zip(CONTENTS, CHAPTERS, strict=True):
        if title[0].isdigit():
            read = chapter.partition("\n## Ejercicios\n")[0]
            words = len(re.findall(r"\w+", re.sub(r"^```.*?^```$", "", read, flags=re.DOTALL | re.MULTILINE)))
            typed = len(re.findall(r"^\$ ", read, re.MULTILINE))
            code = sum(block.text.count("\n") for block in blocks(read) if block.kind)
            needed = words / 150 + 1.5 * typed + 12 / 60 * code  # as the appendix says
            assert minutes[f"capítulo {title.partition('.')[0]}"] == pytest.approx(needed, abs=5), title
    days = re.split(r"^### Día ", teachers, flags=re.MULTILINE)[1:]
    assert len(days) == 4
    for day in days:
        rows = [(int(given), what) for given, what in re.findall(r"^\| (\d+) \| ([^|]+) \|$", day, re.MULTILINE)]
        assert sum(given for given, _ in rows) == 4 * 60, day
        for given, what in rows:
            named = re.findall(r"capítulo \d+|ejercicio \d+\.\d", what)
            assert not named or given == sum(minutes[name] for name in named), what


def sentences(page: str) -> list[str]:
    """What a page says in words: a piece of code is a word, an item of a list a sentence."""
    words = re.sub(r"^ *```.*?^ *```$|^[|#][^\n]*|<[^>]+>", "\n\n", page, flags=re.DOTALL | re.MULTILINE)
    words = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", words))
    return re.split(r"\n\s*\n|\n *(?:-|\d+\.) |(?<=[.:;?!])[)»*]*\s", words)


def test_no_sentence_has_to_be_read_twice() -> None:
    long = [said for page in FOLDER.glob("*.md") for said in sentences(page.read_text()) if len(said.split()) > 25]
    assert long == []


def test_tests_that_the_reader_is_sent_to_are_there() -> None:
    named = re.findall(r"-m pytest (tests/\w+\.py) -k (\w+)", GUIDE)
    assert len(named) == GUIDE.count("-m pytest") >= 2
    for file, word in named:
        assert re.search(rf"^(?:async )?def test_\w*{word}", (ROOT / file).read_text(), re.MULTILINE), word


def test_diagrams_are_of_a_kind_that_is_drawn() -> None:
    diagrams = blocks(GUIDE, "mermaid")
    assert len(diagrams) >= 9
    for diagram in diagrams:
        first, *rest = diagram.text.splitlines()
        assert first.split()[0] in KINDS
        assert rest


def test_event_takes_as_much_space_as_the_course_says(psql: Callable[..., list[tuple[float, ...]]]) -> None:
    chapter = dict(zip([file for _, file in CONTENTS], CHAPTERS, strict=True))["14-persistencia.md"]
    (told,) = re.findall(r"ocupa su texto y unos (\d+) bytes más", chapter)
    psql("INSERT INTO productos (nombre, precio) SELECT 'Teclado español', 64.9 FROM generate_series(1, 5000)")
    ((more,),) = psql("SELECT pg_total_relation_size('eventos') / count(*) - avg(length(mensaje::text)) FROM eventos")
    assert float(told) == pytest.approx(float(more), abs=40)


def test_sleeper_of_chapter_15_tells_that_it_was_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is after 30 s, for which the session below does not wait."""
    (program,) = [block.text for block in blocks(GUIDE) if block.name == "dormido.py"]
    monkeypatch.setattr(sys, "argv", ["dormido.py", "40"])
    names: dict[str, Callable[[socket.socket], int]] = {}
    exec(program.partition("async def main")[0], names)  # noqa: S102
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as asleep:
        there, _ = server.accept()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, as of the service
        there.close()
        assert names["wake_up"](asleep) == 0
    assert capsys.readouterr().out == "Al que dormía lo han cortado\n"


async def test_lost_event_of_chapter_15_is_told_from_what_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is in a class."""
    (program,) = [block.text for block in blocks(GUIDE) if block.name == "perdido.py"]
    monkeypatch.setattr(sys, "argv", ["perdido.py", "dbname=nothing"])
    names: dict[str, Any] = {}
    exec(program.partition("async def main")[0].replace("sleep(1)", "sleep(0)"), names)  # noqa: S102
    names["two_commits"] = lambda: None
    news = [
        {"type": "PRODUCT_DELETED", "id": 5, "data": {"id": 3}},
        {"type": "PRODUCT_CREATED", "id": 6, "data": {"id": 13, "nombre": "Mesa"}},
        {"type": "PRODUCT_CREATED", "id": 8, "data": {"id": 14, "nombre": "rápido"}},
        {"type": "PRODUCT_UPDATED", "id": 9, "data": {"id": 14, "nombre": "rápido"}},
        {"type": "PONG"},
    ]
    ws = AsyncMock()
    ws.receive_json.side_effect = news
    assert await names["heard"](ws) == "8 (rápido)"


class Session:
    """A reader of the guide in a folder like the checkout's: with its programs, and its files and windows."""

    def __init__(self, folder: Path, url: str, dsn: str) -> None:
        self.folder = folder
        self.ports = {"3000": url.rpartition(":")[2], "3001": str(free_port()), "3002": str(free_port())}
        self.env = CLEAN | {"PYTHONPATH": str(ROOT), "BASE": dsn, "LC_ALL": "C.UTF-8", "PSQLRC": os.devnull}
        self.windows: list[tuple[subprocess.Popen[bytes], Path, str, str]] = []
        bin_folder = folder / ".venv" / "bin"
        bin_folder.mkdir(parents=True)
        (folder / ".venv" / "lib").symlink_to(Path(sysconfig.get_path("platlib")).parents[1])
        for name, words in (("python", "-u"), ("inventory-ws", "-m inventory_ws")):
            program = bin_folder / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            program.chmod(0o755)
        made = subprocess.check_output(["make", "-nB", ".venv/run.stamp"], cwd=ROOT, text=True)
        (link,) = [line for line in made.splitlines() if "psql" in line]
        subprocess.run(link, shell=True, check=True, cwd=folder)

    def ours(self, text: str) -> str:
        """The text with the ports that the services really have."""
        return re.sub(rf"\b({'|'.join(self.ports)})\b", lambda port: self.ports[port[0]], text)

    def theirs(self, text: str) -> str:
        """What the reader would see, less what is another one every time, and the blanks at the ends of psql's lines."""
        for port, real in self.ports.items():
            text = re.sub(rf"\b{real}\b", port, text)
        return timeless("".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip()))

    def keep(self, block: Block) -> None:
        (self.folder / block.name).write_text(self.ours(block.text))

    def type(self, session: str) -> None:
        for command, expected in commands(session):
            if command.startswith("BASE="):  # which stands in the environment
                assert re.fullmatch(r"BASE='postgresql://postgres@/inventario\?host=/\S+&port=5432'", command)
            elif expected.endswith("^C\n"):
                self.open(command, expected.removesuffix("^C\n"))
            else:
                shown = self.theirs(self.run(self.ours(command)))
                deadline = time.monotonic() + 5 * PATIENCE
                while shown != timeless(expected) and READING.match(command) and time.monotonic() < deadline:
                    shown = self.theirs(self.run(self.ours(command)))  # what was written a moment ago is being read
                assert shown == timeless(expected), command

    def run(self, command: str) -> str:
        if command.startswith("curl "):
            return f"{curl(command)}\n"
        options = {"cwd": self.folder, "env": self.env, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, shell=True, text=True, timeout=30, check=False, **options).stdout

    def open(self, command: str, expected: str) -> None:
        """A command that goes on, in a window of its own."""
        out = self.folder / f"window{len(self.windows)}"
        with out.open("wb") as file:  # which is the program's alone: where we read, it would write
            started = subprocess.Popen(
                f"exec {self.ours(command)}",
                shell=True,
                cwd=self.folder,
                env=self.env,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
        self.windows.append((started, out, command, expected))
        self.read(out, 1)

    def read(self, out: Path, lines: int) -> str:
        deadline = time.monotonic() + 10 * PATIENCE
        while True:
            if (text := out.read_text(errors="replace")).count("\n") >= lines or time.monotonic() > deadline:
                return "".join(text.splitlines(keepends=True)[:lines])
            time.sleep(0.02)

    def close(self) -> None:
        """Sees what the windows show, and ends them."""
        for process, out, command, expected in self.windows:
            shown = self.read(out, expected.count("\n"))
            process.send_signal(signal.SIGINT)
            process.wait(20 * PATIENCE)
            assert self.theirs(shown) == timeless(expected), command
        self.windows.clear()


@pytest.mark.slow
def test_session_of_the_guide_is_what_happens(service: Callable[..., Service], dsn: str, tmp_path: Path) -> None:  # noqa: F811
    session = Session(tmp_path, service("--demo").url, dsn)
    chapters = [chapter for chapter in CHAPTERS if chapter != WORKSHOP]  # test_cien.py types that one
    typed = 0
    try:
        for chapter in chapters:
            for block in blocks(chapter):
                if block.kind in ("Programa", "Datos"):
                    session.keep(block)
                elif block.language == "console":
                    session.type(block.text)
                    typed += block.text.count("\n$ ") + 1
            session.close()
        programs = {block.name for block in blocks(GUIDE) if block.kind == "Programa"}
        sessions = "".join(block.text for chapter in chapters for block in blocks(chapter, "console"))
        assert set(re.findall(r"^\$ \.venv/bin/python (\S+)", sessions, re.MULTILINE)) == programs
        assert typed > 20
    finally:
        for process, *_ in session.windows:
            process.kill()
            process.wait()
