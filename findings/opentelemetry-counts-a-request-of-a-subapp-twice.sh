#!/bin/sh
# opentelemetry-instrumentation-aiohttp-server 0.66b1 (aiohttp 3.14.5): AioHttpServerInstrumentor().instrument() puts its middleware
# into every web.Application, and a request to a sub-application goes through those of both: it makes two spans, one inside the
# other with the same name, and counts twice in http.server.duration. Who adds up requests of a host with sub-applications gets
# double numbers. (instrument() replaces web.Application: an application that is created before it has no middleware.)
# Seen: "own: 1 span, 1 measured", "sub: 2 spans, 2 measured" and "sub, created before: 1 span, 1 measured". Exit status 1 if
# that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 \
    opentelemetry-sdk==1.45.1 opentelemetry-instrumentation-aiohttp-server==0.66b1
cat > "$folder/seen.py" <<'PY'
import asyncio
from importlib.metadata import version

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry import metrics
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
traces = TracerProvider()
traces.add_span_processor(SimpleSpanProcessor(spans))


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="ok")


def application() -> web.Application:
    app = web.Application()
    app.router.add_get("/here", answer)
    return app


def measured() -> int:
    data = reader.get_metrics_data()
    found = [metric for of in data.resource_metrics for scope in of.scope_metrics for metric in scope.metrics] if data else []
    return sum(point.count for metric in found if metric.name == "http.server.duration" for point in metric.data.data_points)


async def seen(name: str, app: web.Application, path: str) -> str:
    before = measured()
    spans.clear()
    async with TestClient(TestServer(app)) as client:
        assert (await client.get(path)).status == 200
    return f"{name}: {len(spans.get_finished_spans())} spans, {measured() - before} measured".replace("1 spans", "1 span")


async def main() -> list[str]:
    earlier = application()
    metrics.set_meter_provider(MeterProvider([reader]))
    AioHttpServerInstrumentor().instrument(tracer_provider=traces)
    host, other = application(), application()
    host.add_subapp("/sub/", application())
    other.add_subapp("/sub/", earlier)
    return [
        await seen("own", application(), "/here"),
        await seen("sub", host, "/sub/here"),
        await seen("sub, created before", other, "/sub/here"),
    ]


print("opentelemetry-instrumentation-aiohttp-server", version("opentelemetry-instrumentation-aiohttp-server"))
lines = asyncio.run(main())
print(*lines, sep="\n")
wanted = ["own: 1 span, 1 measured", "sub: 2 spans, 2 measured", "sub, created before: 1 span, 1 measured"]
raise SystemExit(lines != wanted)
PY
"$folder/venv/bin/python" "$folder/seen.py"
