"""The states of a mesh, of its pairs and of its nodes: for each a shape of the interface, a word, and a sentence."""

from apps.mesh.models import MeshStatus
from apps.reconcile.conditions import Shown, State
from kubespan.mesh import Pair, Side
from kubespan.reasons import Kind

PAIRS: dict[Pair, str] = {
    Pair.UP: "up", Pair.ONE_SIDED: "one-sided", Pair.CONNECTING: "connecting", Pair.DOWN: "down",
    Pair.MISSING: "missing", Pair.UNREAD: "unread",
}  # fmt: skip
"""What REST and the command line call the states of pairs."""

BY_NAME = {name: pair for pair, name in PAIRS.items()}

TROUBLE = "trouble"
"""In place of a state: all that should be up and are not."""

_PAIR_SHAPES: dict[Pair, tuple[State, str]] = {
    Pair.UP: ("ok", "Up"),
    Pair.ONE_SIDED: ("warn", "One-sided"),
    Pair.CONNECTING: ("work", "Connecting"),
    Pair.DOWN: ("bad", "Down"),
    Pair.MISSING: ("warn", "Not discovered"),
    Pair.UNREAD: ("unknown", "Not read"),
}

_SIDES: dict[Side, tuple[State, str, str]] = {
    Side.UP: ("ok", "Up", "It hears the other."),
    Side.DOWN: ("bad", "Down", "It calls the other and hears nothing."),
    Side.IDLE: ("warn", "Silent", "It hears nothing and has no endpoint to call."),
    Side.CONNECTING: ("work", "Connecting", "It calls the other since a moment ago."),
    Side.MISSING: ("off", "Unknown to it", "It does not know the other."),
    Side.UNREAD: ("unknown", "Not read", "What it says of the other is not known."),
}

REASONS: dict[Kind, str] = {
    "not-read": "Not read", "not-discovered": "Not discovered", "connecting": "Connecting", "clock": "Clock",
    "overlap": "Same address claimed", "nat": "NAT", "not-offered": "Not offered", "no-common": "No endpoint in common",
    "blocked": "Blocked", "old": "Old endpoint", "silent": "No answer",
}  # fmt: skip

ADVICE: dict[Kind, tuple[str, ...]] = {
    "not-read": (
        "Look at the machine’s page: is it connected, does its API answer?",
        "What others say of it is shown all the same.",
    ),
    "not-discovered": (
        "Is discovery on in the machine’s configuration, with a service that it reaches?",
        "Compare “talosctl get affiliates” on both nodes.",
    ),
    "connecting": ("Nothing: a node tries each endpoint of the other for about 30 s.",),
    "clock": (
        "Look at the time servers of {about}: “talosctl get timestatus”.",
        "Handshakes carry the time; older ones than the last are refused until the clock has caught up.",
    ),
    "overlap": (
        "Give each node an address of its own, or leave the shared one out with an endpoint filter.",
        "A virtual IP is no endpoint: filter it out, too.",
    ),
    "nat": (
        "Allow UDP 51820 from {about} into {other}.",
        "Or announce the address that others see as an extra endpoint of {about}.",
    ),
    "not-offered": (
        "Does an endpoint filter leave nothing of {about}?",
        "Announce an address at which others reach it as an extra endpoint.",
    ),
    "no-common": (
        "Announce an address of {about} that {other} reaches as an extra endpoint: of its router, with UDP 51820"
        " forwarded.",
        "Or let one that both reach pass on what it sees: harvest extra endpoints.",
    ),
    "blocked": (
        "Allow UDP 51820 in both directions between {about} and {other}.",
        "Where packets pass one way only, look at the firewall on the way back.",
    ),
    "old": (
        "{other} goes on to another endpoint by itself within minutes.",
        "If it stays so, compare “talosctl get affiliates” on {other} with what {about} offers.",
    ),
    "silent": (
        "Is {about} up, and UDP 51820 open to it?",
        "If it is being restarted, this ends by itself.",
    ),
}
"""What to do about a reason; `{about}` is the node that a person looks at first."""


def advice(kind: Kind, about: str, other: str) -> list[str]:
    """What to do about a reason, with names."""
    return [text.format(about=about, other=other) for text in ADVICE[kind]]


def pair_state(pair: Pair) -> Shown:
    shape, word = _PAIR_SHAPES[pair]
    return Shown(shape, word, "")


def side_state(side: Side) -> Shown:
    """What one node says of the other."""
    return Shown(*_SIDES[side])


def count(number: int, noun: str) -> str:
    """`1 pair`, `1,322 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def mesh_state(status: MeshStatus) -> Shown:
    """How a mesh is, in a few words."""
    if status.kubespan == MeshStatus.OFF:
        return Shown("idle", "Off", "KubeSpan is not enabled: nodes of the cluster reach each other without it.")
    if status.read_at is None:
        return Shown("unknown", "Not read yet", status.problem or "Its nodes are asked for the first time.")
    if status.kubespan == MeshStatus.UNKNOWN:
        return Shown("off", "Not read", status.problem or "None of its nodes answered.")
    return counted_state(counts_of(status), status.nodes, status.alone, status.unread, status.worst)


def counts_of(status: MeshStatus) -> dict[Pair, int]:
    return {pair: int(status.pairs.get(name, 0)) for pair, name in PAIRS.items()}


def counted_state(counts: dict[Pair, int], nodes: int, alone: int, unread: int, worst: str) -> Shown:
    """How a mesh of so many nodes is, by its pairs; `worst` is the sentence of the gravest problem."""
    total = sum(counts.values())
    parts = [(Pair.ONE_SIDED, "one-sided"), (Pair.DOWN, "apart"), (Pair.MISSING, "not discovered")]
    told = [(counts[pair], word) for pair, word in parts if counts[pair]]
    if told:
        first, *rest = told
        words = ", ".join([f"{count(first[0], 'pair')} {first[1]}", *(f"{number:,} {word}" for number, word in rest)])
        return Shown("bad" if alone else "warn", words, worst)
    if counts[Pair.CONNECTING]:
        return Shown("work", f"{count(counts[Pair.CONNECTING], 'pair')} connecting", worst)
    if unread:
        return Shown("off", f"{count(unread, 'node')} not read", worst)
    if not total:
        return Shown("ok", "One node", "A mesh of one node has no pairs.")
    return Shown("ok", f"All {total:,} pairs up" if total > 1 else "Up", f"Each of {nodes:,} nodes hears all others.")
