"""The metrics of one process for Prometheus. It needs the extra `metrics`, and reads what the parts of the service count."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import inf

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from .live.feed import DELAYS
from .live.hub import HUB
from .pg.database import DATABASE
from .products.batching import BatchingDatabase
from .web.handlers import VERSION

SIZES = (1, 2, 5, 10, 20, 50, inf)  # changes in a commit


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: of this process and this application alone."""
    registry = CollectorRegistry()
    registry.register(Metrics(request.app))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=encode(registry), headers={hdrs.CONTENT_TYPE: content_type})


class Metrics(Collector):
    """The numbers of one inventory. A host application may register it in a registry of its own, and has to read that registry
    in the thread of the event loop."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        hub, db = self._app[HUB], self._app[DATABASE]
        log, feed = hub.log, hub.feed
        assert isinstance(db, BatchingDatabase)
        yield InfoMetricFamily("inventory_ws", "The version of the service.", {"version": self._app[VERSION]})
        text = "Requested changes: made, refused, repeated (the Idempotency-Key was known), or unknown (no answer in time)."
        changes = CounterMetricFamily("inventory_ws_changes", text, labels=("kind", "outcome"))
        for labels, number in hub.changes.items():
            changes.add_metric(labels, number)
        yield changes
        text = "Statements that had to wait for a connection to PostgreSQL."
        waits = CounterMetricFamily("inventory_ws_connection_waits", text, labels=("lane",))
        for lane, queue in db.queues.items():
            waits.add_metric((lane.name.lower(),), queue.waits)
        yield waits
        sizes = [sum(number for size, number in db.commits.items() if size <= bound) for bound in SIZES]
        changed = sum(size * number for size, number in db.commits.items())
        yield _histogram("commit_changes", "Changes of single products in each commit.", SIZES, sizes, changed)
        text = "From the answer to a COMMIT of this process until its events were written to every socket."
        yield _histogram("publish_delay_seconds", text, (*DELAYS, inf), accumulate(feed.delays), feed.delay_sum)
        for name, text, count in (
            ("events_published", "Events that this process has published, whoever made the change.", log.published),
            ("replays", "Times that a socket was sent older events: it resumed, or had read too slowly.", hub.replays),
            ("postgresql_losses", "Times that the feed has lost its connection to PostgreSQL.", feed.losses),
        ):
            yield CounterMetricFamily(f"inventory_ws_{name}", text, count)
        for name, text, value in (
            ("sockets", "Open sockets.", len(hub.sockets)),
            ("sockets_behind", "Open sockets that are being sent older events.", hub.behind),
            ("feed_live", "1 while the feed follows the end of the log.", log.live.is_set()),
            ("last_event_id", "The last event that this process has published.", log.head),
        ):
            yield GaugeMetricFamily(f"inventory_ws_{name}", text, value)


def _histogram(name: str, text: str, bounds: Iterable[float], counts: Iterable[int], total: float) -> Metric:
    buckets = [
        ("+Inf" if bound == inf else str(float(bound)), count) for bound, count in zip(bounds, counts, strict=True)
    ]
    return HistogramMetricFamily(f"inventory_ws_{name}", text, buckets, total)
