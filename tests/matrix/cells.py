"""What the matrix is made of, and what each of its cells has to be: written apart from the code that decides.

A cell: a way in, who comes, with what proof, into whose organisation, under which policy.
"""

from dataclasses import dataclass

from apps.access.methods import METHODS, Need
from tests.matrix.table import HTTP, WEBSOCKETS

RANKS = ("reader", "operator", "admin", "owner")

ALLOW, REFUSE, HIDE, STRANGER, UNPROVED = "allow", "refuse", "hide", "stranger", "unproved"
"""Outcomes: done; 403; 404 as if it were not there; no place there; nobody knows who it is."""


@dataclass(frozen=True)
class Who:
    """Somebody with a role in the organisation, who acts with a credential of at most `ceiling`."""

    name: str
    role: str | None
    ceiling: str = "owner"
    program: bool = False

    @property
    def cap(self) -> str:
        """The most that the credential gives; one of the whole role gives all that policies do."""
        whole = self.role is None or RANKS.index(self.ceiling) >= RANKS.index(self.role)
        return "owner" if whole else self.ceiling


WHO = (
    Who("nobody", None),  # a member once, whose credentials are still there
    Who("reader", "reader"),
    Who("operator", "operator"),
    Who("admin", "admin"),
    Who("owner", "owner"),
    Who("ci", "operator", program=True),
    Who("lesser admin", "admin", ceiling="reader"),
    Who("lesser owner", "owner", ceiling="operator"),
    Who("lesser ci", "operator", ceiling="reader", program=True),
)

OWN, FOREIGN, NOWHERE = "own", "foreign", "no credential"

FEW = ("machine.MachineService/Version", "machine.MachineService/Logs")
MANY = "machine.MachineService/*"

POLICIES: dict[str, dict[str, object]] = {
    "none": {},
    "lift": {"effect": "grant", "role": "admin"},
    "limit": {"effect": "limit", "role": "reader"},
    "out": {"effect": "limit", "role": "none"},
    "few": {"effect": "limit", "talos_methods": list(FEW), "kubernetes_groups": ["nothing"]},
    "many": {"effect": "grant", "talos_methods": [MANY], "kubernetes_groups": ["developers"]},
}
"""About everybody, on the organisation's one cluster and its machines."""


@dataclass(frozen=True)
class Way:
    """A way in. `on`: what it is about: cluster, machine (of the cluster), free (a machine in none), or nothing."""

    name: str
    kind: str  # rest, page, watch, live, tail, talos, kubernetes
    verb: str
    on: str = ""

    @property
    def governed(self) -> bool:
        """Whether policies are about its verb."""
        return self.verb.partition(".")[0] in ("cluster", "machine", "template") or self.kind in ("talos", "kubernetes")


def _on(name: str) -> str:
    if "/clusters/<name>" in name and "/template" not in name.partition("/clusters/<name>")[0]:
        return "cluster"
    return "machine" if "/machines/<uuid>" in name else ""


def _http(name: str, verb: str) -> Way:
    return Way(name, "page" if name.startswith("PAGE") else "rest", verb, _on(name))


def _socket(name: str, verb: str) -> Way:
    kind = "live" if "/live " in name else "tail" if name.endswith("/tail") else "watch"
    return Way(name, kind, verb, _on(name))


def ways(verbs: dict[str, str]) -> list[Way]:
    """All ways that take a verb, and the proxied methods on a machine in the cluster and on a free one."""
    web = [_http(name, need) for name, need in HTTP.items() if need in verbs]
    sockets = [_socket(name, need) for name, need in WEBSOCKETS.items()]
    methods = [*METHODS, "machine.MachineService/NotKnownYet"]
    talos = [Way(method, "talos", f"talos:{method}", on) for method in methods for on in ("machine", "free")]
    return [*web, *sockets, *talos, Way("kubernetes", "kubernetes", "kubernetes", "cluster")]


def transports(way: Way, who: Who) -> list[str]:
    """With what proof somebody of this kind comes this way."""
    if way.kind == "talos":
        return ["signed", "certificate"]
    if way.kind == "kubernetes":
        return ["kubernetes"]
    person = not who.program and who.ceiling == "owner"  # a browser's session has no ceiling
    sessions = ["session"] if person else []
    return sessions if way.kind in ("page", "live", "tail") else ["token", *sessions]


def policies(way: Way) -> list[str]:
    """Policies that differ for a way."""
    return list(POLICIES) if way.kind in ("talos", "kubernetes") else ["none", "lift", "limit", "out"]


def needed(way: Way, verbs: dict[str, str]) -> str:
    """The least role for a way, before policies."""
    if way.kind == "kubernetes":
        return "reader"
    if way.kind != "talos":
        return verbs[way.verb]
    role = METHODS.get(way.name, Need("admin", "")).role
    return "operator" if role == "reader" and way.on == "free" else role


def expected(way: Way, who: Who, place: str, policy: str, verbs: dict[str, str]) -> str:
    """What has to come of it."""
    if place == NOWHERE:
        return UNPROVED
    if place == FOREIGN or who.role is None:
        return STRANGER
    least, cap = needed(way, verbs), RANKS.index(who.cap)
    need, own = RANKS.index(least), RANKS.index(who.role)
    binds = who.role != "owner"
    covered = way.governed and way.on in ("cluster", "machine")
    somewhere = way.governed and not way.on
    lifted = policy == "lift" and (covered or somewhere)
    role = min(max(own, RANKS.index("admin")) if lifted else own, cap)
    if way.kind in ("rest", "page") and role < need:
        return REFUSE  # nowhere enough: said before anything is looked for, there or not
    if covered and binds and policy == "out":
        return HIDE
    if covered and binds and policy == "limit":
        role = min(role, RANKS.index("reader"))
    if covered and binds and policy == "few" and way.name not in FEW:
        return REFUSE
    if covered and policy == "many" and way.kind == "talos" and way.name.startswith(MANY[:-1]) and cap >= need:
        return ALLOW
    return ALLOW if role >= need else REFUSE
