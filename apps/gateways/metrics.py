"""The gateway's own numbers for Prometheus. It has no HTTP: the web process reads them from a unix socket."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.gateways.directory import Directory
from apps.gateways.monitor import Monitor
from apps.proxies.live import KINDS, Live
from nodeagent.wireguard.engine import Counters, Engine


class _Collector:
    """What is true now, read at each scrape."""

    def __init__(self, directory: Directory, monitor: Monitor, live: Live) -> None:
        self._directory, self._monitor, self._live = directory, monitor, live
        self.counters = Counters()

    def collect(self) -> Iterator[Metric]:
        said = "Links by state; those held and connected are of this gateway alone"
        links = GaugeMetricFamily("omni_links", said, labels=["state"])
        known = self._directory.all()
        pending = sum(item.machine_id is None for item in known)
        links.add_metric(["pending"], pending)
        links.add_metric(["registered"], len(known) - pending)
        links.add_metric(["held"], self._monitor.held)
        links.add_metric(["connected"], self._monitor.connected)
        yield links
        said = "Calls and requests that people and programs have under way through this gateway"
        proxied = GaugeMetricFamily("omni_proxied_open", said, labels=["kind"])
        for kind in KINDS:
            proxied.add_metric([kind], self._live.counts[kind])
        yield proxied
        for name, value in vars_of(self.counters).items():
            counter = CounterMetricFamily(f"omni_link_{name}", "See the counters of nodeagent.wireguard.engine")
            counter.add_metric([], value)
            yield counter


def vars_of(counters: Counters) -> dict[str, int]:
    """The counters by name."""
    return {name: getattr(counters, name) for name in counters.__slots__}


async def serve(
    path: Path, engine: Engine, directory: Directory, monitor: Monitor, live: Live, others: Iterable[Collector] = ()
) -> asyncio.Server:
    """Answer each connection on a unix socket with the numbers in Prometheus' text form, and those of `others`."""
    registry, collector = CollectorRegistry(), _Collector(directory, monitor, live)
    for each in (collector, *others):
        registry.register(each)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        collector.counters = await engine.counters()
        writer.write(generate_latest(registry))
        await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)
    return await asyncio.start_unix_server(answer, path=str(path))
