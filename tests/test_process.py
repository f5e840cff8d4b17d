"""The service as a process, broken in small; `make reliability` does the same in large."""

import pytest

from .reliability import disk, role, soak, start, stop
from .test_reliability import holds

pytestmark = pytest.mark.slow


async def test_role_of_the_readme_suffices_and_can_do_no_more(server: str) -> None:
    await holds(role.check(server, seconds=1, grants_missing=2))


async def test_end_answers_those_who_wait_and_tells_those_who_listen(server: str) -> None:
    await holds(stop.check(server, times=1))


async def test_work_leaves_no_task_file_or_session_behind(server: str) -> None:
    await holds(soak.check(server, seconds=3, rate=100))


async def test_disk_without_room_for_a_cluster_is_said_in_one_line(server: str) -> None:
    with disk.small_disk(1) as small:
        if small is None:
            pytest.skip(disk.NOT_TRIED)
    await holds(start.check(server, [start.no_room]))


async def test_disk_that_fills_up_refuses_writes_and_loses_nothing(server: str) -> None:
    with disk.small_disk(1) as small:
        if small is None:
            pytest.skip(disk.NOT_TRIED)
    await holds(disk.check(server, seconds=2))
