"""The methods as a client of gRPC sees them: what Sidero's service answers, and where ours differs on purpose."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import grpc
import pytest

from kubespan.discovery.limiter import Limiter
from kubespan.discovery.service import OPEN_CALLS, Face
from kubespan.ports import Act
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc
from tests.kubespan.discovery.lab import CALL, CLUSTER, Service, known, serving, update

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details() or ""


# Hello.


async def test_hello_tells_the_client_its_address(service: Service) -> None:
    response = await service.hello()
    assert response.client_ip.hex() == "7f000001"
    assert not response.HasField("redirect")


async def test_headers_of_proxies_count_only_where_they_are_trusted(service: Service) -> None:
    assert (await service.hello(x_real_ip="1.2.3.4")).client_ip.hex() == "7f000001"
    async with serving(trust_real_ip=True, trust_forwarded_for=True) as trusting:
        assert (await trusting.hello(x_real_ip="1.2.3.4")).client_ip.hex() == "01020304"
        forwarded = await trusting.hello(x_forwarded_for="5.6.7.8,192.168.0.0.1")
        assert forwarded.client_ip.hex() == "05060708"
        assert (await trusting.hello(x_real_ip="nobody")).client_ip.hex() == "7f000001"
        six = await trusting.hello(x_real_ip="2001:db8::1")
        assert six.client_ip == IPv6Address("2001:db8::1").packed


async def test_hello_over_ipv6_tells_16_bytes() -> None:
    async with serving() as service:
        server = grpc.aio.server()
        Face(service.core).add_to(server)
        port = server.add_insecure_port("[::1]:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"[::1]:{port}") as channel:
            stub: Any = discovery_pb2_grpc.ClusterStub(channel)
            response = await stub.Hello(pb.HelloRequest(cluster_id=CLUSTER), timeout=CALL)
        await server.stop(None)
    assert response.client_ip == IPv6Address("::1").packed


async def test_a_face_may_keep_the_address_to_itself() -> None:
    async with serving(report_address=False) as service:
        assert (await service.hello()).client_ip == b""


async def test_hello_may_send_clients_elsewhere_and_other_calls_go_on() -> None:
    async with serving(redirect="new.example.com:443") as service:
        response = await service.hello()
        assert response.redirect.endpoint == "new.example.com:443"
        assert response.client_ip.hex() == "7f000001"
        await service.update("a", b"d")
        assert await service.list() == {"a": (b"d", [])}


async def test_hello_leaves_no_cluster_behind(service: Service) -> None:
    await service.hello()
    assert service.core.state.clusters == 0
    assert service.core.calls.versions == {"v1.14": 1}


# Updates, deletions, lists.


async def test_updates_merge(service: Service) -> None:
    await service.update("a", b"data", [b"e1", b"e2"])
    assert await service.list() == {"a": (b"data", [b"e1", b"e2"])}
    await service.update("a", b"", [b"e3", b"e2"])
    assert await service.list() == {"a": (b"data", [b"e1", b"e2", b"e3"])}


async def test_an_empty_value_leaves_the_data_as_it_is(service: Service) -> None:
    await service.update("a", b"data")
    request = update("a")
    request.affiliate_data = b""
    await service.stub.AffiliateUpdate(request, timeout=CALL)
    assert await service.list() == {"a": (b"data", [])}


async def test_deleting_an_unknown_one_is_fine_and_clusters_do_not_see_each_other(service: Service) -> None:
    await service.delete("nobody")
    await service.stub.AffiliateUpdate(pb.AffiliateUpdateRequest(cluster_id="c", affiliate_id="a"), timeout=CALL)
    await service.update("a", cluster="another")
    await service.delete("a", cluster="c")
    assert await service.list("c") == {}
    assert await service.list("another") == {"a": (b"", [])}
    assert await service.list("never seen") == {}


# What is refused.


@pytest.mark.parametrize("method", ["Hello", "List", "Watch", "AffiliateUpdate", "AffiliateDelete"])
@pytest.mark.parametrize(
    ("cluster", "text"),
    [("", "cluster ID can't be empty"), ("c" * 257, "cluster ID is too long"), ("ü" * 129, "cluster ID is too long")],
)
async def test_cluster_ids(service: Service, method: str, cluster: str, text: str) -> None:
    request = {"AffiliateUpdate": pb.AffiliateUpdateRequest, "AffiliateDelete": pb.AffiliateDeleteRequest}.get(
        method, getattr(pb, f"{method}Request", None)
    )
    call = getattr(service.stub, method)(request(cluster_id=cluster), timeout=CALL)
    assert await refused(call.read() if method == "Watch" else call) == (INVALID, text)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (pb.AffiliateUpdateRequest(), "cluster ID can't be empty"),
        (update(""), "affiliate ID can't be empty"),
        (update("a" * 257), "affiliate ID is too long"),
        (update("ü" * 129), "affiliate ID is too long"),
        (update("a", b"d" * 2049), "affiliate data is too big"),
        (update("a", b"d" * 2049, [b"e" * 33]), "affiliate data is too big"),
        (update("a", b"d", [b"e", b"e" * 33]), "affiliate endpoint is too big"),
        (update("a", b"d", [b"e" * 33], ttl=1801), "affiliate endpoint is too big"),
        (update("a", b"d", ttl=1800.000001), "ttl is too large"),
        (update("a", b"d", [b""]), "affiliate endpoint is empty: nodes that read it would crash"),
    ],
)
async def test_updates_that_are_refused(service: Service, request_: pb.AffiliateUpdateRequest, text: str) -> None:
    assert await refused(service.stub.AffiliateUpdate(request_, timeout=CALL)) == (INVALID, text)
    assert service.core.state.affiliates == 0


async def test_a_refused_update_is_logged_without_ids_and_not_again_and_again(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        await refused(service.update("secret-node", b"d" * 2049, cluster="secret-cluster"))
    assert caplog.text.count("an update from 127.0.0.1 was refused: affiliate data is too big") == 1
    await refused(service.list(""))
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "request_",
    [
        update("a" * 256, b"d" * 2048, [b"e" * 32], cluster="c" * 256),
        update("ü" * 128, cluster="ü" * 128),
        update("a", b"d", [b"e"], ttl=1800),
        update("a", b"d", ttl=0),
        update("a", b"d", ttl=-5),
    ],
)
async def test_updates_that_just_fit(service: Service, request_: pb.AffiliateUpdateRequest) -> None:
    await service.stub.AffiliateUpdate(request_, timeout=CALL)
    got = await service.list(request_.cluster_id)
    assert got == {request_.affiliate_id: (request_.affiliate_data, list(request_.affiliate_endpoints))}


async def test_deletions_that_are_refused(service: Service) -> None:
    assert await refused(service.delete("")) == (INVALID, "affiliate ID can't be empty")
    assert await refused(service.delete("a" * 257)) == (INVALID, "affiliate ID is too long")


async def test_a_cluster_has_1024_affiliates(service: Service) -> None:
    for number in range(1024):
        await service.update(str(number))
    wanted = (EXHAUSTED, "too many affiliates in the cluster")
    assert await refused(service.update("one more", b"d", [b"e"])) == wanted
    await service.update("7", b"d")
    await service.update("one more", cluster="another")
    assert len(await service.list()) == 1024


async def test_an_affiliate_has_64_endpoints(service: Service) -> None:
    for number in range(64):
        await service.update("a", endpoints=[b"e%d" % number])
    watch, _ = await service.watch()
    wanted = (EXHAUSTED, "too many endpoints in the affiliate")
    assert await refused(service.update("a", endpoints=[b"one more"])) == wanted
    assert await refused(service.update("a", b"data", [b"one more"])) == wanted
    assert known(await watch.read()) == {"a": (b"data", [b"e%d" % number for number in range(64)])}


@pytest.mark.parametrize("method", ["Hello", "AffiliateUpdate", "AffiliateDelete", "List"])
@pytest.mark.parametrize("noise", [b"\x0a\x10a", b"\xff\xff\xff\xff noise", b"\x0a\x02\xff\xfe"])
async def test_noise(service: Service, method: str, noise: bytes) -> None:
    call = service.channel.unary_unary(f"/sidero.discovery.server.Cluster/{method}")
    assert (await refused(call(noise, timeout=CALL)))[0] is grpc.StatusCode.INTERNAL
    await service.hello()


async def test_requests_that_are_far_too_large(service: Service) -> None:
    call = service.channel.unary_unary("/sidero.discovery.server.Cluster/List")
    assert (await refused(call(bytes(5 << 20), timeout=CALL)))[0] is EXHAUSTED
    await service.hello()


async def test_methods_that_there_are_not(service: Service) -> None:
    call = service.channel.unary_unary("/sidero.discovery.server.Cluster/Nothing")
    assert (await refused(call(b"", timeout=CALL)))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_an_error_of_ours_is_internal_and_says_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(service.core.state, "listing", fail)
    code, text = await refused(service.list())
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in text
    assert "a secret" in caplog.text
    assert service.core.calls.methods["List"].handled == {"INTERNAL": 1}


# Watches.


async def test_a_watch_sees_all_there_is_and_then_each_change(service: Service) -> None:
    await service.update("af1", b"1")
    watch, first = await service.watch()
    assert known(first) == {"af1": (b"1", [])}
    assert not first.deleted
    await service.update("af2", b"2", [b"e"])
    assert known(await watch.read()) == {"af2": (b"2", [b"e"])}
    await service.delete("af1")
    assert await watch.read() == pb.WatchResponse(affiliates=[pb.Affiliate(id="af1")], deleted=True)


async def test_the_first_message_comes_even_if_it_is_empty(service: Service) -> None:
    _, first = await service.watch()
    assert first == pb.WatchResponse()


async def test_who_writes_hears_of_it_and_of_the_same_data_again_but_of_no_mere_refresh(service: Service) -> None:
    watch, _ = await service.watch()
    await service.update("a", b"d", [b"e"])
    await service.update("a", endpoints=[b"e"])
    await service.update("a", b"d")
    await service.update("b")
    assert [known(await watch.read()) for _ in range(3)] == [
        {"a": (b"d", [b"e"])},
        {"a": (b"d", [b"e"])},
        {"b": (b"", [])},
    ]


async def test_what_expires_is_told(service: Service) -> None:
    await service.update("a", b"d", [b"short"], ttl=10)
    await service.update("a", endpoints=[b"long"], ttl=60)
    watch, _ = await service.watch()
    await service.pass_time(11)
    reduced = await watch.read()
    assert not reduced.deleted, "an endpoint that expires is no end of the affiliate"
    assert known(reduced) == {"a": (b"d", [b"long"])}
    await service.pass_time(50)
    assert await watch.read() == pb.WatchResponse(affiliates=[pb.Affiliate(id="a")], deleted=True)
    assert await service.list() == {}


async def test_clocks_that_jump_have_no_effect(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.update("a", b"d", ttl=60)
    for time in (10.0**10, -(10.0**10)):
        with monkeypatch.context() as wall:
            wall.setattr("time.time", lambda time=time: time)
            await service.pass_time(29)
        assert await service.list() == {"a": (b"d", [])}
    await service.pass_time(3)
    assert await service.list() == {}


async def test_two_nodes_with_one_id_take_turns_and_disturb_nobody_else(service: Service) -> None:
    await service.update("other", b"o", [b"o"])
    watch, _ = await service.watch()
    for turn in range(3):
        await service.update("same", b"first", [b"e1"])
        await service.update("same", b"second", [b"e2"])
        wanted = [b"e1"] if turn == 0 else [b"e1", b"e2"]
        assert known(await watch.read()) == {"same": (b"first", wanted)}
        assert known(await watch.read()) == {"same": (b"second", [b"e1", b"e2"])}
    assert await service.list() == {"other": (b"o", [b"o"]), "same": (b"second", [b"e1", b"e2"])}


async def test_watches_end_without_an_error_when_the_service_does(service: Service) -> None:
    watch, _ = await service.watch()
    await service.core.drain()
    assert await watch.read() is grpc.aio.EOF
    assert await watch.code() is grpc.StatusCode.OK
    assert await refused(service.hello()) == (
        grpc.StatusCode.UNAVAILABLE,
        "the discovery service is starting or stopping; try again",
    )
    late = service.stub.Watch(pb.WatchRequest(cluster_id=CLUSTER))
    assert (await refused(late.read()))[0] is grpc.StatusCode.UNAVAILABLE
    await service.update("a", b"d")
    assert await service.list() == {"a": (b"d", [])}, "whoever is still here is served"


async def test_a_watch_that_its_client_ends_is_forgotten(service: Service) -> None:
    watch, _ = await service.watch()
    assert service.core.state.subscriptions == 1
    watch.cancel()
    async with asyncio.timeout(CALL):
        while service.core.state.subscriptions:
            await asyncio.sleep(0.01)
    assert service.core.calls.methods["Watch"].handled == {"CANCELLED": 1}


async def test_hundreds_of_watches_on_one_connection(service: Service) -> None:
    watches = [(await service.watch(f"cluster {number % 3}"))[0] for number in range(300)]
    assert service.core.state.subscriptions == 300
    for number in range(3):
        await service.update("a", b"d", cluster=f"cluster {number}")
    for watch in watches:
        assert known(await watch.read()) == {"a": (b"d", [])}


# Who may, and how often.


class Door:
    """A gate that lets nobody in, or everybody, and remembers who asked."""

    def __init__(self, why: str | None) -> None:
        self.why = why
        self.asked: list[tuple[IPv4Address | IPv6Address | None, str, str, Act]] = []

    async def refusal(
        self, source: IPv4Address | IPv6Address | None, cluster_id: str, affiliate_id: str, act: Act
    ) -> str | None:
        self.asked.append((source, cluster_id, affiliate_id, act))
        return self.why


async def test_a_gate_is_asked_about_every_call() -> None:
    door = Door(None)
    async with serving(gate=door) as service:
        await service.hello()
        await service.update("a", b"d", [b"e"])
        await service.update("a", endpoints=[b"e"])
        await service.list()
        await service.watch()
        await service.delete("a")
    here = IPv4Address("127.0.0.1")
    assert door.asked == [
        (here, CLUSTER, "", Act.HELLO),
        (here, CLUSTER, "a", Act.PUBLISH),
        (here, CLUSTER, "a", Act.ENDPOINTS),
        (here, CLUSTER, "", Act.LIST),
        (here, CLUSTER, "", Act.WATCH),
        (here, CLUSTER, "a", Act.DELETE),
    ]


async def test_what_a_gate_refuses_has_no_effect() -> None:
    async with serving(gate=Door("this machine is not of that cluster")) as service:
        wanted = (grpc.StatusCode.PERMISSION_DENIED, "this machine is not of that cluster")
        assert await refused(service.hello()) == wanted
        assert await refused(service.update("a", b"d")) == wanted
        assert await refused(service.delete("a")) == wanted
        assert await refused(service.list()) == wanted
        assert await refused(service.stub.Watch(pb.WatchRequest(cluster_id=CLUSTER)).read()) == wanted
        assert await refused(service.update("", b"d")) == (INVALID, "affiliate ID can't be empty")
        assert (service.core.state.clusters, service.core.state.affiliates) == (0, 0)


async def test_who_calls_too_often_is_refused_and_nobody_else() -> None:
    async with serving(limiter=Limiter(rate=1, burst=60), trust_real_ip=True, trust_forwarded_for=True) as service:

        async def flood(**headers: str) -> None:
            metadata = [(name.replace("_", "-"), value) for name, value in headers.items()]
            request = pb.HelloRequest(cluster_id=CLUSTER)
            calls = [service.stub.Hello(request, metadata=metadata, timeout=0.9) for _ in range(61)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            (error,) = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
            assert (error.code(), error.details()) == (EXHAUSTED, "rate limit exceeds request timeout")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(flood(x_real_ip="1.2.3.4"))
            tasks.create_task(flood(x_forwarded_for="5.6.7.8, 1.2.3.4"))
        await service.hello()


async def test_a_watch_takes_one_turn_and_its_messages_none() -> None:
    async with serving(limiter=Limiter(rate=0.001, burst=3)) as service:
        watch, _ = await service.watch()
        for number in range(100):
            service.core.update(update(str(number), b"d"))
            await watch.read()
        await service.hello()
        await service.hello()
        late = service.stub.Hello(pb.HelloRequest(cluster_id=CLUSTER), timeout=1)
        assert (await refused(late))[0] is EXHAUSTED


async def test_an_address_has_so_many_open_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubespan.discovery.service.OPEN_CALLS", 3)
    async with serving(trust_real_ip=True, limiter=Limiter()) as service:
        watches = [(await service.watch())[0] for _ in range(3)]
        assert await refused(service.hello()) == (EXHAUSTED, "too many open calls from this address")
        await service.hello(x_real_ip="1.2.3.4")
        watches[0].cancel()
        async with asyncio.timeout(CALL):
            while service.core.state.subscriptions == 3:
                await asyncio.sleep(0.01)
        await service.hello()
    assert OPEN_CALLS >= 2 * 1024, "the largest cluster may be behind one address"
