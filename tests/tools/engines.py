"""WebKitGTK, whose engine is Safari's, and Firefox, each driven by its own protocol: WebDriver and WebDriver BiDi."""

import asyncio
import glob
import json
import re
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from .programs import Program, environment, listens, program
from .service import PATIENCE, free_port

DRIVER, XVFB = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
FOUND = [*glob.glob("/usr/lib/*/webkit*gtk-*/MiniBrowser"), *glob.glob("/usr/lib*/webkit*gtk-*/MiniBrowser")]
MINIBROWSER = FOUND[0] if FOUND and DRIVER and XVFB else None
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

SIZE = {"width": 1280, "height": 900}
NUMBERS = count(1)  # of commands
ANSWER = aiohttp.ClientTimeout(total=60)
START = 20 * PATIENCE  # seconds for WebKit's driver to start a browser
KEYS = {"Backspace": "\ue003", "Tab": "\ue004", "Enter": "\ue007", "Shift": "\ue008", "Control": "\ue009"}
KEYS |= {"Alt": "\ue00a", "Escape": "\ue00c", "PageUp": "\ue00e", "PageDown": "\ue00f", "End": "\ue010"}
KEYS |= {"Home": "\ue011", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015", "Delete": "\ue017"}
PREFERENCES = {"intl.accept_languages": "es-ES, es", "layout.css.prefers-color-scheme.content-override": 1}

# Where its centre is, once it stands still and is not covered. WebKit does not tell how far an animation has moved it.
CENTRE = """(async (element) => {
  if (!element || element.disabled) return null;
  element.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
  const moving = document.getAnimations().some(({playState, effect}) => playState === 'running'
    && effect.target?.contains(element) && effect.getComputedTiming().endTime < Infinity
    && effect.getKeyframes().some((frame) => frame.transform ?? frame.translate ?? frame.scale ?? frame.rotate));
  const place = () => (({x, y, width, height}) => [x + width / 2, y + height / 2])(element.getBoundingClientRect());
  const before = place();
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const still = !moving && String(place()) === String(before);
  return still && element.contains(document.elementFromPoint(...before)) ? before.map(Math.round) : null;
})(document.querySelector(%s))"""

# Keeps what goes wrong from now on, for WebKit's driver does not tell.
LISTEN = """(() => {
  window.heard = [];
  addEventListener('error', ({message, target}) => heard.push(message ?? `not loaded: ${target.outerHTML}`), true);
  addEventListener('unhandledrejection', ({reason}) => heard.push(String(reason)));
  addEventListener('securitypolicyviolation', (event) => heard.push(`policy: ${event.violatedDirective}`));
  const said = console.error;
  console.error = (...words) => { heard.push(words.join(' ')); said.apply(console, words); };
})()"""


class NotStarted(Exception):
    """The browser did not start, and is not alive any more: another one may."""


class Refused(Exception):
    """The browser did not do it, or the script in the page threw."""


class Page(ABC):
    """The one page of a browser. Elements are named by CSS selectors; what is done to one waits until it can be."""

    def __init__(self, program: Program) -> None:
        self.program = program

    @abstractmethod
    async def goto(self, url: str) -> None:
        """Loads the page, anew where it is there already."""

    @abstractmethod
    async def faults(self) -> list[str]:
        """What went wrong in the page since it was loaded."""

    @abstractmethod
    async def upload(self, selector: str, path: Path) -> None:
        """Chooses the file in an <input type=file>, which may be hidden."""

    @abstractmethod
    async def _run(self, script: str) -> str:
        """The string which a promise of the page resolves to."""

    @abstractmethod
    async def _act(self, kind: str, actions: list[dict[str, Any]]) -> None:
        """Moves a real pointer, or presses real keys."""

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of the expression, or of what it promises."""
        return json.loads(await self._run(f"(async () => JSON.stringify(await ({expression})) ?? 'null')()"))

    async def wait_for(self, expression: str, seconds: float = 20) -> Any:
        """Waits until the expression is true of the page, and returns its value."""
        last: object = None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if last := await self.evaluate(expression):
                    return last
            except Refused as exc:
                last = exc
            await asyncio.sleep(0.05)
        shown = await self.evaluate("`${location} ${document.body.innerText}`")
        raise AssertionError(f"{expression}\nremained {last!r}; the page showed:\n{shown[:3000]}")

    async def click(self, selector: str) -> None:
        """A click of the mouse on its centre."""
        x, y = await self.wait_for(CENTRE % json.dumps(selector))
        moves: list[dict[str, Any]] = [{"type": "pointerMove", "x": x, "y": y}]
        await self._act("pointer", moves + [{"type": f"pointer{way}", "button": 0} for way in ("Down", "Up")])

    async def type(self, selector: str, text: str) -> None:
        """Types it in place of what the field holds."""
        await self.click(selector)
        await self.press("Control+a")
        keys = [KEYS["Enter"] if key == "\n" else key for key in text] or [KEYS["Delete"]]
        await self._act("key", [{"type": f"key{way}", "value": key} for key in keys for way in ("Down", "Up")])

    async def press(self, keys: str) -> None:
        """One key, perhaps with others held: Enter, Escape, Tab, Down, x, Shift+Tab, Control+Enter."""
        codes = [KEYS.get(key, key) for key in re.split(r"(?<=.)\+(?=.)", keys)]
        down = [{"type": "keyDown", "value": code} for code in codes]
        await self._act("key", down + [{"type": "keyUp", "value": code} for code in reversed(codes)])


class Engine(ABC):
    """A running browser."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def alive(self) -> bool:
        return self.program.process.returncode is None

    @abstractmethod
    def page(self) -> AbstractAsyncContextManager[Page]:
        """The page of somebody who has never been there."""


class WebKit(Page):
    """Over WebDriver. Of faults it knows those after the load alone."""

    def __init__(self, program: Program, session: aiohttp.ClientSession) -> None:
        super().__init__(program)
        self.session, self.path = session, ""

    async def send(self, method: str, path: str, **body: Any) -> Any:
        """One command to the driver."""
        try:
            sent = {"json": body} if method == "POST" else {}
            async with self.session.request(method, self.path + path, **sent) as answer:
                value = (await answer.json())["value"]
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise await self.program.lost() from exc
        if not answer.ok:
            raise Refused(value)
        return value

    async def goto(self, url: str) -> None:
        await self.send("POST", "/url", url=url)
        await self.evaluate(LISTEN)

    async def faults(self) -> list[str]:
        return await self.evaluate("window.heard ?? []")

    async def upload(self, selector: str, path: Path) -> None:
        element = await self.send("POST", "/element", using="css selector", value=selector)
        await self.send("POST", f"/element/{next(iter(element.values()))}/value", text=str(path))

    async def _run(self, script: str) -> str:
        return await self.send("POST", "/execute/sync", script=f"return {script}", args=[])

    async def _act(self, kind: str, actions: list[dict[str, Any]]) -> None:
        await self.send("POST", "/actions", actions=[{"type": kind, "id": kind, "actions": actions}])


class Firefox(Page):
    """Over WebDriver BiDi."""

    def __init__(self, program: Program, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(program)
        self.socket, self.context = socket, ""
        self.heard: list[str] = []

    async def send(self, method: str, **params: Any) -> Any:
        """One command; what is told before its answer is kept."""
        number = next(NUMBERS)
        try:
            await self.socket.send_json({"id": number, "method": method, "params": params})
            while (answer := await self.socket.receive_json(timeout=ANSWER.total)).get("id") != number:
                if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                    self.heard.append(answer["params"]["text"])
        except (aiohttp.ClientError, TypeError, TimeoutError) as exc:  # TypeError: the socket was closed
            raise await self.program.lost() from exc
        if answer["type"] == "error":
            raise Refused(answer["message"])
        return answer["result"]

    async def goto(self, url: str) -> None:
        self.heard.clear()
        await self.send("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def faults(self) -> list[str]:
        await self.send("session.status")
        return list(self.heard)

    async def upload(self, selector: str, path: Path) -> None:
        locator = {"type": "css", "value": selector}
        (node,) = (await self.send("browsingContext.locateNodes", context=self.context, locator=locator))["nodes"]
        element = {"sharedId": node["sharedId"]}
        await self.send("input.setFiles", context=self.context, element=element, files=[str(path)])

    async def _run(self, script: str) -> str:
        target = {"context": self.context}
        answer = await self.send("script.evaluate", expression=script, target=target, awaitPromise=True)
        if answer["type"] == "exception":
            raise Refused(answer["exceptionDetails"]["text"])
        return answer["result"]["value"]

    async def _act(self, kind: str, actions: list[dict[str, Any]]) -> None:
        given = [{"type": kind, "id": kind, "actions": actions}]
        await self.send("input.performActions", context=self.context, actions=given)


class WebKitDriver(Engine):
    """WebKitGTK's driver, which starts a browser for each page."""

    def __init__(self, program: Program, session: aiohttp.ClientSession) -> None:
        super().__init__(program)
        self.session = session

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        page = WebKit(self.program, self.session)
        wanted = {"webkitgtk:browserOptions": {"binary": MINIBROWSER, "args": ["--automation"]}}
        try:
            async with asyncio.timeout(START):
                opened = await page.send("POST", "/session", capabilities={"alwaysMatch": wanted})
        except TimeoutError as exc:  # its browser hangs at the start, once in some hundred times
            self.program.process.kill()
            await self.program.process.wait()
            raise NotStarted from exc
        page.path = f"/session/{opened['sessionId']}"
        try:
            await page.send("POST", "/window/rect", x=0, y=0, **SIZE)
            yield page
        finally:
            with suppress(AssertionError, Refused):
                await page.send("DELETE", "")


@asynccontextmanager
async def webkit() -> AsyncIterator[Engine]:
    """WebKitGTK on a screen of its own."""
    assert DRIVER and XVFB and MINIBROWSER
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home, port = Path(folder), free_port()
        settings = environment(home) | {"GTK_THEME": "Adwaita"}
        # Never reset: when the last browser goes, the screen begins anew and turns away a browser that comes just then.
        options = ("-displayfd", "1", "-noreset", "-screen", "0", f"{SIZE['width']}x{SIZE['height']}x24")
        async with program(home, settings, XVFB, *options) as screen:
            settings["DISPLAY"] = ":" + await screen.written(r"^(\d+)\n")
            async with (
                program(home, settings, DRIVER, f"--port={port}") as driver,
                aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=ANSWER) as session,
            ):
                await driver.until(lambda: listens(port))
                yield WebKitDriver(driver, session)


class FirefoxBrowser(Engine):
    """Firefox, in which each page belongs to a user of its own."""

    def __init__(self, program: Program, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(program)
        self.socket = socket

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        page = Firefox(self.program, self.socket)
        user = (await page.send("browser.createUserContext"))["userContext"]
        try:
            # In a new tab, as that has the focus, which the first has not: its buttons would not hear of Enter.
            tab = await page.send("browsingContext.create", type="tab", userContext=user)
            page.context = tab["context"]
            await page.send("browsingContext.setViewport", context=page.context, viewport=SIZE)
            yield page
        finally:
            with suppress(AssertionError, Refused):
                await page.send("browser.removeUserContext", userContext=user)


@asynccontextmanager
async def firefox() -> AsyncIterator[Engine]:
    """Firefox without a window."""
    assert FIREFOX
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        profile = home / "profile"
        profile.mkdir()
        (profile / "user.js").write_text(
            "".join(f'user_pref("{name}", {json.dumps(value)});\n' for name, value in PREFERENCES.items())
        )
        options = ("--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port=0")
        async with (
            program(home, environment(home), FIREFOX, *options) as browser,
            aiohttp.ClientSession() as session,
            session.ws_connect(await browser.written(r"BiDi listening on (ws://\S+)$") + "/session") as ws,
        ):
            first = Firefox(browser, ws)
            await first.send("session.new", capabilities={})
            try:
                await first.send("session.subscribe", events=["log.entryAdded"])
                yield FirefoxBrowser(browser, ws)
            finally:
                with suppress(AssertionError, Refused, TimeoutError):
                    await first.send("browser.close")
                    await asyncio.wait_for(browser.process.wait(), 5)
