"""A search means the same over HTTP, of today's list and of a past one, and on the page."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import expect
from psycopg2.extensions import make_dsn

from inventory_ws import create_app
from inventory_ws.pg.database import Database
from inventory_ws.pg.schema import apply_schema

from .conftest import create, settled
from .test_page import Visit, browser, connected, visit  # noqa: F401

NAMES = [
    ("Cámara réflex", "con óptica española"),
    ("Camara sin acentos", None),
    ("Café", "en e\u0301l envase de cafe\u0301 molido"),  # of two characters each
    ("Ñandú", "un ave RÁPIDO e incansable"),
    ("100% lana", "a_b y C:\\temp"),
    ("Straße ΟΔΟΣ", "Ærø ŁÓDŹ МОСКВА"),
    ("İstanbul IĞDIR", "한국어\u00a0हिन्दी"),
]
FOUND = {
    "camara": [1, 2],
    "CÁMARA": [1, 2],
    "cama\u0301ra": [1, 2],
    "optica camara": [1],
    "camara  ESPAÑOLA\u00a0óptica": [1],
    "camara lana": [],
    "café": [3],
    "cafe\u0301": [3],
    "cafe molido": [3],
    "nandu": [4],
    "ñandú": [4],
    "rapido ñ": [4],
    "%": [5],
    "0% lana": [5],
    "_": [5],
    "a_b": [5],
    "axb": [],
    "\\t": [5],
    "\\": [5],
    "straße": [6],
    "οδοσ": [6],
    "æRØ": [6],
    "łodz москва": [6],
    "istanbul igdir": [7],
    "한국": [7],
    "हिन्दी": [7],
    "   ": [1, 2, 3, 4, 5, 6, 7],
    "": [1, 2, 3, 4, 5, 6, 7],
}


async def filled(client: TestClient) -> None:
    for name, description in NAMES:
        await create(client, nombre=name, descripcion=description)


async def found(client: TestClient, **query: object) -> list[int]:
    resp = await client.get("/api/productos", params={name: str(value) for name, value in query.items()})
    assert resp.status == 200, await resp.text()
    return [row["id"] for row in (await resp.json())["data"]]


async def test_search_in_current_and_past_lists(client: TestClient, psql: Callable) -> None:
    await filled(client)
    assert psql("SELECT nombre, descripcion FROM productos ORDER BY id") == NAMES, "kept as they were typed"
    assert {q: await found(client, q=q) for q in FOUND} == FOUND
    psql("DELETE FROM productos")
    await settled(client, 2 * len(NAMES))
    assert {q: await found(client, q=q, at=len(NAMES)) for q in FOUND} == FOUND


@pytest.mark.slow
async def test_page_and_http_find_the_same(visit: Visit, client: TestClient) -> None:  # noqa: F811
    await filled(client)
    page = await visit()
    await connected(page)
    await expect(page.locator("#productCount")).to_have_text(str(len(NAMES)))
    shown = {}
    for q in FOUND:
        await page.locator("#search").fill(q)
        await page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        cards = page.locator(".product-card")
        shown[q] = sorted([int(await card.get_attribute("data-id")) for card in await cards.all()])
    assert shown == FOUND


@pytest.fixture(params=["UTF8", "LATIN1", "SQL_ASCII", "EUC_JP"])
def elsewhere(request: pytest.FixtureRequest, server: str) -> Iterator[str]:
    """A database of another encoding, with the locale C."""
    name = f"busqueda_{request.param.lower()}"
    with closing(psycopg2.connect(server)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        options = f"TEMPLATE template0 ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C'"
        provider = " LOCALE_PROVIDER libc" if conn.server_version >= 150000 else ""
        cursor.execute(f"CREATE DATABASE {name} {options}{provider}")
        yield make_dsn(server, dbname=name)
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_search_works_in_a_database_of_another_encoding(
    elsewhere: str, aiohttp_client: Callable[..., Awaitable[TestClient]]
) -> None:
    if "sql_ascii" in elsewhere:  # what is in use goes on
        with pytest.raises(ValueError, match="ENCODING 'UTF8'"):
            await apply_schema(Database(elsewhere))
        with closing(psycopg2.connect(elsewhere)) as conn, conn, conn.cursor() as cursor:
            cursor.execute((Path(__file__).parent / "schema_0.1.1.sql").read_text())
    client = await aiohttp_client(create_app(dsn=elsewhere))
    if "euc_jp" in elsewhere:
        await create(client, nombre="カメラ LANA")
        assert await found(client, q="lana カメ") == [1]
        return
    for name in ("Cámara réflex", "Camara", "100% lana"):
        await create(client, nombre=name)
    accents = "utf8" in elsewhere
    assert await found(client, q="REFLEX") == ([1] if accents else [])
    assert await found(client, q="réflex cámara") == [1]
    assert await found(client, q="camara") == ([1, 2] if accents else [2])
    assert await found(client, q="lana %") == [3]
