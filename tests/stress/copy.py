"""A whole catalogue that somebody copies in beside the open pages."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from statistics import median

from playwright.async_api import Page

from ..tools.browser import WITH_WINDOW, chromium_with_window
from ..tools.client import Client, dial
from ..tools.service import Figure, Service, database, inventory, writer
from .page import WATCH

PRODUCTS, IMPORTED, SOCKETS = 100_000, 20_000, 19
ROOM = 150  # MiB that the service may take for it


def copy(dsn: str) -> float:
    """As psql's \\copy does, in one transaction; for a thread. Returns the seconds that it took."""
    rows = "".join(f"Producto {n}\tPantalla de 13 pulgadas, 16 GB\t{n % 1000}.99\t{n % 50}\n" for n in range(PRODUCTS))
    began = time.monotonic()
    with closing(writer(dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.copy_expert("COPY productos (nombre, descripcion, precio, stock) FROM STDIN", io.StringIO(rows))
    return time.monotonic() - began


async def listeners(port: int, heard: list[list[int]]) -> list[Client]:
    """Sockets that note the ids of their events."""

    def noting(ids: list[int]) -> Callable[[int, bytes], None]:
        def note(_: int, payload: bytes) -> None:
            if payload.startswith(b'{"type":"PRODUCT_'):
                start = payload.index(b'"id":') + 5
                ids.append(int(payload[start : payload.index(b",", start)]))

        return note

    sockets = [await dial(port, noting(ids)) for ids in heard]
    for socket in sockets:
        socket.upgrade(port, "/ws")
    return sockets


async def watch(service: Service, until: asyncio.Event) -> tuple[float, list[float]]:
    """The service's largest memory, and the times of its answers to GET /api/salud in ms."""
    most, times = 0.0, []
    while not until.is_set():
        began = time.monotonic()
        await service.get("/api/salud")
        times.append((time.monotonic() - began) * 1000)
        most = max(most, service.memory())
        await asyncio.sleep(0.05)
    return most, times


async def import_file(service: Service, _: str) -> float:
    """Sends a file as the page does. Returns the seconds until it is answered."""
    rows = "".join(f"Producto {n},Una descripción de producto,{n % 1000}.99,{n % 50}\n" for n in range(IMPORTED))
    file = io.BytesIO(f"nombre,descripcion,precio,stock\n{rows}".encode())
    headers = {"Content-Type": "text/csv"}
    began = time.monotonic()
    async with service.session.post(f"{service.url}/api/productos", data=file, headers=headers) as answer:
        assert (await answer.json())["data"] == {"creados": IMPORTED, "actualizados": 0}
    return time.monotonic() - began


async def counted(page: Page, products: int) -> str:
    """The page's number of products, when it has come to all of them; after two minutes whatever it is."""
    text = ""
    for _ in range(240):
        text = "".join(filter(str.isdigit, await page.locator("#productCount").text_content() or ""))
        if text == str(products):
            break
        await asyncio.sleep(0.5)
    return text


async def check(server: str) -> list[Figure]:
    """100,000 products by one COPY, with 19 sockets that count and a page in Chromium"""
    return await load(server, PRODUCTS, lambda _, dsn: asyncio.to_thread(copy, dsn), 300)


async def check_import(server: str) -> list[Figure]:
    """20,000 products by one file, with 19 sockets that count and a page in Chromium"""
    return await load(server, IMPORTED, import_file, 10)


async def load(
    server: str, products: int, work: Callable[[Service, str], Awaitable[float]], limit: float
) -> list[Figure]:
    """Measures what `work` does to those who are connected; it may take `limit` seconds."""
    if WITH_WINDOW is None:
        return [Figure("Chromium", "there", "missing: nothing measured")]
    heard: list[list[int]] = [[] for _ in range(SOCKETS)]
    with database(server) as dsn:
        async with inventory(dsn) as service, chromium_with_window() as browser:
            sockets = await listeners(service.port, heard)
            page = await browser.new_page(locale="es-ES")
            await page.add_init_script(WATCH)
            await page.goto(service.url)
            await page.locator("[data-state=conectado]").wait_for()
            await asyncio.sleep(2)
            before, done, began = service.memory(), asyncio.Event(), time.monotonic()
            watching = asyncio.create_task(watch(service, done))
            copying = await work(service, dsn)
            while min(map(len, heard)) < products and time.monotonic() - began < 300:
                await asyncio.sleep(0.1)
            arrived = time.monotonic() - began
            count = await counted(page, products)
            shown = time.monotonic() - began
            done.set()
            most, times = await watching
            await page.locator("#search").fill(str(products - 1))
            await page.locator(f"[data-id='{products}']").wait_for()  # it still answers
            task = max(await page.evaluate("tasks"), default=0)
            whole = sum(ids == list(range(1, products + 1)) for ids in heard)
            open_still = sum(not socket.gone.done() for socket in sockets)
            return [
                Figure("COPY or file, s", f"<= {limit:.0f}", f"{copying:.1f}", copying <= limit),
                Figure("sockets with every event, once and in order", f"{SOCKETS}", f"{whole}", whole == SOCKETS),
                Figure("sockets that stayed open", f"{SOCKETS}", f"{open_still}", open_still == SOCKETS),
                Figure("the last event is at the last socket after, s", "", f"{arrived:.1f}"),
                Figure("products on the page", f"{products}", count, count == str(products)),
                Figure("and there after, s", "", f"{shown:.1f}"),
                Figure("longest task of the page, ms", "", f"{task:.0f}"),
                Figure(
                    "memory of the service over before, MiB",
                    f"<= {ROOM}",
                    f"{most - before:.0f}",
                    most - before <= ROOM,
                ),
                Figure("GET /api/salud meanwhile: median, ms", "", f"{median(times):.1f}"),
                Figure("GET /api/salud meanwhile: worst, ms", "<= 4000", f"{max(times):.0f}", max(times) <= 4000),
                service.complaints(),
            ]
