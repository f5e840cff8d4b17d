"""The faults of tests.reliability in small: the same checks, with fewer and shorter ones."""

from collections.abc import Awaitable

import pytest

from .reliability import failover, killed, listening, network, rolling, statements
from .test_readme import needs_nginx
from .tools.service import Figure

pytestmark = pytest.mark.slow


async def holds(check: Awaitable[list[Figure]]) -> None:
    """Every demand of the check is met."""
    figures = await check
    failed = [f"{figure.name}: {figure.measured} ({figure.demanded})" for figure in figures if figure.ok is False]
    assert not failed, "\n".join(failed)


async def test_lost_listening_connection_loses_no_event(server: str) -> None:
    await holds(listening.check_cut(server, times=5))


async def test_lost_bell_is_found_by_polling(server: str) -> None:
    await holds(listening.check_no_bell(server, changes=10, seconds=1))


async def test_network_fails_in_five_ways_and_nothing_is_lost(server: str) -> None:
    await holds(network.check_together(server, seconds=3))


async def test_statements_are_refused_in_time_and_leave_no_lock(server: str) -> None:
    await holds(statements.check_refused_together(server, requests=30))


async def test_disconnecting_clients_leak_no_connection(server: str) -> None:
    await holds(statements.check_left(server, clients=100))


async def test_promoted_standby_is_found_and_lost_commits_are_reported(server: str) -> None:
    await holds(failover.check(server, times=1))


@needs_nginx
async def test_rolling_restart_loses_nothing(server: str) -> None:
    await holds(rolling.check(server, times=1, sockets=30, rate=20))


async def test_killed_service_loses_nothing(server: str) -> None:
    await holds(killed.check_service(server, times=3))


async def test_killed_postgres_loses_nothing(server: str) -> None:
    await holds(killed.check_postgres(server, times=1))
