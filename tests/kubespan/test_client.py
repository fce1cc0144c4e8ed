"""The client, against a service that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

import grpc
import pytest

from kubespan import client as module
from kubespan.affiliates import Affiliate, Endpoint
from kubespan.client import DiscoveryClient, ServiceAddress
from kubespan.crypto import ClusterKey
from talos import pki
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc as pb_grpc

KEY = ClusterKey(bytes(range(32)))
ME, OTHER, THIRD = (Affiliate(name, hostname=name) for name in ("me", "other", "third"))
HERE, THERE = Endpoint(ip_address("192.0.2.1"), 51820), Endpoint(ip_address("192.0.2.2"), 51820)
SECONDS = 20.0


def record(affiliate: Affiliate, *endpoints: Endpoint, id: str = "") -> pb.Affiliate:
    return pb.Affiliate(
        id=id or affiliate.node_id, data=KEY.seal(affiliate), endpoints=map(KEY.seal_endpoint, endpoints)
    )


class Service(pb_grpc.ClusterServicer):
    """Writes down what it is asked. `hello` is its answer, `records` what each watch begins with."""

    def __init__(self) -> None:
        self.hello = pb.HelloResponse()
        self.records: list[pb.Affiliate] = []
        self.refuse_hello = self.refuse_updates = False
        self.hold_updates = asyncio.Event()
        self.hold_updates.set()
        self.calls: list[str] = []
        self.updates: list[pb.AffiliateUpdateRequest] = []
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._watches: list[asyncio.Queue[pb.WatchResponse | None]] = []

    def say(self, *affiliates: pb.Affiliate, deleted: bool = False) -> None:
        for watch in self._watches:
            watch.put_nowait(pb.WatchResponse(affiliates=affiliates, deleted=deleted))

    def end_watches(self) -> None:
        for watch in self._watches:
            watch.put_nowait(None)

    async def until(self, *calls: str) -> None:
        """Wait for these calls, in whatever order and whatever else there is between them."""
        missing = Counter(calls)
        async with asyncio.timeout(SECONDS):
            while missing:
                missing -= Counter([await self._asked.get()])

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._asked.put_nowait(call)

    async def Hello(self, request: pb.HelloRequest, context: grpc.aio.ServicerContext) -> pb.HelloResponse:
        self._note("hello")
        if self.refuse_hello:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return self.hello

    async def AffiliateUpdate(
        self, request: pb.AffiliateUpdateRequest, context: grpc.aio.ServicerContext
    ) -> pb.AffiliateUpdateResponse:
        self.updates.append(request)
        self._note(f"update {request.affiliate_id}")
        await self.hold_updates.wait()
        if self.refuse_updates:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
        return pb.AffiliateUpdateResponse()

    async def AffiliateDelete(
        self, request: pb.AffiliateDeleteRequest, context: grpc.aio.ServicerContext
    ) -> pb.AffiliateDeleteResponse:
        self._note(f"delete {request.affiliate_id}")
        return pb.AffiliateDeleteResponse()

    async def Watch(
        self, request: pb.WatchRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WatchResponse]:
        queue: asyncio.Queue[pb.WatchResponse | None] = asyncio.Queue()
        self._watches.append(queue)
        self._note("watch")
        try:
            yield pb.WatchResponse(affiliates=self.records)
            while (response := await queue.get()) is not None:
                yield response
        finally:
            self._watches.remove(queue)


class Host:
    """Service and client, and how to wait until the client knows something."""

    def __init__(self, service: Service, target: str) -> None:
        self.service, self.target = service, target
        self._changed = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    def client(self, affiliate: Affiliate = ME, **options) -> DiscoveryClient:
        """A client that runs until the test ends."""
        made = DiscoveryClient(
            f"http://{self.target}", "a-cluster", KEY, affiliate.node_id, changed=self._changed.set, **options
        )
        self._running.append(asyncio.create_task(made.run()))
        return made

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        done = await asyncio.gather(*self._running, return_exceptions=True)
        assert all(it is None or isinstance(it, asyncio.CancelledError) for it in done), done


@contextlib.asynccontextmanager
async def serving(
    service: Service, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    server = grpc.aio.server()
    pb_grpc.add_ClusterServicer_to_server(service, server)
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"{address.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(None)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.05)


@pytest.fixture
async def service():
    return Service()


@pytest.fixture
async def host(service):
    async with serving(service) as target:
        host = Host(service, target)
        yield host
        await host.close()


def known(client: DiscoveryClient) -> dict[str, tuple[Endpoint, ...]]:
    return {id: other.endpoints for id, other in client.affiliates.items()}


# --- what it follows


async def test_others_come_change_and_go(host, service):
    service.records = [record(OTHER, HERE), record(ME, HERE)]
    client = host.client()
    await host.until(lambda: known(client) == {"other": (HERE,)})
    service.say(record(OTHER, HERE, THERE))
    service.say(record(THIRD))
    await host.until(lambda: known(client) == {"other": (HERE, THERE), "third": ()})
    service.say(pb.Affiliate(id="other"), deleted=True)
    await host.until(lambda: known(client) == {"third": ()})


async def test_itself_is_no_news(host, service):
    service.records = [record(OTHER)]
    client = host.client()
    await host.until(lambda: client.affiliates)
    service.say(record(ME, HERE))
    service.say(pb.Affiliate(id="me"), deleted=True)
    service.say(record(THIRD))
    await host.until(lambda: "third" in client.affiliates)
    assert "me" not in client.affiliates


async def test_what_cannot_be_read_changes_nothing(host, service, caplog):
    """The last that could be read of a node stays; of several endpoints the readable ones count."""
    service.records = [record(OTHER, HERE)]
    client = host.client()
    await host.until(lambda: client.affiliates)
    garbage = pb.Affiliate(id="other", data=bytes(60), endpoints=[bytes(16)])
    for _ in range(3):
        service.say(garbage)
    service.say(pb.Affiliate(id="third", data=b"short"))
    service.say(replaced := record(THIRD, THERE))
    await host.until(lambda: "third" in client.affiliates)
    assert known(client) == {"other": (HERE,), "third": (THERE,)}
    assert caplog.text.count("'other'") == 1, "it complains once"
    replaced.endpoints.extend([b"", b"x" * 15, bytes(16), KEY.seal_endpoint(HERE)])
    service.say(replaced)
    await host.until(lambda: known(client)["third"] == (THERE, HERE))


async def test_records_without_a_description_are_no_nodes(host, service):
    service.records = [pb.Affiliate(id="seen", endpoints=[KEY.seal_endpoint(HERE)]), record(OTHER)]
    client = host.client()
    await host.until(lambda: client.affiliates)
    assert known(client) == {"other": ()}


async def test_a_node_under_two_ids_is_known_under_both(host, service):
    """The id is the service's; who the node is stands inside."""
    service.records = [record(OTHER, HERE, id="one"), record(OTHER, THERE, id="two")]
    client = host.client()
    await host.until(lambda: len(client.affiliates) == 2)
    assert {other.affiliate.node_id for other in client.affiliates.values()} == {"other"}
    service.say(pb.Affiliate(id="one"), deleted=True)
    await host.until(lambda: known(client) == {"two": (THERE,)})


async def test_where_the_service_sees_it(host, service):
    service.hello = pb.HelloResponse(client_ip=ip_address("203.0.113.7").packed)
    client = host.client()
    await host.until(lambda: client.public_address)
    assert client.public_address == ip_address("203.0.113.7")


# --- what it publishes


async def test_it_publishes_itself_and_what_it_sees(host, service):
    client = host.client(version="v1.14.0", ttl=1800)
    client.publish(ME, [HERE], {"other": [THERE], "third": []})
    await service.until("update me", "update other")
    own, seen = service.updates
    assert KEY.open(own.affiliate_data) == ME
    assert [KEY.open_endpoint(it) for it in own.affiliate_endpoints] == [HERE]
    assert (own.cluster_id, own.ttl.seconds) == ("a-cluster", 1800)
    assert (seen.affiliate_id, seen.affiliate_data) == ("other", b"")
    assert [KEY.open_endpoint(it) for it in seen.affiliate_endpoints] == [THERE]


async def test_only_changes_are_published_at_once(host, service):
    client = host.client()
    client.publish(ME, [HERE])
    await service.until("update me")
    client.publish(ME, [HERE])
    client.publish(replace(ME, hostname="renamed"), [HERE])
    await service.until("update me")
    assert [KEY.open(update.affiliate_data).hostname for update in service.updates] == ["me", "renamed"]


async def test_it_publishes_the_same_bytes_each_half_of_the_time_to_live(host, service):
    host.client(ttl=0.1).publish(ME, [HERE])
    await service.until("update me", "update me", "update me")
    assert len({update.SerializeToString() for update in service.updates}) == 1


async def test_a_refused_update_is_tried_again_while_it_goes_on_watching(host, service):
    service.refuse_updates = True
    client = host.client()
    client.publish(ME, [HERE])
    await service.until("watch", "update me", "update me", "update me")
    service.say(record(OTHER))
    await host.until(lambda: client.affiliates)
    service.refuse_updates = False
    await service.until("update me")
    assert service.calls.count("hello") == 1


async def test_others_wait_until_its_own_update_is_taken(host, service):
    service.refuse_updates = True
    host.client().publish(ME, [HERE], {"other": [THERE]})
    await service.until("update me", "update me")
    assert {update.affiliate_id for update in service.updates} == {"me"}


# --- connections


async def test_a_watch_that_ends_is_begun_again(host, service):
    service.records = [record(OTHER), record(THIRD)]
    client = host.client()
    client.publish(ME, [HERE])
    await service.until("watch", "update me")
    await host.until(lambda: len(client.affiliates) == 2)
    service.records = [record(THIRD)]
    service.end_watches()
    await service.until("hello", "watch", "update me")
    await host.until(lambda: list(client.affiliates) == ["third"])


async def test_a_service_that_restarts_is_found_again_and_nobody_forgotten_meanwhile(service):
    service.records = [record(OTHER)]
    async with contextlib.AsyncExitStack() as stack:
        async with serving(service) as target:
            host = Host(service, target)
            stack.push_async_callback(host.close)
            client = host.client()
            client.publish(ME, [HERE])
            await service.until("watch", "update me")
            await host.until(lambda: client.affiliates)
        client.publish(ME, [THERE])
        assert "other" in client.affiliates
        async with serving(service, target):
            await service.until("hello", "watch", "update me")
            assert [KEY.open_endpoint(it) for it in service.updates[-1].affiliate_endpoints] == [THERE]
            assert "other" in client.affiliates


async def test_a_hello_that_fails_is_said_again_on_a_new_connection(host, service):
    made = []

    def connect(target: str) -> grpc.aio.Channel:
        made.append(target)
        return grpc.aio.insecure_channel(target)

    service.refuse_hello = True
    host.client(connect=connect).publish(ME, [HERE])
    await service.until("hello", "hello", "hello")
    service.refuse_hello = False
    await service.until("hello", "watch", "update me")
    assert len(made) >= 4
    assert set(made) == {host.target}


async def test_it_goes_where_it_is_sent_and_stays_there(host, service):
    elsewhere = Service()
    elsewhere.records = [record(OTHER)]
    async with serving(elsewhere) as target:
        service.hello = pb.HelloResponse(redirect=pb.RedirectMessage(endpoint=target))
        client = host.client()
        client.publish(ME, [HERE])
        await service.until("hello")
        await elsewhere.until("hello", "watch", "update me")
        await host.until(lambda: client.affiliates)
        elsewhere.end_watches()
        await elsewhere.until("hello", "watch", "update me")
        assert service.calls == ["hello"]
        await host.close()


async def test_where_the_network_changed_it_connects_again_at_once(host, service, monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 3600.0)
    client = host.client()
    client.publish(ME, [HERE])
    client.reconnect()
    await service.until("hello", "watch", "update me")
    service.hold_updates.clear()
    client.publish(ME, [THERE])
    await service.until("update me")
    client.reconnect()
    await service.until("hello", "watch", "update me")


async def test_pauses_grow_until_an_update_is_taken(monkeypatch):
    monkeypatch.undo()
    client = DiscoveryClient("http://127.0.0.1:1", "a-cluster", KEY, "me")
    wanted = 0.5
    for _ in range(30):
        assert 0.5 * wanted <= client._next_pause() <= 1.5 * wanted
        wanted = min(wanted * 1.5, 60.0)
    client.reconnect()
    assert client._next_pause() <= 0.75


# --- the end


async def test_it_leaves(host, service):
    client = host.client()
    client.publish(ME, [HERE])
    await service.until("update me")
    await client.leave()
    assert service.calls[-1] == "delete me"


async def test_it_does_not_leave_before_its_update_has_arrived(host, service):
    """Else the update could come after the deletion, and the node stay."""
    service.hold_updates.clear()
    client = host.client()
    client.publish(ME, [HERE])
    await service.until("update me")
    leaving = asyncio.create_task(client.leave())
    service.say(record(OTHER))
    await host.until(lambda: client.affiliates)
    assert "delete me" not in service.calls
    service.hold_updates.set()
    await leaving
    await service.until("delete me")


async def test_it_leaves_at_the_next_connection(host, service):
    service.refuse_hello = True
    client = host.client()
    client.publish(ME, [HERE])
    await service.until("hello", "hello")
    await client.leave()
    await service.until("delete me")


async def test_a_service_that_is_away_cannot_be_told(host):
    client = DiscoveryClient("http://127.0.0.1:1", "a-cluster", KEY, "me")
    running = asyncio.create_task(client.run())
    with pytest.raises(TimeoutError):
        await client.leave(timeout=0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("at", ["hello", "watch", "update me"])
async def test_it_ends_when_it_is_cancelled(host, service, at):
    service.hold_updates.clear()
    client = DiscoveryClient(f"http://{host.target}", "a-cluster", KEY, "me")
    client.publish(ME, [HERE])
    running = asyncio.create_task(client.run())
    await service.until(at)
    running.cancel()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await running


# --- addresses


@pytest.mark.parametrize(
    ("url", "target", "tls"),
    [
        ("https://discovery.example.org/", "discovery.example.org:443", True),
        ("https://discovery.example.org:8443", "discovery.example.org:8443", True),
        ("grpc://discovery.example.org/path", "discovery.example.org:443", True),
        ("http://192.0.2.1:3000", "192.0.2.1:3000", False),
        ("http://[fdae::1]:8093/", "[fdae::1]:8093", False),
        ("http://[fdae::1]", "[fdae::1]:80", False),
    ],
)
def test_urls(url, target, tls):
    assert ServiceAddress.parse(url) == ServiceAddress(target, tls)


@pytest.mark.parametrize("url", ["", "discovery.example.org", "ftp://discovery.example.org", "https:///", "http://:80"])
def test_what_is_no_service(url):
    with pytest.raises(ValueError, match="is no discovery service"):
        ServiceAddress.parse(url)


async def test_tls_with_an_authority_of_ones_own(service, tmp_path):
    now = datetime.now(UTC)
    authority = pki.etcd_ca(now)
    server = pki.etcd_member(authority, "discovery", now, [ip_address("127.0.0.1")])
    roots = tmp_path / "ca.crt"
    roots.write_bytes(authority.crt)
    async with serving(service, credentials=grpc.ssl_server_credentials([(server.key, server.crt)])) as target:
        strangers = asyncio.create_task(DiscoveryClient(f"https://{target}", "a-cluster", KEY, "stranger").run())
        client = DiscoveryClient(f"https://{target}", "a-cluster", KEY, "me", roots=roots)
        client.publish(ME, [HERE])
        running = asyncio.create_task(client.run())
        await service.until("hello", "watch", "update me")
        for task in (running, strangers):
            task.cancel()
        await asyncio.gather(running, strangers, return_exceptions=True)
        assert service.calls.count("hello") == 1
