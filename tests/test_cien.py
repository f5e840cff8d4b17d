"""The workshop of the guide: each step runs; each program of guia/cien finds its fault there, and none in the service."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.async_api import Browser, Page, expect

from .test_guia import Session
from .test_main import Service, service  # noqa: F401
from .test_page import browser  # noqa: F401
from .tools.guide import CHAPTERS, FOLDER, WORKSHOP
from .tools.markdown import Block, blocks
from .tools.service import free_port

pytestmark = pytest.mark.slow

PROGRAM = (FOLDER / "cien" / "inventario.py").read_text()
BEFORE, *STEPS, TROUBLES = WORKSHOP.split("\n## ")


def programs() -> Iterator[str]:
    """The program after each step. The first line of a block names it: a block of the same name takes its place."""
    parts: dict[str, str] = {}
    for step in STEPS:
        parts |= {block.text.partition("\n")[0]: block.text for block in blocks(step) if block.kind == "Paso"}
        yield "\n\n".join(sorted(parts.values(), key=lambda text: "web.run_app" in text))


class Workshop(Session):
    """A reader with a program of their own on port 8000."""

    def __init__(self, folder: Path, url: str, dsn: str) -> None:
        super().__init__(folder, url, dsn)
        self.ports["8000"] = str(free_port())
        (folder / "guia").symlink_to(FOLDER)
        (listener,) = [block for block in blocks(CHAPTERS[0]) if block.name == "escucha.py"]
        self.keep(listener)

    def run(self, command: str) -> str:
        """What the command prints; its status is 1 where it found a fault, else 0."""
        if command.startswith("curl "):
            return super().run(command)
        shown, _, status = super().run(f"{command}\necho status $?").rpartition("status ")
        assert int(status) == ("\nMAL: " in shown), shown
        return shown

    def save(self, program: str) -> None:
        compile(program, "inventario.py", "exec")
        self.keep(Block("Paso", "inventario.py", "python", program))

    def type_all(self, section: str) -> None:
        for block in blocks(section, "console"):
            self.type(block.text)


@pytest.fixture
def workshop(service: Callable[..., Service], dsn: str, tmp_path: Path) -> Iterator[Workshop]:  # noqa: F811
    """The reader's folder at the beginning of the workshop, and the service of `make run`."""
    session = Workshop(tmp_path, service().url, dsn)
    session.type_all(BEFORE)
    try:
        yield session
    finally:
        for process, *_ in session.windows:
            process.kill()
            process.wait()


def test_program_is_what_the_steps_make_and_short_enough_to_type() -> None:
    assert list(programs())[4:] == [PROGRAM]
    assert len(PROGRAM.splitlines()) <= 120


def test_each_step_runs_and_shows_what_it_adds(workshop: Workshop) -> None:
    for step, program in zip(STEPS, programs(), strict=True):
        workshop.save(program)
        workshop.type_all(step)
        with urlopen(f"http://127.0.0.1:{workshop.ports['8000']}/", timeout=5) as page:
            assert page.read() == (FOLDER / "cien" / "pagina.html").read_bytes()
        workshop.close()


def test_each_trouble_is_seen_in_the_program_and_not_in_the_service(workshop: Workshop) -> None:
    for name in ("orden", "corte", "otros", "ausentes", "repetida"):
        assert TROUBLES.count(f"$ .venv/bin/python guia/cien/{name}.py http://localhost:") == 2
    workshop.save(PROGRAM)
    workshop.type_all(TROUBLES)
    workshop.close()


async def test_page_shows_what_another_page_creates_and_changes(workshop: Workshop, browser: Browser) -> None:  # noqa: F811
    workshop.save(PROGRAM)
    workshop.open('.venv/bin/python inventario.py "$BASE"', "")
    url = f"http://localhost:{workshop.ports['8000']}/"
    faults: list[str] = []

    async def visit() -> Page:
        page = await (await browser.new_context()).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(url)
        await expect(page.locator("#connectionStatus")).to_have_text("Conectado")
        return page

    juan, maria = await visit(), await visit()
    await juan.get_by_label("Nombre").fill("<b>Mesa</b>")
    await juan.get_by_label("Precio").fill("120.5")
    await juan.get_by_role("button", name="Crear producto").click()
    for page in (juan, maria):
        await expect(page.locator("#productList h3")).to_have_text("<b>Mesa</b>")
        await expect(page.locator("#eventsLog li").first).to_contain_text("PRODUCT_CREATED: <b>Mesa</b>")
    await maria.get_by_role("button", name="+1").click()
    for page in (juan, maria):
        await expect(page.locator("#productList article")).to_contain_text("$120.50 · 1 unidades")
    await maria.get_by_role("button", name="−1").click()
    await expect(juan.locator("#productList article")).to_contain_text("0 unidades")
    await maria.get_by_role("button", name="−1").click()
    await expect(maria.locator("#eventsLog li").first).to_contain_text("El servidor contestó 400")
    assert faults == []
    workshop.close()
