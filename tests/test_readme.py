"""What the README says is what happens: its commands and its programs are run and their output compared."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from inventory_ws.__main__ import parser

from .test_main import ROOT, service  # noqa: F401

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def timeless(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "EPOCH", text)


def curl(command: str) -> str:
    """What the command prints; where there is no curl, what its arguments ask for is asked by Python."""
    words = shlex.split(command)
    assert words[:2] == ["curl", "-s"]
    if shutil.which("curl"):
        return subprocess.check_output(words, text=True)
    flags = dict(zip(words[3::2], words[4::2], strict=True))
    name, _, value = flags.get("-H", "Accept: */*").partition(": ")
    request = Request(words[2], flags.get("-d", "").encode() or None, {name: value}, method=flags.get("-X"))
    try:
        return urlopen(request, timeout=5).read().decode()
    except HTTPError as answer:
        return answer.read().decode()


def test_session_of_the_readme_is_what_happens(service: Callable, tmp_path: Path) -> None:  # noqa: F811
    one = service("--demo")
    listener = blocks("python")[0].replace("http://localhost:3000", one.url)
    (heard,) = blocks("json")
    (session,) = blocks("console")
    listening = subprocess.Popen([sys.executable, "-c", listener], stdout=subprocess.PIPE, text=True)
    try:
        out = [listening.stdout.readline()]
        for command, expected in re.findall(r"^\$ (.*)\n(.*)\n", session, re.MULTILINE):
            assert timeless(curl(command.replace("http://localhost:3000", one.url))) == timeless(expected)
        out.append(listening.stdout.readline())
        assert timeless("".join(out)) == timeless(heard)
        assert len(re.findall(r"^\$ ", session, re.MULTILINE)) == 5
    finally:
        listening.kill()
        listening.communicate()


def test_flags_of_the_readme_are_those_of_the_program() -> None:
    known = {option for action in parser()._actions for option in action.option_strings} - {"-h", "--help", "--version"}
    assert set(re.findall(r"^\| `(--[a-z-]+)`", README, re.MULTILINE)) == known


def test_routes_of_the_readme_are_those_of_the_program(service: Callable) -> None:  # noqa: F811
    one = service()
    for path in ("/api/productos?limit=1&after=0&q=x", "/api/eventos?after=0&limit=1", "/api/salud"):
        assert path.partition("?")[0] in README
        assert json.dumps(one.get(path))


def test_embedding_of_the_readme_serves_under_its_prefix(dsn: str, tmp_path: Path) -> None:
    program = blocks("python")[1].replace("postgresql://localhost/shop", dsn)
    assert dsn in program
    program = program.replace("web.run_app(app)", "web.run_app(app, port=0, host='127.0.0.1')")
    process = subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://[\d.:]+", process.stdout.readline())[0]
        assert json.loads(curl(f"curl -s {url}/inventario/api/productos"))["data"] == []
        assert "<title>Inventario</title>" in curl(f"curl -s {url}/inventario/")
    finally:
        process.terminate()
        process.communicate()
