"""The service as a process, broken in small; `make reliability` does the same in large."""

import pytest

from .reliability import disk, role, soak, start, stop
from .test_reliability import holds

pytestmark = pytest.mark.slow


async def test_role_of_the_readme_has_the_rights_it_needs_and_no_more(server: str) -> None:
    await holds(role.check(server, seconds=1, grants_missing=2))


async def test_shutdown_answers_open_requests_and_closes_sockets(server: str) -> None:
    await holds(stop.check(server, times=1))


async def test_service_leaves_no_task_file_or_session_behind(server: str) -> None:
    await holds(soak.check(server, seconds=3, rate=100))


async def test_full_disk_at_initdb_is_an_error_of_one_line(server: str) -> None:
    with disk.small_disk(1) as small:
        if small is None:
            pytest.skip(disk.NOT_TRIED)
    await holds(start.check(server, [start.no_room]))


async def test_full_disk_refuses_changes_and_loses_nothing(server: str) -> None:
    with disk.small_disk(1) as small:
        if small is None:
            pytest.skip(disk.NOT_TRIED)
    await holds(disk.check(server, seconds=2))
