"""Who sees whom, and the reason where they do not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.mesh import Mesh, Node, Pair, Peer, Peers, Side, look
from kubespan.reasons import FOLD, Problem, kinds, problems
from tests.kubespan.meshes import AT, World, key, mesh_of, troubled

SILENT: dict[str, Any] = {"state": Side.DOWN, "handshake": AT - 540, "endpoint_changed": AT - 30}
NEVER: dict[str, Any] = {"state": Side.DOWN, "handshake": 0, "received": 0, "endpoint_changed": AT - 60}


def seen(world: World) -> Mesh:
    return look(world.read(), AT)


def number(mesh: Mesh, name: str) -> int:
    return next(i for i, node in enumerate(mesh.nodes) if node.name == name)


def only(world: World) -> tuple[Problem, Mesh]:
    mesh = seen(world)
    found = problems(mesh)
    assert len(found) == 1, [problem.sentence for problem in found]
    return found[0], mesh


def three() -> World:
    return mesh_of({"a": 2, "b": 1})


# --- what is seen ----------------------------------------------------------------------------------------------------


def test_a_mesh_in_which_all_is_well() -> None:
    mesh = seen(mesh_of({"osl": 5, "ber": 3}))
    assert mesh.total == 28
    assert mesh.counts[Pair.UP] == 28
    assert [mesh.up(i) for i in range(8)] == [7] * 8
    assert problems(mesh) == []
    assert [(site.name, site.size, site.up, site.total) for site in mesh.groups] == [
        ("ber", 3, 3, 3),
        ("osl", 5, 10, 10),
    ]
    assert [(gap.up, gap.total) for gap in mesh.between] == [(15, 15)]
    assert [node.role for node in mesh.nodes[3:6]] == ["controlplane"] * 3


@pytest.mark.parametrize("size", [0, 1])
def test_of_nobody_and_of_one_there_is_nothing_to_see(size: int) -> None:
    mesh = seen(mesh_of({"a": size}))
    assert (mesh.total, mesh.counts[Pair.UP], problems(mesh), mesh.between) == (0, 0, [], [])


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (Side.UP, Side.UP, Pair.UP),
        (Side.UP, Side.DOWN, Pair.ONE_SIDED),
        (Side.UP, Side.CONNECTING, Pair.ONE_SIDED),
        (Side.UP, Side.UNREAD, Pair.UP),
        (Side.DOWN, Side.UNREAD, Pair.DOWN),
        (Side.DOWN, Side.CONNECTING, Pair.DOWN),
        (Side.IDLE, Side.IDLE, Pair.DOWN),
        (Side.CONNECTING, Side.CONNECTING, Pair.CONNECTING),
        (Side.CONNECTING, Side.UNREAD, Pair.CONNECTING),
        (Side.UNREAD, Side.UNREAD, Pair.UNREAD),
        (Side.MISSING, Side.UP, Pair.MISSING),
        (Side.MISSING, Side.UNREAD, Pair.MISSING),
    ],
)
def test_two_sides_are_one_pair(one: Side, other: Side, together: Pair) -> None:
    begun = {"state": Side.IDLE, "handshake": 0, "received": 0, "sent": 148, "endpoint_changed": AT - 9}
    fields = {
        Side.UP: {},
        Side.DOWN: SILENT,
        Side.CONNECTING: begun,
        Side.IDLE: {**begun, "endpoint_changed": AT - 300},
    }
    world = mesh_of({"a": 2})
    for (name, peer), side in zip((("a-cp-01", "a-cp-02"), ("a-cp-02", "a-cp-01")), (one, other), strict=True):
        if side is Side.UNREAD:
            world.change(name, unread="is not connected")
        elif side is Side.MISSING:
            world.say(name, peer, None)
        else:
            world.hears(name, peer, **fields[side])
    mesh = seen(world)
    assert (mesh.side(0, 1), mesh.side(1, 0)) == (one, other)
    assert mesh.pair(0, 1) is mesh.pair(1, 0) is together


def test_a_peer_that_is_called_in_vain_for_long_is_not_connecting() -> None:
    """Each attempt at another endpoint begins with `unknown`, as the first one does."""
    world = mesh_of({"a": 2})
    world.both("a-cp-01", "a-cp-02", state=Side.IDLE, handshake=0, received=0, sent=50_000, endpoint_changed=AT - 9)
    assert seen(world).pair(0, 1) is Pair.DOWN


def test_times_are_compared_by_the_clock_of_the_node() -> None:
    world = mesh_of({"a": 2})
    begun = {"state": Side.IDLE, "handshake": 0, "received": 0, "sent": 148}
    world.change("a-cp-01", clock=-3600.0)
    world.hears("a-cp-01", "a-cp-02", **begun, endpoint_changed=AT - 3609)
    world.hears("a-cp-02", "a-cp-01", **begun, endpoint_changed=AT - 9)
    assert seen(world).pair(0, 1) is Pair.CONNECTING


def test_what_others_hear_it_from_is_what_a_node_is_seen_as() -> None:
    world = three()
    world.hears("b-cp-01", "a-cp-01", endpoint="9.9.9.9:4711")
    mesh = seen(world)
    assert mesh.seen_as(number(mesh, "a-cp-01")) == "9.9.9.9:4711"
    assert mesh.seen_as(number(mesh, "a-cp-02")) == ""
    assert mesh.heard(number(mesh, "a-cp-01")) == AT - 12


def test_peers_that_are_nobody_here_do_not_count() -> None:
    world = mesh_of({"a": 3})
    nodes = world.read()
    mesh = look(nodes[:2], AT)
    assert mesh.counts[Pair.UP] == 1


# --- the reasons -----------------------------------------------------------------------------------------------------


def test_nat() -> None:
    world = three()
    world.change("a-cp-01", endpoints=("185.4.12.9:51820",))
    world.hears("a-cp-02", "a-cp-01", endpoint="185.4.12.9:61004", last_used="185.4.12.9:51820")
    world.hears("b-cp-01", "a-cp-01", **SILENT)
    problem, mesh = only(world)
    assert problem.sentence == "NAT: a-cp-01 is seen from :61004, b-cp-01 was told :51820."
    assert (problem.kind, problem.state) == ("nat", Pair.ONE_SIDED)
    assert mesh.nodes[problem.about].name == "a-cp-01"
    assert (problem.there, problem.back) == (Side.UP, Side.DOWN)


def test_nat_with_another_address() -> None:
    world = three()
    world.hears("a-cp-02", "a-cp-01", endpoint="8.8.8.8:61004")
    world.both("b-cp-01", "a-cp-01", **SILENT)
    problem, _ = only(world)
    assert problem.sentence == "NAT: a-cp-01 is seen from 8.8.8.8:61004, b-cp-01 was told 10.40.0.1:51820."


def test_no_endpoint_in_common() -> None:
    world = mesh_of({"osl": 1, "ber": 1})
    world.change("ber-cp-01", endpoints=("192.168.17.3:51820",), addresses=("192.168.17.3",))
    world.change("osl-cp-01", endpoints=("10.40.2.28:51820",), addresses=("10.40.2.28",))
    world.both("ber-cp-01", "osl-cp-01", **NEVER)
    problem, _ = only(world)
    assert problem.sentence in (
        "No endpoint in common: ber-cp-01 offers only 192.168.17.3.",
        "No endpoint in common: osl-cp-01 offers only 10.40.2.28.",
    )


@pytest.mark.parametrize("way", ["same network", "known network", "routed", "public"])
def test_there_is_a_way_to_what_is_in_common(way: str) -> None:
    world = mesh_of({"a": 3})
    world.change("a-cp-01", endpoints=("192.168.17.3:51820",), addresses=("192.168.17.3",))
    world.change("a-cp-02", endpoints=("10.40.2.28:51820",), addresses=("10.40.2.28",))
    world.change("a-cp-03", endpoints=("8.8.8.8:51820",))
    if way == "same network":
        world.change("a-cp-02", addresses=("10.40.2.28", "192.168.17.9"))
    elif way == "known network":
        world.change("a-cp-01", networks=("192.168.0.0/16",))
        world.change("a-cp-02", networks=("192.168.0.0/16",))
    elif way == "routed":
        world.change("a-cp-03", endpoints=("192.168.17.200:51820",))
    else:
        world.change("a-cp-02", endpoints=("10.40.2.28:51820", "8.8.4.4:51820"))
    world.both("a-cp-01", "a-cp-02", **NEVER)
    problem, _ = only(world)
    assert problem.kind == "blocked"


def test_no_endpoint_offered() -> None:
    world = mesh_of({"a": 2})
    for name in ("a-cp-01", "a-cp-02"):
        world.change(name, endpoints=())
    world.both("a-cp-01", "a-cp-02", state=Side.IDLE, endpoint="", handshake=0, received=0, sent=0)
    problem, _ = only(world)
    assert problem.sentence == "Not offered: a-cp-01 offers no endpoint, and a-cp-02 neither."


def test_clock() -> None:
    world = three()
    world.change("a-cp-01", clock=-420.0)
    world.both("a-cp-01", "b-cp-01", **SILENT)
    problem, _ = only(world)
    assert problem.sentence == "Clock: a-cp-01 is 7 min behind; b-cp-01 refuses its handshakes until it catches up."


def test_a_clock_is_no_reason_for_those_who_never_met() -> None:
    """What is refused is a handshake older than one that was accepted."""
    world = three()
    world.change("a-cp-01", clock=-420.0)
    world.both("a-cp-01", "b-cp-01", **NEVER)
    assert only(world)[0].kind == "blocked"


def test_the_same_address_claimed_twice() -> None:
    world = three()
    for name in ("a-cp-01", "a-cp-02"):
        world.change(name, endpoints=("185.4.0.1:51820",))
    world.both("b-cp-01", "a-cp-02", **NEVER)
    problem, _ = only(world)
    assert problem.sentence == (
        "Same address claimed: a-cp-02 and a-cp-01 offer 185.4.0.1:51820; only one of them can have it."
    )


def test_blocked_on_one_way_and_on_both() -> None:
    world = three()
    world.hears("a-cp-01", "b-cp-01", **{**SILENT, "handshake": 0})
    world.hears("b-cp-01", "a-cp-01", **{**NEVER, "sent": 12_345})
    problem, mesh = only(world)
    assert problem.sentence == "Blocked return path: b-cp-01 has sent 12 kB to 10.40.0.1:51820 and heard nothing."
    assert mesh.nodes[problem.about].name == "a-cp-01"
    world.both("a-cp-01", "b-cp-01", **NEVER)
    assert only(world)[0].sentence.startswith("Blocked: 2 MB sent to ")


def test_an_endpoint_that_is_not_offered_any_more() -> None:
    world = three()
    world.hears("b-cp-01", "a-cp-01", **SILENT, endpoint="1.1.1.1:51820")
    world.hears("a-cp-01", "b-cp-01", **SILENT)
    assert only(world)[0].sentence == (
        "Old endpoint: b-cp-01 still calls 1.1.1.1:51820, a-cp-01 offers 10.40.0.1, 185.4.0.1."
    )


def test_silence_without_any_other_evidence() -> None:
    world = three()
    world.both("b-cp-01", "a-cp-01", **SILENT)
    assert only(world)[0].sentence == (
        "No answer: b-cp-01 calls a-cp-01 at 10.40.0.1:51820 and hears nothing any more."
    )


def test_not_discovered() -> None:
    world = three()
    world.say("a-cp-01", "b-cp-01", None)
    problem, mesh = only(world)
    assert problem.sentence == "Not discovered: a-cp-01 does not know b-cp-01."
    world.change("b-cp-01", key="")
    found = problems(seen(world))
    assert {problem.sentence for problem in found} == {
        "Not discovered: b-cp-01 has not announced itself to the others."
    }
    assert {mesh.nodes[problem.about].name for problem in found} == {"b-cp-01"}


def test_not_read() -> None:
    world = three()
    for name in ("a-cp-01", "b-cp-01"):
        world.change(name, unread="is not connected to us")
    assert only(world)[0].sentence == "Not read: a-cp-01 is not connected to us."
    world.hears("a-cp-02", "b-cp-01", **SILENT)
    found = problems(seen(world))
    assert {problem.sentence for problem in found} == {"Not read: b-cp-01 is not connected to us."}
    assert [problem.state for problem in found] == [Pair.DOWN, Pair.UNREAD]


def test_many_pairs_of_one_node_with_one_reason_are_one_problem() -> None:
    world = mesh_of({"a": FOLD + 3})
    world.change("a-w-07", unread="is not connected")
    for node in world.nodes[:-1]:
        world.hears(node.name, "a-w-07", **SILENT)
    problem, mesh = only(world)
    assert mesh.nodes[problem.about].name == "a-w-07"
    assert len(problem.others) == FOLD + 2
    assert kinds([problem]) == {"not-read": FOLD + 2}


def test_the_mesh_of_the_picture() -> None:
    mesh = seen(troubled())
    assert mesh.total == 1326
    assert dict(kinds(problems(mesh))) == {
        "nat": 2,
        "no-common": 1,
        "clock": 1,
    }
    assert (mesh.counts[Pair.ONE_SIDED], mesh.counts[Pair.DOWN]) == (2, 2)


# --- what holds for every mesh --------------------------------------------------------------------------------------

ENDPOINTS = st.sampled_from(["", "10.0.0.1:51820", "10.0.0.2:51820", "8.8.8.8:51820", "[2600::1]:51820", "nonsense"])
PEERS = st.builds(
    Peer,
    state=st.sampled_from([Side.UP, Side.DOWN, Side.IDLE]),
    endpoint=ENDPOINTS,
    last_used=ENDPOINTS,
    received=st.sampled_from([0, 92]),
    sent=st.sampled_from([0, 148, 10**12]),
    handshake=st.sampled_from([0, AT - 20]),
    endpoint_changed=st.sampled_from([0, AT - 5, AT + 60]),
)


@st.composite
def worlds(draw: st.DrawFn) -> list[Node]:
    size = draw(st.integers(0, 7))
    world = World()
    for i in range(size):
        world.nodes.append(
            Node(
                name=f"n{i}",
                key=key(i) if draw(st.integers(0, 5)) else "",
                endpoints=tuple(draw(st.lists(ENDPOINTS, max_size=3))),
                label=draw(st.sampled_from(["", "", "osl"])),
                clock=draw(st.sampled_from([None, 0.0, -300.0])),
                unread=draw(st.sampled_from(["", "", "is not connected"])),
            )
        )
    for i in range(size):
        for j in range(size):
            world.edges[i, j] = draw(st.none() | PEERS)
    return world.read()


@given(worlds())
def test_every_pair_counts_once_and_has_a_reason_unless_it_is_up(nodes: list[Node]) -> None:
    mesh = look(nodes, AT)
    size = mesh.size
    assert sorted(node.name for node in mesh.nodes) == sorted(node.name for node in nodes)
    for i in range(size):
        assert mesh.pair(i, i) is Pair.SELF
        for j in range(size):
            assert mesh.pair(i, j) is mesh.pair(j, i)
    assert sum(mesh.counts.values()) == mesh.total
    assert sum(mesh.up(i) for i in range(size)) == 2 * mesh.counts[Pair.UP]
    assert sum(site.total for site in mesh.groups) + sum(gap.total for gap in mesh.between) == mesh.total
    assert sum(site.up for site in mesh.groups) + sum(gap.up for gap in mesh.between) == mesh.counts[Pair.UP]
    found = problems(mesh)
    explained = [frozenset((problem.about, other)) for problem in found for other in problem.others]
    assert len(explained) == len(set(explained))
    assert set(explained) == {frozenset(pair) for pair in mesh.trouble()}
    assert len(explained) == mesh.total - mesh.counts[Pair.UP]
    assert all(problem.sentence.endswith(".") and len(problem.sentence) > 10 for problem in found)
    for problem in found:
        assert {mesh.pair(problem.about, other) for other in problem.others} == {problem.state}


@given(worlds(), st.randoms())
def test_the_order_of_nodes_does_not_matter(nodes: list[Node], random: Any) -> None:
    before = look(nodes, AT)
    random.shuffle(nodes)
    after = look(nodes, AT)
    assert after.counts == before.counts
    assert [node.name for node in after.nodes] == [node.name for node in before.nodes]


@given(st.lists(PEERS, max_size=6))
def test_a_table_comes_back_as_it_was(peers: list[Peer]) -> None:
    table = Peers()
    for i, peer in enumerate(peers):
        table.add(key(i), peer)
    numbers = {key(i): 100 - i for i in range(len(peers))}
    again = Peers.unpack(table.pack(numbers), {number: name for name, number in numbers.items()})
    assert {name: again.at(at) for at, name in enumerate(again.keys)} == dict(zip(table.keys, peers, strict=True))


def test_a_table_forgets_whom_it_cannot_name() -> None:
    table = Peers()
    for i in range(3):
        table.add(key(i), Peer(Side.UP, f"10.0.0.{i}:51820"))
    packed = table.pack({key(0): 0, key(2): 2})
    assert Peers.unpack(packed, {0: key(0), 1: key(1), 2: key(2)}).endpoints == ["10.0.0.0:51820", "10.0.0.2:51820"]
    assert Peers.unpack(packed, {2: key(2)}).keys == [key(2)]


@pytest.mark.parametrize("broken", [b"", b"nonsense", Peers().pack({})[:-3]])
def test_a_broken_table_says_so(broken: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Peers.unpack(broken, {})
