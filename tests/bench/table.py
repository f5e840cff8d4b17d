"""The table: medians, ratios to the best peer, and goals met or missed."""

from collections.abc import Collection, Iterable, Mapping
from statistics import median
from typing import NamedTuple

OURS = "ours"
PEER = "best peer"
BEFORE = "before"  # another build of ours

Figures = Mapping[str, Mapping[str, list[float]]]
"""What was measured: by row, by server, a figure a turn. What was not measured is not there."""


class Goal(NamedTuple):
    """Our figure divided by that of `against` (the best peer, another row of ours, or nothing) is at least `limit` where
    more is better, else at most."""

    limit: float
    against: str | None = PEER


class Row(NamedTuple):
    """`unit` tells what is better: more of anything a second, less of all else."""

    name: str
    unit: str
    goals: tuple[Goal, ...] = ()

    @property
    def more(self) -> bool:
        return self.unit.endswith("/s")


def ratio(row: Row, found: Figures, against: str | None = PEER) -> float | None:
    """None where one of the two was not measured."""
    figures = {name: median(values) for name, values in found.get(row.name, {}).items()}
    if OURS not in figures:
        return None
    mine, before = figures.pop(OURS), figures.pop(BEFORE, None)
    if against is None:
        return mine
    if against == BEFORE:
        return mine / before if before else None
    if against == PEER:
        return mine / (max if row.more else min)(figures.values()) if figures else None
    return mine / median(found[against][OURS]) if against in found else None


def met(row: Row, goal: Goal, found: Figures) -> bool | None:
    value = ratio(row, found, goal.against)
    if value is None:
        return None
    return value >= goal.limit if row.more else value <= goal.limit


def spread(row: Row, found: Figures) -> str:
    """How far the turns lie apart, of the server that is worst in this."""
    values = found[row.name].values()
    if max(map(len, values)) < 2:
        return "-"
    return f"{max((max(turns) - min(turns)) / median(turns) for turns in values):.0%}"


def head(servers: Collection[str]) -> str:
    return f"{'':46}" + "".join(f"{name:>10}" for name in servers) + f"{'ours/best':>11}{'spread':>8}  goal"


def line(row: Row, found: Figures, servers: Collection[str]) -> str:
    figures = {name: median(turns) for name, turns in found[row.name].items()}
    cells = "".join(f"{_number(figures.get(name)):>10}" for name in servers)
    compared = ratio(row, found)
    goals = "; ".join(_goal(row, goal, found) for goal in row.goals)
    return (f"{f'{row.name}, {row.unit}':46}{cells}{_number(compared):>11}{spread(row, found):>8}  {goals}").rstrip()


def tally(rows: Iterable[Row], found: Figures) -> str:
    verdicts = [met(row, goal, found) for row in rows for goal in row.goals]
    return f"goals met: {verdicts.count(True)}; missed: {verdicts.count(False)}; not measured: {verdicts.count(None)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _goal(row: Row, goal: Goal, found: Figures) -> str:
    value = ratio(row, found, goal.against)
    verdict = {None: "not measured", True: "met", False: "MISSED"}[met(row, goal, found)]
    of = f" x {goal.against}, is {_number(value)}" if goal.against not in (None, PEER) else ""
    return f"{'>=' if row.more else '<='} {goal.limit:g}{of}: {verdict}"
