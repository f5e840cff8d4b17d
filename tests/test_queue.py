"""The queue of changes by itself, in a page that has nothing else: what is added is sent once, in its order."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page

from .test_page import browser  # noqa: F401

pytestmark = pytest.mark.slow

CLIENT = Path(__file__).parent.parent / "client"

# `sent`: what went over the line, of all pages. `answer(n)` and `refuse(n, status, more)` end the request so many from the end.
SETUP = """
const { Queue } = await import('/queue.js');
window.told = [];
window.open = (options) => {
  window.sent = [];
  window.queue = new Queue('cola', (change) => new Promise((answer, refuse) => {
    sent.push(`${change.kind} ${change.id} ${change.delta ?? ''}`.trim());
    window.last = { change, answer: (data = {}) => answer({ data }), refuse };
    // An entry for each line: what another page has written may not be visible here yet.
    const now = (performance.timeOrigin + performance.now()).toFixed(3);
    localStorage.setItem(`log ${now} ${change.key}`, `${sent.at(-1)} ${change.key}`);
  }), options);
  queue.addEventListener('resultado', ({ detail: { change, error, mine } }) =>
    told.push(`${change.kind} ${change.id} ${error?.status ?? 'done'} ${mine}`));
};
window.move = (id, delta, motivo) => { queue.add({ kind: 'move', id, delta, motivo }).catch(() => {}); };
window.unitsOf = (id) => queue.expected({ id, stock: 0 }).stock;
window.until = async (is) => {
  const end = performance.now() + 10_000;
  while (!is()) {
    if (performance.now() > end) throw new Error(`never ${is}: ${JSON.stringify([sent, told, queue.changes])}`);
    await new Promise((done) => { setTimeout(done, 5); });
  }
};
"""
# What all pages have sent, in order: a line each.
LOG = "Object.keys(localStorage).filter((key) => key.startsWith('log ')).sort().map((key) => localStorage[key])"


@pytest.fixture
async def url(aiohttp_server: Callable) -> str:
    """Where the files of the page are, and an empty one."""

    async def empty(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Cola</title>", content_type="text/html")

    site = web.Application()
    site.add_routes([web.get("/", empty), web.static("/", CLIENT)])
    return str((await aiohttp_server(site)).make_url("/"))


Shop = Callable[..., Any]


@pytest.fixture
async def page(browser: Any, url: str) -> AsyncIterator[Page]:  # noqa: F811
    context = await browser.new_context()
    page = await context.new_page()
    await opened(page, url)
    yield page
    await context.close()


async def opened(page: Page, url: str) -> Page:
    await page.goto(url)
    await run(page, SETUP)
    return page


async def run(page: Page, script: str) -> Any:
    """The value of the script, which may wait."""
    return json.loads(
        await page.evaluate(f"(async () => {{ {script} }})().then((value) => JSON.stringify(value) ?? 'null')")
    )


async def test_moves_that_wait_are_sent_as_one(page: Page) -> None:
    told = await run(
        page,
        """
        open(); queue.start();
        move(1, -1);
        await until(() => sent.length === 1);
        for (let n = 0; n < 4; n++) move(1, -1);
        move(2, 5);
        move(1, -3, 'rotura'); // another reason is another move
        const units = [unitsOf(1), unitsOf(2)]; // at once
        await until(() => queue.changes.length === 4);
        last.answer();
        await until(() => sent.length === 2);
        last.answer();
        await until(() => sent.length === 3);
        last.answer();
        await until(() => sent.length === 4);
        last.answer();
        await until(() => !queue.changes.length);
        return [units, sent, told, unitsOf(1)];
        """,
    )
    assert told == [
        [-8, 5],
        ["move 1 -1", "move 1 -4", "move 2 5", "move 1 -3"],
        ["move 1 done true", "move 1 done true", "move 2 done true", "move 1 done true"],
        0,
    ]


async def test_moves_do_not_pass_another_change_of_their_product(page: Page) -> None:
    assert await run(
        page,
        """
        open();
        move(1, -1); move(2, -1); move(2, -1);
        queue.add({ kind: 'update', id: 1, values: { stock: 30 }, base: {} });
        move(1, -1); move(1, -1);
        await until(() => queue.changes.every(({ n }) => n));
        return queue.changes.map(({ kind, id, delta }) => `${kind} ${id} ${delta}`);
        """,
    ) == ["move 1 -1", "move 2 -2", "update 1 undefined", "move 1 -2"]


async def test_moves_that_add_up_to_nothing_are_not_sent(page: Page) -> None:
    assert await run(
        page,
        """
        open();
        move(1, -1); move(1, 1); move(2, 3);
        await until(() => queue.changes.every(({ n }) => n));
        queue.start();
        await until(() => sent.length);
        return [sent, told];
        """,
    ) == [["move 2 3"], ["move 1 done true"]]


async def test_changes_outlive_the_page_and_keep_their_keys(page: Page, url: str) -> None:
    keys = await run(
        page,
        """
        open(); queue.start();
        move(1, -1);
        await until(() => sent.length);
        move(1, -2);
        queue.add({ kind: 'create', values: { nombre: 'Teclado' } });
        await until(() => queue.changes.length === 3 && queue.changes.every(({ n }) => n));
        return queue.changes.map(({ key }) => key);
        """,
    )
    assert len(set(keys)) == 3
    await opened(page, url)
    assert await run(
        page,
        """
        open();
        await until(() => queue.changes.length === 3);
        const before = sent.length; // nothing before it is known that there is a service
        queue.start();
        for (let n = 1; n <= 3; n++) {
          await until(() => sent.length === n);
          if (n === 3) last.refuse({ status: 400, message: 'no' });
          else last.answer();
        }
        await until(() => !queue.changes.length);
        return [before, sent, told];
        """,
    ) == [
        0,
        ["move 1 -1", "move 1 -2", "create undefined"],
        ["move 1 done false", "move 1 done false", "create undefined 400 false"],
    ]
    log = await page.evaluate(LOG)
    assert [line.split()[-1] for line in log] == [keys[0], *keys]


async def test_page_may_be_closed_as_soon_as_something_was_added(page: Page, url: str) -> None:
    for _ in range(16):
        leaving = await opened(await page.context.new_page(), url)
        await run(leaving, "open(); await new Promise((read) => queue.addEventListener('cola', read, { once: true }));")
        await leaving.evaluate("move(1, -1)")
        await leaving.close()
    await run(page, "open(); await until(() => unitsOf(1) === -16);")


async def test_changes_kept_by_an_earlier_version_are_sent_first(page: Page) -> None:
    assert await run(
        page,
        """
        open();
        await new Promise((read) => queue.addEventListener('cola', read, { once: true }));
        const database = await new Promise((opened) => {
          const opening = indexedDB.open('cola', 1);
          opening.onsuccess = () => opened(opening.result);
        });
        const store = database.transaction('cambios', 'readwrite').objectStore('cambios');
        store.put({ n: 1, key: 'b', kind: 'move', id: 1, delta: -2, sent: true, owner: '', at: 1 });
        store.put({ n: 2, key: 'a', kind: 'move', id: 1, delta: -3, owner: '', at: 2 });
        move(1, -1); // joins the one that is not on its way
        queue.start();
        await until(() => sent.length === 1);
        const keys = [last.change.key];
        last.answer();
        await until(() => sent.length === 2);
        keys.push(last.change.key);
        last.answer();
        await until(() => !queue.changes.length);
        return [sent, keys, told];
        """,
    ) == [["move 1 -2", "move 1 -4"], ["b", "a"], ["move 1 done false", "move 1 done true"]]


@pytest.mark.parametrize("locks", ["navigator.locks", "null"])
async def test_of_two_pages_one_sends(page: Page, url: str, locks: str) -> None:
    """With Web Locks each change is sent once; without, as over http, at worst again with its key."""
    other = await opened(await page.context.new_page(), url)
    for each in (page, other):
        await run(each, f"open({{ locks: {locks} }}); queue.start();")
    await run(page, "for (let n = 1; n <= 3; n++) move(n, -1); await until(() => queue.changes.every(({ n }) => n));")
    await run(other, "for (let n = 4; n <= 6; n++) move(n, -1); await until(() => queue.changes.every(({ n }) => n));")
    for each in (page, other):
        await run(each, "window.answering = setInterval(() => { window.last?.answer(); window.last = null; }, 20);")
    for each in (page, other):
        await run(each, "await until(() => !queue.changes.length && told.length >= 6);")
    async with asyncio.timeout(5):
        while len(lines := await page.evaluate(LOG)) < 6:  # the other page's entries become visible a moment later
            await asyncio.sleep(0.02)
    log = [line.split() for line in lines]
    once = {(product, units, key) for _, product, units, key in log}
    assert sorted(product for product, _, _ in once) == list("123456")
    if locks == "navigator.locks":
        assert len(log) == 6
        assert [product for _, product, *_ in log] == sorted(product for _, product, *_ in log)
    mine = [{entry for entry in await run(each, "return told;") if entry.endswith("true")} for each in (page, other)]
    assert mine == [{f"move {n} done true" for n in (1, 2, 3)}, {f"move {n} done true" for n in (4, 5, 6)}]


async def test_changes_wait_for_a_key_and_for_their_owner(page: Page) -> None:
    assert await run(
        page,
        """
        open(); queue.start('ana');
        move(1, -1);
        await until(() => sent.length === 1);
        last.refuse({ status: 401, message: 'clave' });
        await until(() => window.last);
        move(1, -1); // waits beside the one that was sent
        await until(() => queue.changes.length === 2);
        queue.start('luis');
        const seen = [queue.changes.length, unitsOf(1)];
        move(2, 4);
        await until(() => sent.length === 2);
        last.answer();
        await until(() => !queue.changes.length);
        queue.start('ana');
        await until(() => sent.length === 3);
        last.answer();
        await until(() => sent.length === 4);
        return [seen, sent];
        """,
    ) == [[0, 0], ["move 1 -1", "move 2 4", "move 1 -1", "move 1 -1"]]


@pytest.mark.parametrize(("kind", "values"), [("update", "{ precio: 20 }"), ("delete", "undefined")])
async def test_change_is_refused_only_for_its_own_fields(page: Page, kind: str, values: str) -> None:
    """Those of a deletion are all that the person has seen, after the moves that waited."""
    assert await run(
        page,
        f"const change = {{ kind: '{kind}', values: {values} }};"
        """
        open(); queue.start();
        queue.add({ ...change, id: 1, base: { precio: 10 }, version: 'a' });
        const versions = [];
        for (const now of [{ precio: 10, stock: 1, updated_at: 'b' }, { precio: 10, stock: 2, updated_at: 'c' }, { precio: 30, updated_at: 'd' }]) {
          await until(() => window.last);
          versions.push(`${last.change.version} ${last.change.key === versions.key}`);
          versions.key = last.change.key;
          const { refuse } = last;
          window.last = null;
          refuse({ status: 412, code: 'producto_cambiado', message: 'no', data: now });
        }
        await until(() => told.length);
        return [versions, told];
        """,
    ) == [["a false", "b true", "c true"], [f"{kind} 1 412 true"]]


async def test_units_are_counted_once_whichever_comes_first(page: Page) -> None:
    """The answer of a move, or its event on the socket."""
    assert await run(
        page,
        """
        const versions = {};
        open({ versionOf: (id) => versions[id] ?? '' }); queue.start();
        const units = [];
        for (const first of ['event', 'answer']) {
          const version = first === 'event' ? '2026-01' : '2026-02';
          window.last = null;
          move(1, -2);
          await until(() => window.last);
          units.push(unitsOf(1));
          if (first === 'event') { versions[1] = version; queue.land(1, -2, version); units.push(unitsOf(1)); }
          last.answer({ updated_at: version });
          await until(() => !queue.changes.length);
          units.push(unitsOf(1));
          if (first === 'answer') { versions[1] = version; units.push(unitsOf(1)); }
        }
        return units;
        """,
    ) == [-2, 0, 0, -2, -2, 0]


async def test_sale_moves_the_stock_of_each_of_its_products(page: Page) -> None:
    """The event of one of them comes before the answer, that of the other after it."""
    assert await run(
        page,
        """
        const versions = {};
        open({ versionOf: (id) => versions[id] ?? '' }); queue.start();
        queue.add({ kind: 'sale', lines: [{ id: 1, delta: -2 }, { id: 2, delta: -2 }] });
        move(1, -1); // another change, which the sale does not take in
        await until(() => window.last);
        const units = () => [unitsOf(1), unitsOf(2), [...queue.moving].sort()];
        const seen = [units()];
        versions[2] = '2026-02'; queue.land(2, -2, '2026-02');
        seen.push(units());
        last.answer([{ updated_at: '2026-01' }, { updated_at: '2026-02' }]);
        await until(() => sent.length === 2);
        seen.push(units());
        versions[1] = '2026-01';
        seen.push(units());
        return [seen, sent, told];
        """,
    ) == [
        [[-3, -2, [1, 2]], [-3, 0, [1, 2]], [-3, 0, [1]], [-1, 0, [1]]],
        ["sale undefined", "move 1 -1"],
        ["sale undefined done true"],
    ]


async def test_without_storage_changes_are_sent_all_the_same(page: Page) -> None:
    """As in Chromium when it blocks cookies: it denies locks, too."""
    assert await run(
        page,
        """
        const denied = async () => { throw new DOMException('The request was denied.', 'SecurityError'); };
        Object.defineProperty(window, 'indexedDB', { value: { open() { throw new DOMException('no', 'SecurityError'); } } });
        Object.defineProperty(navigator, 'locks', { value: { request: denied } });
        open(); queue.start();
        move(1, -1);
        await until(() => sent.length === 1);
        const { lasting } = queue;
        move(1, -1); move(1, -1);
        last.answer();
        await until(() => sent.length === 2);
        last.answer();
        await until(() => !queue.changes.length);
        return [lasting, sent];
        """,
    ) == [False, ["move 1 -1", "move 1 -2"]]


async def test_refusal_of_joined_moves_is_no_single_ones_to_tell(page: Page) -> None:
    """Whoever typed one of them would tell fewer units than were refused."""
    assert await run(
        page,
        """
        open(); queue.start();
        const quiet = [];
        queue.addEventListener('resultado', ({ detail }) => quiet.push(`${detail.change.delta} ${detail.quiet}`));
        const typed = (delta) => queue.add({ kind: 'move', id: 1, delta }, { quiet: () => true }).catch(() => {});
        typed(-1);
        await until(() => window.last);
        typed(-3); move(1, -1);
        await until(() => queue.changes.length === 2 && queue.changes[1].delta === -4);
        last.refuse({ status: 409, message: 'no' });
        await until(() => sent.length === 2);
        last.refuse({ status: 409, message: 'no' });
        await until(() => quiet.length === 2);
        return quiet;
        """,
    ) == ["-1 true", "-4 false"]
