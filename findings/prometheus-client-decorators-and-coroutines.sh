#!/bin/sh
# prometheus-client 0.26.0: its decorators take an `async def`, say nothing, and measure only that the coroutine is made, not that
# it runs: time() observes microseconds, count_exceptions() never counts, track_inprogress() is back at 0 before the first line.
# A handler of aiohttp that is decorated so looks fast and without a fault. As `with` within the coroutine all three work.
# Seen: "decorator: in progress 0, errors 0, took the time False" and "with: in progress 1, errors 1, took the time True".
# Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prometheus-client==0.26.0
cat > "$folder/seen.py" <<'PY'
import asyncio
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = 0.2


async def measured(decorated: bool) -> str:
    registry = CollectorRegistry()
    duration = Histogram("duration", "seconds", registry=registry)
    errors = Counter("errors", "exceptions", registry=registry)
    running = Gauge("running", "calls in progress", registry=registry)
    in_progress = 0.0

    async def work() -> None:
        nonlocal in_progress
        in_progress = registry.get_sample_value("running")
        await asyncio.sleep(SECONDS)
        raise LookupError

    @duration.time()
    @errors.count_exceptions()
    @running.track_inprogress()
    async def by_decorator() -> None:
        await work()

    async def by_with() -> None:
        with duration.time(), errors.count_exceptions(), running.track_inprogress():
            await work()

    try:
        await (by_decorator if decorated else by_with)()
    except LookupError:
        pass
    assert registry.get_sample_value("duration_count") == 1
    took = registry.get_sample_value("duration_sum") > SECONDS / 2
    return f"in progress {in_progress:.0f}, errors {registry.get_sample_value('errors_total'):.0f}, took the time {took}"


print("prometheus-client", version("prometheus-client"))
seen = [f"decorator: {asyncio.run(measured(True))}", f"with: {asyncio.run(measured(False))}"]
print(*seen, sep="\n")
wanted = ["decorator: in progress 0, errors 0, took the time False", "with: in progress 1, errors 1, took the time True"]
raise SystemExit(seen != wanted)
PY
"$folder/venv/bin/python" "$folder/seen.py"
