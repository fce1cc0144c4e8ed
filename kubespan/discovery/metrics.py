"""The service's numbers for Prometheus, under the names that Sidero's service has for them, so that its dashboards fit.

`Collector(core, store)` goes into a `CollectorRegistry`; it reads what is true when somebody asks.
"""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kubespan.discovery.core import Discovery
from kubespan.discovery.counting import BUCKETS, Method
from kubespan.discovery.replicas.replicas import Replicas
from kubespan.discovery.service import SERVICE
from kubespan.discovery.store import Done, Store


class Collector:
    """Numbers of a service, and of its files if it has any."""

    def __init__(self, core: Discovery, store: Store | None = None) -> None:
        self._core, self._store = core, store

    def collect(self) -> Iterator[Metric]:
        """All that there is."""
        yield from self._state()
        hello = CounterMetricFamily(
            "discovery_server_hello_requests", "Hellos by version of the client", labels=["client_version"]
        )
        for version, count in self._core.calls.versions.items():
            hello.add_metric([version], count)
        yield hello
        if isinstance(self._core.orderer, Replicas):
            yield from _peers(self._core.orderer)
        yield from _calls(self._core.calls.methods)
        if self._store is not None:
            yield from _files(self._store)

    def _state(self) -> Iterator[Metric]:
        core, state = self._core, self._core.state
        for name, value, text in (
            ("clusters", state.clusters, "Clusters that have affiliates or watchers"),
            ("affiliates", state.affiliates, "Affiliates of all clusters"),
            ("endpoints", state.endpoints, "Endpoints of all affiliates"),
            ("subscriptions", state.subscriptions, "Watches that are open"),
        ):
            yield GaugeMetricFamily(f"discovery_state_{name}", text, value)
        for name, value, text in (
            ("runs", core.collections, "Looks for what has expired"),
            ("clusters", state.collected_clusters, "Clusters that were dropped, being empty"),
            ("affiliates", state.collected_affiliates, "Affiliates that expired"),
        ):
            yield CounterMetricFamily(f"discovery_state_gc_{name}", text, value)


def _peers(replicas: Replicas) -> Iterator[Metric]:
    yield GaugeMetricFamily("discovery_peers", "Other processes that it is linked with", len(replicas.meeting.links))
    yield CounterMetricFamily(
        "discovery_peers_merged", "Affiliates that were put together of what two processes knew", replicas.merged
    )


def _calls(methods: dict[str, Method]) -> Iterator[Metric]:
    names = ["grpc_type", "grpc_service", "grpc_method"]
    started = CounterMetricFamily("grpc_server_started", "Calls that came", labels=names)
    received = CounterMetricFamily("grpc_server_msg_received", "Messages received", labels=names)
    sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent", labels=names)
    handled = CounterMetricFamily("grpc_server_handled", "Calls that are over, by code", labels=[*names, "grpc_code"])
    took = HistogramMetricFamily("grpc_server_handling_seconds", "How long calls took", labels=names)
    for name, method in methods.items():
        labels = ["server_stream" if name == "Watch" else "unary", SERVICE, name]
        started.add_metric(labels, method.started)
        received.add_metric(labels, method.received)
        sent.add_metric(labels, method.sent)
        for code, count in method.handled.items():
            handled.add_metric([*labels, _as_go(code)], count)
        bounds = [*map(str, BUCKETS), "+Inf"]
        took.add_metric(labels, list(zip(bounds, accumulate(method.slots), strict=True)), method.seconds)
    yield from (started, received, sent, handled, took)


def _as_go(code: str) -> str:
    """A gRPC code as the standard metrics write it: `InvalidArgument`."""
    return code if code == "OK" else "".join(word.capitalize() for word in code.split("_"))


def _files(store: Store) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "discovery_storage_operations", "Loads and saves, by how they ended", labels=["operation", "status"]
    )
    for (operation, status), count in store.operations.items():
        ended.add_metric([operation, status], count)
    yield ended
    size = GaugeMetricFamily(
        "discovery_storage_last_snapshot_size_bytes", "Size of what was last loaded or saved", labels=["operation"]
    )
    for operation, done in store.done.items():
        size.add_metric([operation], done.size)
    yield size
    yield from _last(store.done)


def _last(done: dict[str, Done]) -> Iterator[Metric]:
    for name, text in (("clusters", "Clusters"), ("affiliates", "Affiliates"), ("endpoints", "Endpoints")):
        number = GaugeMetricFamily(
            f"discovery_storage_last_operation_{name}", f"{text} in the last load or save", labels=["operation"]
        )
        for operation, one in done.items():
            number.add_metric([operation], getattr(one, name))
        yield number
    took = GaugeMetricFamily(
        "discovery_storage_last_operation_duration_seconds", "How long the last one took", labels=["operation"]
    )
    for operation, one in done.items():
        took.add_metric([operation], one.seconds)
    yield took
