"""Chromium, as the tests of the page and the checks under load start it, and browsers that several tests share."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

from playwright.async_api import Browser, async_playwright

WITH_WINDOW = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The shell shows a page with the same engine, for a third of the processor time. It keeps no page for the back button.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chrome-headless-shell"))), WITH_WINDOW)
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]

Opened = TypeVar("Opened")


@asynccontextmanager
async def chromium(program: str | None = CHROMIUM) -> AsyncIterator[Browser]:
    """A browser that nobody sees."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            args=[*QUIET, *root],
            ignore_default_args=["--disable-back-forward-cache"],  # people have it
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def chromium_with_window() -> AsyncIterator[Browser]:
    """Chromium as people have it, for what the shell does not do, and for what is measured."""
    async with chromium(WITH_WINDOW) as browser:
        yield browser


class Browsers:
    """Browsers that live as long as `runner`, in whose loop the tests run that use them: to start one takes longer than
    most of these tests."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self._opened: dict[Callable[[], Any], tuple[AsyncExitStack, Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()  # of the browsers

    async def get(
        self, start: Callable[[], AbstractAsyncContextManager[Opened]], alive: Callable[[Opened], bool]
    ) -> Opened:
        """The browser that `start` opens, which may be running already; another one where it has died."""
        if start in self._opened and not alive(self._opened[start][1]):
            with suppress(Exception):  # it may miss what it would close
                await self._opened.pop(start)[0].aclose()
        if start not in self._opened:
            before, stack = asyncio.all_tasks(), AsyncExitStack()
            self._opened[start] = stack, await stack.enter_async_context(start())
            self._tasks |= asyncio.all_tasks() - before
        return self._opened[start][1]

    async def end_test(self) -> None:
        """Cancels what a test has left running, as the end of its own loop would."""
        left = asyncio.all_tasks() - self._tasks - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def close(self) -> None:
        for stack, _ in self._opened.values():
            await stack.aclose()
