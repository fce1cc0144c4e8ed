"""What somebody is towards one cluster or machine: their role, lifted and limited by policies. Pure.

A grant lifts the role, adds Kubernetes groups, and allows Talos methods beyond the role. A limit lowers the role
(`none` shuts out), keeps of the Kubernetes groups and of the Talos methods only those it names. Limits win over
grants, and do not bind owners: somebody has to be able to undo them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from apps.access.actor import ROLES
from apps.access.facts import Facts
from talos.selectors import parse_selector

GRANT, LIMIT = "grant", "limit"
NONE = "none"
"""The role of a limit that shuts out."""


@dataclass(frozen=True)
class Rule:
    """One policy. Subjects, clusters and methods are names or globs (`*`, `?`, `[abc]`); labels are selectors.

    Without `clusters`, `cluster_labels` and `machine_labels` it is about everything. One that names clusters is not
    about machines in none; one that asks for machine labels is not about clusters as a whole.
    """

    name: str
    subjects: tuple[str, ...]  # `user:a@example.com`, `service-account:ci`, `role:reader`
    effect: str = GRANT
    role: str = ""  # empty: says nothing about roles
    clusters: tuple[str, ...] = ()
    cluster_labels: str = ""
    machine_labels: str = ""
    kubernetes_groups: tuple[str, ...] = ()
    talos_methods: tuple[str, ...] = ()  # `machine.MachineService/Logs`

    def names(self, subject: str, role: str | None) -> bool:
        """Whether it is about this subject, whose role in the organisation is `role`."""
        spoken = (subject, f"role:{role}")
        return any(fnmatchcase(one, pattern) for one in spoken for pattern in self.subjects)

    def covers(self, facts: Facts) -> bool:
        """Whether it is about this object. Raises ValueError for a selector that cannot be read."""
        if self.clusters and not _any(self.clusters, facts.cluster):
            return False
        if self.cluster_labels and not (facts.cluster and _selected(self.cluster_labels, facts.cluster_labels)):
            return False
        if self.machine_labels:
            return facts.kind == "machine" and _selected(self.machine_labels, facts.machine_labels)
        return True


@dataclass(frozen=True)
class Standing:
    """What a subject is towards an object. `why` names the policies that made it so."""

    role: str | None
    groups: tuple[str, ...] = ()  # of Kubernetes
    methods: tuple[str, ...] = ()  # of Talos, beyond the role
    only: tuple[tuple[str, ...], ...] = ()  # of Talos: each of these lists has to have the method
    why: tuple[str, ...] = ()

    def reaches(self, needed: str) -> bool:
        """Whether the role is at least `needed`."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(needed)

    def may_call(self, method: str, needed: str) -> bool:
        """Whether a Talos method (`machine.MachineService/Logs`) that needs a role may be called."""
        if self.role is None or not all(_any(patterns, method) for patterns in self.only):
            return False
        return self.reaches(needed) or _any(self.methods, method)


def group_of(role: str) -> str:
    """The Kubernetes group that stands for a role."""
    return f"omni:{role}"


def standing(role: str | None, subject: str, ceiling: str, rules: Iterable[Rule], facts: Facts) -> Standing:
    """What `subject`, who has `role` in the organisation, is towards an object. Nobody without a role is lifted."""
    if role is None:
        return Standing(None)
    about = [rule for rule in rules if rule.names(subject, role) and rule.covers(facts)]
    grants = [rule for rule in about if rule.effect == GRANT]
    limits = [rule for rule in about if rule.effect == LIMIT and role != "owner"]
    now: str | None = min(
        max([role, *(rule.role for rule in grants if rule.role)], key=ROLES.index), ceiling, key=ROLES.index
    )
    for rule in limits:
        if now is not None and rule.role:
            now = None if rule.role == NONE else min(now, rule.role, key=ROLES.index)
    why = tuple(rule.name for rule in [*grants, *limits])
    if now is None:
        return Standing(None, why=why)
    groups = dict.fromkeys([group_of(now), *(group for rule in grants for group in rule.kubernetes_groups)])
    kept = [rule.kubernetes_groups for rule in limits if rule.kubernetes_groups]
    return Standing(
        now,
        tuple(group for group in groups if all(_any(patterns, group) for patterns in kept)),
        tuple(method for rule in grants for method in rule.talos_methods),
        tuple(rule.talos_methods for rule in limits if rule.talos_methods),
        why,
    )


def _any(patterns: Iterable[str], text: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _selected(selector: str, labels: object) -> bool:
    return all(term.matches(labels) for term in parse_selector(selector))  # type: ignore[arg-type]
