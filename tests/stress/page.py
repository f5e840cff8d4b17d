"""The page with very many products, in Chromium."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

from playwright.async_api import Page

from ..tools.browser import WITH_WINDOW, chromium_with_window
from ..tools.service import Figure, database, inventory, writer

PRODUCTS, RATE = 10_000, 100  # events a second
LIMIT = 200  # milliseconds of a task, while which the page answers nobody
LAPTOP = {"width": 1280, "height": 800}
WATCH = """
    window.tasks = []; window.frames = 0;
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))
        .observe({ type: 'longtask', buffered: true });
    requestAnimationFrame(function count() { frames += 1; requestAnimationFrame(count); });
"""


def fill(dsn: str, products: int) -> None:
    with closing(writer(dsn)) as conn, conn.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO productos (nombre, descripcion, precio, stock)
            SELECT (ARRAY['Teclado', 'Ratón', 'Monitor', 'Portátil', 'Cámara'])[1 + n %% 5] || ' ' || n,
                'Pantalla de 13 pulgadas, 16 GB de memoria, 512 GB de disco', n %% 1000 + 0.99, n %% 50
            FROM generate_series(1, %s) AS n
            """,
            (products,),
        )


def change_steadily(dsn: str, on: Callable[[], bool]) -> float:
    """Changes of every kind at a steady rate; for a thread. Returns the events a second."""
    chance, events = random.Random(1), 0
    with closing(writer(dsn)) as conn, conn.cursor() as cursor:
        began = time.monotonic()
        while on():
            time.sleep(max(0.0, began + events / RATE - time.monotonic()))
            kind = chance.random()
            if kind < 0.1:
                cursor.execute("INSERT INTO productos (nombre, precio) VALUES ('Nuevo', 1)")
            elif kind < 0.2:
                cursor.execute(
                    "DELETE FROM productos WHERE id = (SELECT id FROM productos OFFSET %s LIMIT 1)",
                    (chance.randrange(PRODUCTS // 2),),
                )
            else:
                cursor.execute("UPDATE productos SET stock = stock + 1 WHERE id = %s", (chance.randrange(1, PRODUCTS),))
            events += 1
        return events / (time.monotonic() - began)


async def scroll(page: Page) -> None:
    """From top to bottom: by jumps, by the wheel, and to the very end."""
    for key in ("End", "Home", "End", "End", "PageUp", "Home"):
        await page.keyboard.press(key)
        await asyncio.sleep(0.4)
    await page.mouse.move(800, 400)
    for _ in range(60):
        await page.mouse.wheel(0, 900)
        await asyncio.sleep(0.03)
    for _ in range(400):
        await page.keyboard.press("End")
        await asyncio.sleep(0.05)
        if await page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2"):
            break
    for _ in range(3):
        await page.keyboard.press("Home")
        await asyncio.sleep(0.4)
        await page.keyboard.press("End")
        await asyncio.sleep(0.4)
    for _ in range(60):
        await page.mouse.wheel(0, -900)
        await asyncio.sleep(0.03)


async def search(page: Page) -> None:
    """Letter by letter, and back."""
    await page.locator("#search").focus()
    for text in ("cámara 77", "teclado", "nada de esto"):
        await page.keyboard.type(text, delay=60)
        await asyncio.sleep(0.3)
        for _ in text:
            await page.keyboard.press("Backspace")
            await asyncio.sleep(0.06)


async def loaded(page: Page) -> None:
    await page.wait_for_selector("#productList[aria-busy=false]", timeout=60_000)
    await asyncio.sleep(1)


async def phase(page: Page, name: str, work: Awaitable[None]) -> Figure:
    """Does it, and says which of the page's tasks were long meanwhile."""
    await asyncio.sleep(0.5)
    await page.evaluate("tasks.length = frames = 0")
    began = time.monotonic()
    await work
    await asyncio.sleep(0.5)
    seconds = time.monotonic() - began
    tasks, frames = await page.evaluate("[tasks, frames]")
    most = max(tasks, default=0)
    return Figure(
        f"{name}: longest task, ms (long ones; frames/s)",
        f"<= {LIMIT}",
        f"{most:.0f} ({len(tasks)}; {frames / seconds:.0f})",
        most <= LIMIT,
    )


async def check(server: str) -> list[Figure]:
    """10,000 products on a page: loaded, scrolled, searched, as cards and as a table, also while 100 events a second arrive"""
    if WITH_WINDOW is None:
        return [Figure("Chromium", "there", "missing: nothing measured")]
    with database(server) as dsn:
        fill(dsn, PRODUCTS)
        async with inventory(dsn) as service, chromium_with_window() as browser:
            page = await browser.new_page(viewport=LAPTOP, locale="es-ES")
            await page.add_init_script(WATCH)
            await page.goto(service.url)
            await loaded(page)
            await asyncio.sleep(1)
            tasks = await page.evaluate("tasks")
            figures = [
                Figure(
                    "load: long tasks, ms",
                    f"<= {LIMIT}",
                    ", ".join(f"{task:.0f}" for task in tasks),
                    max(tasks, default=0) <= LIMIT,
                )
            ]
            figures.append(await phase(page, "scrolled, quiet", scroll(page)))
            figures.append(await phase(page, "searched, quiet", search(page)))
            on = True
            writing = asyncio.create_task(asyncio.to_thread(change_steadily, dsn, lambda: on))
            figures.append(await phase(page, "idle, 100 events/s", asyncio.sleep(5)))
            figures.append(await phase(page, "searched, 100 events/s", search(page)))
            await page.reload()
            await loaded(page)
            figures.append(await phase(page, "scrolled, 100 events/s", scroll(page)))
            cards = await page.locator(".product-card").count()
            await page.locator("#asTable").click()
            await page.locator("[data-sort=nombre]").click()
            figures.append(await phase(page, "table by name, idle, 100 events/s", asyncio.sleep(5)))
            figures.append(await phase(page, "table by name, scrolled, 100 events/s", scroll(page)))
            figures.append(await phase(page, "table by name, searched, 100 events/s", search(page)))
            on = False
            figures.append(Figure("events a second", "", f"{await writing:.0f}"))
            figures.append(Figure("cards", "", str(cards)))
            figures.append(Figure("rows of the table", "", str(await page.locator(".product-row").count())))
            figures.append(service.complaints())
    return figures
