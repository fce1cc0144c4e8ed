"""A policy as people write it, read with care: what is wrong is said with what would be right. Pure."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from apps.access.actor import ROLES
from apps.access.methods import METHODS
from apps.access.policy import GRANT, LIMIT, NONE, Rule
from talos.selectors import parse_selector

FIELDS: dict[str, str] = {
    "subjects": "Whom it is about: `user:ADDRESS`, `service-account:NAME`, `role:ROLE`, or `*`; globs match several.",
    "effect": "`grant` gives more than the role in the organisation, `limit` leaves less.",
    "role": "Of a grant: at least this role there. Of a limit: at most this one; `none` shuts out.",
    "clusters": "Only these clusters and their machines: names or globs.",
    "cluster_labels": "Only clusters with these labels, and their machines: `env = prod, tier in (a, b)`.",
    "machine_labels": "Only machines with these labels, in clusters or not.",
    "kubernetes_groups": "A grant adds these groups; a limit keeps only groups that one of these names or globs fits.",
    "talos_methods": "A grant allows these Talos methods beyond the role; a limit keeps only these: names or globs.",
}
"""The fields of a policy beside its name and description, with what each means."""

SUBJECT_KINDS = ("user:", "service-account:", "role:")

_MOST, _LONGEST = 100, 254


class Wrong(ValueError):
    """What is wrong, by field."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{name}: {text}" for name, texts in errors.items() for text in texts))


def read(name: str, given: Mapping[str, Any]) -> Rule:
    """The policy that somebody wrote. Raises Wrong with everything that is wrong with it."""
    errors: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    for field, value in given.items():
        if field not in FIELDS:
            close = get_close_matches(str(field), FIELDS, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(FIELDS)}"
            errors[str(field)] = [f"a policy has no such field{hint}"]
            continue
        read_field = _TEXTS.get(field, _list)
        try:
            values[field] = read_field(value)
        except ValueError as error:
            errors[field] = [str(error)]
    if not errors:
        rule = Rule(name=name, **{"subjects": (), **{key: value for key, value in values.items() if value}})
        errors = {field: texts for field, check in _CHECKS.items() if (texts := check(rule))}
    if errors:
        raise Wrong(errors)
    return rule


def written(rule: Rule) -> dict[str, Any]:
    """A policy as it is kept and shown: every field that says something, in the order of `FIELDS`."""
    values = {field: getattr(rule, field) for field in FIELDS}
    return {field: list(value) if isinstance(value, tuple) else value for field, value in values.items() if value}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is expected")
    return value.strip()


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of texts is expected")
    found = tuple(dict.fromkeys(item.strip() for item in value if item.strip()))
    if len(found) > _MOST:
        raise ValueError(f"{len(found)} entries; at most {_MOST} are kept: use a glob, or a second policy")
    if long := next((item for item in found if len(item) > _LONGEST), ""):
        raise ValueError(f"“{long[:40]}…” has {len(long)} characters; at most {_LONGEST} are kept")
    if odd := next((item for item in found if not item.isprintable() or any(map(str.isspace, item))), ""):
        raise ValueError(f"“{odd[:40]}” has a space in it; write one entry for each name")
    return found


_TEXTS: dict[str, Callable[[Any], Any]] = dict.fromkeys(("effect", "role", "cluster_labels", "machine_labels"), _text)


def _subjects(rule: Rule) -> list[str]:
    if not rule.subjects:
        return ["it is about nobody; name somebody, e.g. user:a@example.com, or * for everybody"]
    return [problem for subject in rule.subjects if (problem := _glob(subject) or _subject(subject))]


def _subject(subject: str) -> str:
    kind, colon, name = subject.partition(":")
    if subject == "*":
        return ""
    if f"{kind}:" not in SUBJECT_KINDS or not colon or not name:
        right = f"user:{subject}" if "@" in subject else f"role:{subject}" if subject in ROLES else ""
        forms = f"write {right}" if right else "write user:ADDRESS, service-account:NAME, role:ROLE or *"
        return f"“{subject}” is nobody; {forms}"
    if kind == "role" and not any(fnmatchcase(role, name) for role in ROLES):
        return f"there is no role “{name}”; roles are {', '.join(ROLES)}"
    if kind == "user" and name != name.lower():
        return f"addresses are kept in lower case; write {subject.lower()}"
    return ""


def _effect(rule: Rule) -> list[str]:
    if rule.effect not in (GRANT, LIMIT):
        return [f"“{rule.effect}” is no effect; write {GRANT} to give more, {LIMIT} to leave less"]
    return []


def _role(rule: Rule) -> list[str]:
    limit = rule.effect == LIMIT
    if not (rule.role or rule.kubernetes_groups or rule.talos_methods):
        return ["it changes nothing; give a role, kubernetes_groups or talos_methods"]
    if rule.role == NONE and not limit:
        return [f"a grant takes nothing away; to shut somebody out write effect {LIMIT}"]
    if rule.role == ROLES[-1] and limit:
        return [f"at most {ROLES[-1]} is no limit; write one of {NONE}, {', '.join(ROLES[:-1])}"]
    known = [NONE, *ROLES[:-1]] if limit else list(ROLES)
    return [] if not rule.role or rule.role in known else [f"there is no role “{rule.role}”; write {', '.join(known)}"]


def _groups(rule: Rule) -> list[str]:
    if rule.kubernetes_groups and rule.machine_labels:
        return ["groups are for clusters as a whole, and machine_labels leaves single machines: make two policies"]
    if rule.effect == LIMIT:
        return [problem for group in rule.kubernetes_groups if (problem := _glob(group))]
    globs = [group for group in rule.kubernetes_groups if any(sign in group for sign in "*?[")]
    return [f"“{group}” is a glob; a grant names each group that it adds" for group in globs]


def _methods(rule: Rule) -> list[str]:
    return [problem for method in rule.talos_methods if (problem := _glob(method) or _method(method))]


def _method(pattern: str) -> str:
    if any(fnmatchcase(method, pattern) for method in METHODS):
        return ""
    name = pattern.rpartition("/")[2]
    close = [method for method in METHODS if method.endswith(f"/{name}")] or get_close_matches(pattern, METHODS, 1, 0.7)
    hint = f"write {' or '.join(close)}" if close else "write one like machine.MachineService/Logs, or a glob"
    return f"no Talos method is called “{pattern}”; {hint}"


def _clusters(rule: Rule) -> list[str]:
    return [problem for cluster in rule.clusters if (problem := _glob(cluster))]


def _glob(pattern: str) -> str:
    opened = pattern.rfind("[")
    if opened >= 0 and "]" not in pattern[opened + 2 :]:
        return f"“{pattern}” has a [ without its ]"
    return ""


def _selector(field: str) -> Callable[[Rule], list[str]]:
    def check(rule: Rule) -> list[str]:
        try:
            parse_selector(getattr(rule, field) or "anything")
        except ValueError as error:
            return [str(error)]
        return []

    return check


_CHECKS: dict[str, Callable[[Rule], list[str]]] = {
    "subjects": _subjects,
    "effect": _effect,
    "role": _role,
    "clusters": _clusters,
    "cluster_labels": _selector("cluster_labels"),
    "machine_labels": _selector("machine_labels"),
    "kubernetes_groups": _groups,
    "talos_methods": _methods,
}
