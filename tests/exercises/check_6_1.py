import re

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Start


async def test_way_from_the_request_to_the_event_is_timed(start: Start, url: str, client: TestClient) -> None:
    await create(client)
    out = await (await start("latencia.py", url)).output()
    found = re.fullmatch(r"respuesta: (\d+\.\d) ms\nevento: (\d+\.\d) ms\n", out)
    assert found, out
    assert all(0 < float(number) < 5000 for number in found.groups())
    await settled(client, 3)
    events = (await (await client.get("/api/eventos")).json())["data"]
    assert [event["type"] for event in events[1:]] == ["PRODUCT_CREATED", "PRODUCT_DELETED"]
    assert [product["id"] for product in (await (await client.get("/api/productos")).json())["data"]] == [1]
