"""The checks of `make reliability` on what comes over the wire, in a smaller size."""

import asyncio
import socket
from contextlib import closing

import pytest

from .reliability import beside, crowded, generated, malformed, matrix, slow
from .reliability.malformed import FIN, RSV1, STAYS, TEXT, deflated, frame
from .test_reliability import holds
from .tools.service import database, inventory

pytestmark = pytest.mark.slow

EVENT = b'{"type":"PRODUCT_CREATED","id":1}'


def test_answer_is_distinguished_from_interleaved_events() -> None:
    ours, theirs = socket.socketpair()
    events = frame(FIN | TEXT, EVENT, mask=b"") + frame(FIN | RSV1 | TEXT, deflated(EVENT), mask=b"")
    with closing(ours), closing(theirs):
        theirs.sendall(events + frame(FIN | TEXT, b'{"type":"PONG"}', mask=b""))
        assert malformed.told(ours) == STAYS


async def test_client_is_closed_when_a_check_fails(server: str) -> None:
    with database(server) as dsn:
        async with inventory(dsn) as service:
            with pytest.raises(AssertionError, match="a check failed"):
                async with beside.others(service, dsn):
                    raise AssertionError("a check failed")
            async with asyncio.timeout(10):
                while (await service.health())["sockets"]:
                    await asyncio.sleep(0.01)


async def test_socket_that_breaks_the_rules_is_closed_alone(server: str) -> None:
    await holds(malformed.check(server, rounds=1))


async def test_client_that_is_slow_is_cut_off_and_delays_nobody(server: str) -> None:
    await holds(slow.check(server, 5, hurry=True))


async def test_every_cell_of_the_security_matrix_has_its_status(server: str) -> None:
    await holds(matrix.check(server, every=7))  # which meets every value of every dimension


async def test_generated_requests_cause_no_internal_error(server: str) -> None:
    await holds(generated.check(server, 300, chance=False))


async def test_hundreds_of_connections_are_counted_and_removed(server: str) -> None:
    await holds(crowded.check(server, 300, hurry=True))
