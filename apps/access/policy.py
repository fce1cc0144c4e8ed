"""What somebody is towards one cluster or machine: their role, lifted and limited by policies. Pure.

A grant lifts the role, adds Kubernetes groups, and allows Talos methods beyond the role. A limit lowers the role
(`none` shuts out), keeps of the Kubernetes groups and of the Talos methods only those it names. Limits win over
grants, and do not bind owners: somebody has to be able to undo them. A credential's ceiling is one more limit, which
binds everybody. Where the role is lowered, by either, what grants add beside it is lowered too: methods that need more
than is left are refused, and added groups, whose weight nobody here knows, are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from apps.access.actor import ROLES
from apps.access.facts import Facts
from talos.selectors import Term, parse_selector

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
        return fits(self.subjects, subject) or fits(self.subjects, f"role:{role}")

    def covers(self, facts: Facts) -> bool:
        """Whether it is about this object. Raises ValueError for a selector that cannot be read."""
        if self.clusters and not (facts.cluster and fits(self.clusters, facts.cluster)):
            return False
        if self.cluster_labels and not (facts.cluster and _selected(self.cluster_labels, facts.cluster_labels)):
            return False
        if self.machine_labels:
            return facts.kind == "machine" and _selected(self.machine_labels, facts.machine_labels)
        return True


@dataclass(frozen=True)
class Standing:
    """What a subject is towards an object, and why: the policies about both, in order of their names."""

    role: str | None
    own: str | None = None  # in the organisation
    uncapped: str | None = None  # as grants lift it, before ceiling and limits
    ceiling: str = ROLES[-1]  # of the credential
    cap: str = ROLES[-1]  # the most that ceiling and limits leave
    grants: tuple[Rule, ...] = ()
    limits: tuple[Rule, ...] = ()

    @property
    def shut_out(self) -> bool:
        """Whether a limit alone is why there is no role: the object is not there for them."""
        return self.role is None and bool(self.limits)

    @property
    def why(self) -> tuple[str, ...]:
        """Names of all policies about both."""
        return tuple(rule.name for rule in (*self.grants, *self.limits))

    @property
    def decided_by(self) -> tuple[str, ...]:
        """Names of the policies without which the role would be another one."""
        if self.own is None or self.uncapped is None:
            return ()
        if self.role != _lowest([self.uncapped, self.ceiling]):
            return tuple(rule.name for rule in self.limits if rule.role == (self.role or NONE))
        if self.role == _lowest([self.own, self.ceiling]):
            return ()
        return tuple(rule.name for rule in self.grants if rule.role and reaches(rule.role, self.role))

    @property
    def groups(self) -> tuple[str, ...]:
        """Of Kubernetes."""
        if self.role is None:
            return ()
        added = [group for rule in self.grants for group in rule.kubernetes_groups] if self._whole else []
        groups = dict.fromkeys([group_of(self.role), *added])
        kept = [rule.kubernetes_groups for rule in self.limits if rule.kubernetes_groups]
        return tuple(group for group in groups if all(fits(patterns, group) for patterns in kept))

    @property
    def _whole(self) -> bool:
        """Whether nothing lowers what the role and grants make."""
        return self.uncapped is not None and reaches(self.cap, self.uncapped)

    @property
    def limits_on_groups(self) -> tuple[str, ...]:
        """Names of the limits that keep only some Kubernetes groups."""
        return tuple(rule.name for rule in self.limits if rule.kubernetes_groups)

    @property
    def methods(self) -> tuple[str, ...]:
        """Of Talos, beyond the role, as far as `cap` goes."""
        return tuple(method for rule in self.grants for method in rule.talos_methods)

    def limits_without(self, method: str) -> tuple[str, ...]:
        """Names of the limits that keep some Talos methods and not this one."""
        keeping = [rule for rule in self.limits if rule.talos_methods]
        return tuple(rule.name for rule in keeping if not fits(rule.talos_methods, method))

    def reaches(self, needed: str) -> bool:
        """Whether the role is at least `needed`."""
        return self.role is not None and reaches(self.role, needed)

    def may_call(self, method: str, needed: str) -> bool:
        """Whether a Talos method (`machine.MachineService/Logs`) that needs a role may be called."""
        if self.role is None or self.limits_without(method):
            return False
        return self.reaches(needed) or (reaches(self.cap, needed) and fits(self.methods, method))


def reaches(role: str, needed: str | None) -> bool:
    """Whether a role may do what `needed` may; everything may what nobody has to be anything for."""
    return needed is None or ROLES.index(role) >= ROLES.index(needed)


def group_of(role: str) -> str:
    """The Kubernetes group that stands for a role."""
    return f"omni:{role}"


def standing(role: str | None, subject: str, ceiling: str, rules: Iterable[Rule], facts: Facts) -> Standing:
    """What `subject`, who has `role` in the organisation, is towards an object with a credential of this ceiling.

    Nobody without a role is lifted.
    """
    if role is None:
        return Standing(None)
    about = sorted(
        (rule for rule in rules if rule.names(subject, role) and rule.covers(facts)), key=lambda rule: rule.name
    )
    grants = tuple(rule for rule in about if rule.effect == GRANT)
    limits = tuple(rule for rule in about if rule.effect == LIMIT and role != ROLES[-1])
    uncapped = _highest([role, *(rule.role for rule in grants if rule.role)])
    cap = _lowest([ceiling, *(rule.role for rule in limits if rule.role in ROLES)])
    shut_out = any(rule.role == NONE for rule in limits)
    held = None if shut_out else _lowest([uncapped, cap])
    return Standing(held, role, uncapped, ceiling, cap, grants, limits)


def lifted_anywhere(role: str, subject: str, ceiling: str, rules: Iterable[Rule]) -> str:
    """The highest role that `subject` may have on any object."""
    grants = (rule.role for rule in rules if rule.effect == GRANT and rule.role and rule.names(subject, role))
    return _lowest([_highest([role, *grants]), ceiling])


def hiding(role: str | None, subject: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The limits that shut a subject out of what they cover."""
    if role is None or role == ROLES[-1]:
        return ()
    return tuple(rule for rule in rules if rule.effect == LIMIT and rule.role == NONE and rule.names(subject, role))


def fits(patterns: Iterable[str], text: str) -> bool:
    """Whether a text is one of these names, or fits one of these globs."""
    return any(_fits(pattern, text) for pattern in patterns)


@lru_cache(maxsize=65_536)
def _fits(pattern: str, text: str) -> bool:
    """Remembered: the same few names and globs meet at each check."""
    return fnmatchcase(text, pattern)


def _highest(roles: Iterable[str]) -> str:
    return max(roles, key=ROLES.index)


def _lowest(roles: Iterable[str]) -> str:
    return min(roles, key=ROLES.index)


def _selected(selector: str, labels: Mapping[str, str]) -> bool:
    return all(term.matches(labels) for term in _terms(selector))


@lru_cache(maxsize=1024)
def _terms(selector: str) -> tuple[Term, ...]:
    return parse_selector(selector)
