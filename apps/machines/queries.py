"""Reading machines: one query for a list, whatever its filters; link, observation, status and cluster are joined in."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from apps.access.actor import Actor
from apps.access.check import hidden_by
from apps.access.facts import Facts
from apps.machines.models import Agent, JoinToken, Link, Machine, MachineObservation
from talos.selectors import parse_selector

_FIELDS = {
    "state": "observation__stage",
    "stage": "observation__stage",
    "talos": "observation__talos_version",
    "arch": "observation__arch",
    "platform": "observation__platform",
    "cluster": "cluster_machine__cluster__name",
    "transport": "observation__transport",
    "role": "cluster_machine__role",
}
"""Words of a query and the column each stands for."""

SORTS = {
    "name": ("observation__hostname", "uuid"),
    "state": ("observation__connected", "observation__stage", "uuid"),
    "cluster": ("cluster_machine__cluster__name", "uuid"),
    "talos": ("observation__talos_version", "uuid"),
    "joined": ("created_at", "uuid"),
    "memory": ("observation__memory_mib", "uuid"),
    "cores": ("observation__cores", "uuid"),
}

_LONG = ("hardware", "disks", "network", "extensions", "security", "meta", "kernel_cmdline")
"""Columns of an observation that no list shows."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TERM = re.compile(r"(?P<key>[a-z-]+)(?P<op>!=|=)(?P<value>\S*)")


def machines() -> QuerySet[Machine]:
    """All machines of the organisation in scope, with everything a list or page shows of them."""
    return Machine.objects.select_related(
        "link", "link__join_token", "observation", "status", "cluster_machine", "cluster_machine__cluster"
    )


def listed() -> QuerySet[Machine]:
    """The same without what only the page of one machine shows: it is by far the most of a machine."""
    return machines().defer(*(f"observation__{name}" for name in _LONG))


def visible(actor: Actor, rows: QuerySet[Machine]) -> QuerySet[Machine]:
    """Those of the machines that no policy shuts an actor out of."""
    rules = hidden_by(actor)
    if not rules:
        return rows
    hidden = [id for id, facts in facts_of(Machine.objects.all()) if any(rule.covers(facts) for rule in rules)]
    return rows.exclude(id__in=hidden) if hidden else rows


def facts_of(rows: QuerySet[Machine]) -> Iterator[tuple[UUID, Facts]]:
    """What policies ask of machines, each with its id; the same as `Machine.facts`, by one narrow query."""
    names = ("id", "uuid", "observation__hostname", "labels", _IMAGE_LABELS, "observation__api_mode")
    cluster = ("cluster_machine__cluster__name", "cluster_machine__cluster__labels")
    for id, uuid, hostname, labels, image, mode, name, cluster_labels in rows.values_list(*names, *cluster):
        merged = {**(image or {}), **labels}
        yield (
            id,
            Facts("machine", uuid, hostname or uuid, name or "", cluster_labels or {}, merged, mode == "maintenance"),
        )


def search(rows: QuerySet[Machine], text: str) -> QuerySet[Machine]:
    """Narrow by a query: free words (name, UUID, address) and `key=value`, `key!=value`, `label:selector`.

    Raises ValueError with the word that is not understood.
    """
    if "\0" in text:
        raise ValueError("a NUL character is in no name")
    for word in text.split():
        if word.startswith("label:"):
            rows = _by_label(rows, word.removeprefix("label:"))
            continue
        match = _TERM.fullmatch(word)
        if match is None:
            rows = rows.filter(
                Q(uuid__icontains=word)
                | Q(observation__hostname__icontains=word)
                | Q(observation__addresses__icontains=word)
                | Q(link__address__icontains=word)
            )
            continue
        condition = _condition(match["key"], match["value"])
        rows = rows.filter(condition) if match["op"] == "=" else rows.exclude(condition)
    return rows


def _condition(key: str, value: str) -> Q:
    if key in ("connected", "reachable", "ready"):
        return Q(**{f"observation__{key}": value in ("true", "yes", "1")})
    if key == "free":
        return Q(cluster_machine__isnull=value in ("true", "yes", "1"))
    if key == "state" and value in _DERIVED:
        return _DERIVED[value]
    if key == "token":
        return Q(**{f"link__join_token__{'id' if _UUID.fullmatch(value) else 'name'}": value})
    if key not in _FIELDS:
        known = ", ".join(sorted({*_FIELDS, "connected", "reachable", "ready", "free", "token"}))
        raise ValueError(f"“{key}” is nothing machines can be filtered by; try one of {known}")
    return Q(**{_FIELDS[key]: value})


_DERIVED = {
    "off": Q(observation__connected=False),
    "free": Q(observation__connected=True, observation__stage="maintenance", cluster_machine__isnull=True),
    "waiting": Q(observation__connected=True, observation__stage="maintenance", cluster_machine__isnull=False),
    "degraded": Q(observation__connected=True, observation__stage="running", observation__ready=False),
    "ready": Q(observation__connected=True, observation__stage="running", observation__ready=True),
}


def _by_label(rows: QuerySet[Machine], selector: str) -> QuerySet[Machine]:
    """Narrow by the labels of machines and, under them, of their images."""
    for number, term in enumerate(parse_selector(selector)):
        name = f"label_{number}"
        rows = rows.alias(
            **{name: Coalesce(KeyTextTransform(term.key, "labels"), KeyTextTransform(term.key, _IMAGE_LABELS))}
        )
        if term.op == "exists":
            rows = rows.filter(**{f"{name}__isnull": False})
        elif term.op == "absent":
            rows = rows.filter(**{f"{name}__isnull": True})
        elif term.op == "in":
            rows = rows.filter(**{f"{name}__in": term.values})
        elif term.op == "notin":
            rows = rows.filter(Q(**{f"{name}__isnull": True}) | ~Q(**{f"{name}__in": term.values}))
        else:
            raise ValueError(f"{term.op} does not work in a search; use =, !=, in, notin or a bare key")
    return rows


_IMAGE_LABELS = "observation__image_labels"


def counts(rows: QuerySet[Machine] | None = None) -> dict[str, int]:
    """How many machines, of all or of these, are in each of the derived states, and altogether."""
    found = {name: Count("id", filter=condition) for name, condition in _DERIVED.items()}
    return (Machine.objects.all() if rows is None else rows).aggregate(all=Count("id"), **found)


def labels_of(machine: Machine) -> dict[str, str]:
    """The labels a selector sees: facts of the machine, over them those of its image, over them the user's."""
    observed: MachineObservation = machine.observation
    facts: Mapping[str, Any] = {
        "omni.sidero.dev/arch": observed.arch,
        "omni.sidero.dev/platform": observed.platform,
        "omni.sidero.dev/talos-version": observed.talos_version,
        "omni.sidero.dev/cores": str(observed.cores) if observed.cores else "",
        "omni.sidero.dev/mem": str(observed.memory_mib // 1024) if observed.memory_mib else "",
        "omni.sidero.dev/storage": str(observed.disk_bytes // 10**9) if observed.disk_bytes else "",
    }
    flags = {
        "omni.sidero.dev/connected": observed.connected,
        "omni.sidero.dev/disconnected": not observed.connected,
        "omni.sidero.dev/installed": observed.installed,
        "omni.sidero.dev/available": not hasattr(machine, "cluster_machine"),
    }
    return (
        {key: str(value) for key, value in facts.items() if value}
        | {key: "" for key, held in flags.items() if held}
        | {str(key): str(value) for key, value in observed.image_labels.items()}
        | {str(key): str(value) for key, value in machine.labels.items()}
    )


def join_tokens() -> QuerySet[JoinToken]:
    """The join tokens of the organisation in scope, each with `machines` (how many are here now that came with it),
    `pending` (how many called with it and are not registered) and `agents` (how many it lets connect)."""

    def counted(rows: QuerySet[Any]) -> Coalesce:
        mine = rows.filter(join_token=OuterRef("id")).order_by().values("join_token")
        number = mine.annotate(number=Count("id")).values("number")
        return Coalesce(Subquery(number, output_field=IntegerField()), 0)

    return JoinToken.objects.annotate(
        machines=counted(Link.objects.filter(state=Link.ESTABLISHED)),
        pending=counted(Link.objects.filter(state=Link.PENDING)),
        agents=counted(Agent.objects.filter(removed_at=None)),
    )


def search_join_tokens(rows: QuerySet[JoinToken], text: str) -> QuerySet[JoinToken]:
    """Narrow by a text in the name. Raises ValueError for a text that no name has."""
    if "\0" in text:
        raise ValueError("a NUL character is in no name")
    return rows.filter(name__icontains=text.strip())
