"""The checks of `make reliability` on what comes over the wire, in a smaller size."""

from .reliability import crowded, generated, malformed, matrix, slow
from .test_reliability import holds


async def test_socket_that_breaks_the_rules_is_closed_and_disturbs_nobody(server: str) -> None:
    await holds(malformed.check(server, rounds=1))


async def test_client_that_is_slow_is_given_up_and_keeps_nobody_waiting(server: str) -> None:
    await holds(slow.check(server, 5, hurry=True))


async def test_cell_of_the_security_matrix_has_its_status(server: str) -> None:
    await holds(matrix.check(server, every=7))  # which meets every value of every dimension


async def test_generated_requests_find_no_fault_of_ours(server: str) -> None:
    await holds(generated.check(server, 300, chance=False))


async def test_connections_by_the_hundred_are_counted_and_forgotten(server: str) -> None:
    await holds(crowded.check(server, 300, hurry=True))
