"""The benchmark's own arithmetic, and its smallest run."""

import os
import shutil
from contextlib import closing

import psycopg2
import pytest

from .bench.__main__ import Bench
from .bench.rows import BESIDE, FULL, GOALS, QUICK, ROWS, UNITS, Plan
from .bench.table import BEFORE, OURS, Goal, Row, line, met, ratio, tally
from .tools.service import insert, inventory

DELETE = "DELETE, 20 connections"
SERVERS = (OURS, "node", "fastapi")
FASTER = Row("GET", "/s", (Goal(1.4),))
SLOWER = Row("event", "ms", (Goal(0.7), Goal(1.5, "floor"), Goal(50, None)))


def test_ours_is_compared_with_the_best_peer_by_medians():
    found = {"GET": {OURS: [90, 300, 310], "node": [200, 100, 900], "fastapi": [150]}}
    assert ratio(FASTER, found) == 1.5
    found = {"event": {OURS: [30, 40, 90], BEFORE: [20], "node": [50], "fastapi": [80, 100, 900]}}
    assert ratio(SLOWER, found, BEFORE) == 2
    assert ratio(SLOWER, found) == 0.8
    assert ratio(SLOWER, found, None) == 40


def test_goal_is_met_in_the_direction_that_is_better():
    assert met(FASTER, Goal(1.4), {"GET": {OURS: [14], "node": [10]}})
    assert met(FASTER, Goal(1.4), {"GET": {OURS: [13], "node": [10]}}) is False
    found = {"event": {OURS: [60], "node": [100]}, "floor": {OURS: [30]}}
    assert [met(SLOWER, goal, found) for goal in SLOWER.goals] == [True, False, False]
    assert tally([FASTER, SLOWER], found) == "goals met: 1; missed: 2; not measured: 1"


def test_absent_peer_leaves_its_cell_empty():
    found = {"GET": {OURS: [1400], "node": [1000]}}
    assert line(FASTER, found, SERVERS).split() == [
        "GET,",
        "/s",
        "1,400",
        "1,000",
        "-",
        "1.40",
        "-",
        ">=",
        "1.4:",
        "met",
    ]
    found = {"GET": {OURS: [1400, 1540]}}
    words = "GET, /s 1,470 - - - 10% >= 1.4: not measured"
    assert line(FASTER, found, SERVERS).split() == words.split()


def test_every_goal_belongs_to_a_measured_row():
    assert set(GOALS) <= set(UNITS)
    assert {goal.against for row in ROWS for goal in row.goals} <= {*UNITS, "best peer", BEFORE, None}
    assert set(QUICK.requests) < set(FULL.requests) <= set(UNITS)


@pytest.mark.skipif(
    not (shutil.which("wrk") and shutil.which("cc")) and "REQUIRE_ALL" not in os.environ,
    reason="the drivers are wrk and a program of C",
)
@pytest.mark.slow
async def test_smallest_benchmark_runs(dsn, capsys):
    with closing(psycopg2.connect(dsn)) as conn, conn:
        insert(conn, 20_000, "x")  # of which each deletion takes one
    async with inventory(dsn) as service:
        plan = Plan(1, 1, 20, [(10, 5, 1)], None, ["GET one", "POST, 1 connection", "POST, 20 connections", DELETE], 0)
        bench = Bench(plan, {OURS: service}, dsn)
        await bench.in_turns(1, bench.idle)
        await bench.in_turns(1, bench.climb)
        await bench.http()
        await bench.in_turns(1, bench.beside)
    printed = capsys.readouterr().out
    measured = {"memory of an idle socket", "event to 10: median", "GET one", "POST, 1 connection: p99"}
    assert {*measured, DELETE, *BESIDE, "POST, 20 connections: CPU"} <= set(bench.found)
    assert bench.found["GET one"][OURS][0] > 10
    assert "GET one, /s" in printed
