"""Policies in words, for people. Pure."""

from collections.abc import Sequence

from apps.access.policy import GRANT, NONE, Rule

NAMED = 3
"""Names of one kind that a sentence has; the others are counted."""


def whom(rule: Rule) -> str:
    """Whom it is about: `everybody`, `ci and every reader`."""
    return _joined([_subject(subject) for subject in rule.subjects], "others")


def gives(rule: Rule) -> str:
    """What it gives or leaves: `at least operator, group developers`."""
    grant = rule.effect == GRANT
    parts = []
    if rule.role:
        parts.append("nothing (shut out)" if rule.role == NONE else f"{'at least' if grant else 'at most'} {rule.role}")
    if rule.kubernetes_groups:
        several = "s" if len(rule.kubernetes_groups) > 1 else ""
        groups = _joined(rule.kubernetes_groups, "more")
        parts.append(f"{'group' if grant else 'of Kubernetes only group'}{several} {groups}")
    if rule.talos_methods:
        methods = _joined(
            [method.rpartition("/")[2] if "/" in method else method for method in rule.talos_methods], "more"
        )
        parts.append(f"{'Talos' if grant else 'of Talos only'} {methods}")
    return ", ".join(parts)


def about(rule: Rule) -> str:
    """What it is about: `everything`, `clusters prod-*`, `machines with disk = ssd`."""
    clusters = " ".join(
        part
        for part in (
            f"cluster{'s' if len(rule.clusters) > 1 or any(sign in rule.clusters[0] for sign in '*?[') else ''} "
            f"{_joined(rule.clusters, 'more')}"
            if rule.clusters
            else "",
            f"{'' if rule.clusters else 'clusters '}with {rule.cluster_labels}" if rule.cluster_labels else "",
        )
        if part
    )
    if rule.machine_labels:
        return f"machines with {rule.machine_labels}{f' of {clusters}' if clusters else ''}"
    return clusters or "everything"


def _subject(subject: str) -> str:
    kind, _, name = subject.partition(":")
    if subject == "*":
        return "everybody"
    if kind == "role":
        return "every member" if name == "*" else f"every {name}"
    if name == "*":
        return "every person" if kind == "user" else "every service account"
    return name


def _joined(names: Sequence[str], rest: str) -> str:
    shown = list(names[:NAMED])
    if len(names) > NAMED:
        shown = [*names[: NAMED - 1], f"{len(names) - NAMED + 1} {rest}"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
