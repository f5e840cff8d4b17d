"""What a page of Markdown says that a reader should type, and what they should see."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen


class Block(NamedTuple):
    """A fenced block. `kind` and `name`: of the line before it, as in **Archivo:** `inventory_ws/app.py`, else empty."""

    kind: str
    name: str
    language: str
    text: str


FENCED = re.compile(r"(?:^\*\*(\w+):\*\*(?: `([^`\n]+)`)?[^\n]*\n\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str = "") -> list[Block]:
    """The fenced blocks of the page in their order, those of a language or all."""
    found = [Block(*(part or "" for part in match.groups())) for match in FENCED.finditer(page)]
    return [block for block in found if language in ("", block.language)]


def commands(session: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, and what each of them prints."""
    for text in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, printed = text.partition("\n")
        yield command, printed


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def timeless(text: str) -> str:
    """The text without what is another one every time: times, the epoch of a log, and the version."""
    text = re.sub(r'"version":"[^"]+"', "VERSION", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "EPOCH", text)


def curl(command: str) -> str:
    """What the command prints; where there is no curl, what its arguments ask for is asked by Python."""
    words = shlex.split(command)
    assert words[:2] == ["curl", "-s"]
    if shutil.which("curl"):
        return subprocess.check_output(words, text=True)
    given = list(zip(words[3::2], words[4::2], strict=True))
    flags = dict(given)
    headers = dict(value.split(": ", 1) for flag, value in given if flag == "-H")
    data = Path(flags["--data-binary"][1:]).read_bytes() if "--data-binary" in flags else flags.get("-d", "").encode()
    request = Request(words[2], data or None, headers, method=flags.get("-X"))
    try:
        return urlopen(request, timeout=5).read().decode()
    except HTTPError as answer:
        return answer.read().decode()
