"""What has to change so that the stored resources become those of a template.

Pure: the caller reads what is stored, shows the plan, and applies it in order: creates, updates, then each group of
deletions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from talos.template import resources as kinds
from talos.template.resources import Resource
from talos.textdiff import unified


@dataclass(frozen=True)
class Change:
    """One resource as it is and as it shall be; ``old`` is None for a new one, ``new`` for one that goes."""

    old: Resource | None
    new: Resource | None

    @property
    def resource(self) -> Resource:
        """As it shall be, or as it was where it goes."""
        if (resource := self.new or self.old) is None:
            raise ValueError("a change has a resource before or after it")
        return resource

    def diff(self) -> str:
        """The change as a unified text difference of the written forms, without a header."""
        before = _in_order_of(self.old, self.new).render() if self.old else ""
        return unified(before, self.new.render() if self.new else "")


def _in_order_of(old: Resource, new: Resource | None) -> Resource:
    """The old resource with its keys in the new one's order: a store need not keep it, and it is no change."""
    if new is None:
        return old
    return replace(
        old,
        spec=_ordered(old.spec, new.spec),
        labels=_ordered(old.labels, new.labels),
        annotations=_ordered(old.annotations, new.annotations),
    )


def _ordered(value: Any, like: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(like, Mapping):
        keys = [key for key in like if key in value] + [key for key in value if key not in like]
        return {key: _ordered(value[key], like.get(key)) for key in keys}
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return [_ordered(item, other) for item, other in zip(value, like, strict=True)]
    return value


@dataclass
class Plan:
    """The steps of a sync. With ``conflicts`` none of them may be taken: each says what is in the way."""

    create: list[Resource] = field(default_factory=list)
    update: list[Change] = field(default_factory=list)
    destroy: list[list[Resource]] = field(default_factory=list)
    """Groups in order; every member of one is gone before the next begins."""
    conflicts: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.create or self.update or self.destroy or self.conflicts)

    def changes(self) -> list[Change]:
        """Every change in the order in which it is made."""
        return [
            *(Change(None, resource) for resource in self.create),
            *self.update,
            *(Change(resource, None) for group in self.destroy for resource in group),
        ]


def plan(cluster: str, desired: list[Resource], stored: Iterable[Resource]) -> Plan:
    """Compare the resources of a template with what is stored.

    ``stored`` holds the cluster, everything with its label, what belongs to the machines of either side, and whatever
    has the id of a desired resource, of any cluster. What controllers own is left alone, and stands in the way of a
    desired resource of its id.
    """
    wanted = {resource.key: resource for resource in desired}
    kept_machines = {resource.id for resource in desired if resource.type == kinds.MACHINE_SET_NODE}
    result = Plan()
    going: list[Resource] = []
    for old in stored:
        new = wanted.pop(old.key, None)
        if new is not None:
            if (conflict := _conflict(cluster, old)) or (conflict := _moved(old, new)):
                result.conflicts.append(conflict)
            elif old != new:
                result.update.append(Change(old, new))
        elif old.owner or kinds.LABEL_MANAGED_NODE in old.labels:
            continue
        elif old.type in kinds.PER_MACHINE:
            if kinds.ANNOTATION_MANAGED not in old.annotations:
                continue
            if old.type == kinds.INSTALL_DISK and old.id in kept_machines:
                going.append(old)
            else:
                result.update.append(Change(old, _released(old)))
        elif old.cluster == cluster:
            going.append(old)
    result.create = _sorted(wanted.values())
    result.update.sort(key=lambda change: kinds.ORDER.index(change.resource.type))
    result.destroy = _groups(going)
    return result


def _conflict(cluster: str, old: Resource) -> str | None:
    if old.owner:
        return f"{old} exists and belongs to {old.owner}: give yours another id"
    if old.type not in kinds.PER_MACHINE and old.cluster != cluster:
        owner = old.cluster or "(none)"
        return f"{old} exists and belongs to cluster {owner}: remove it there first, or use another id"
    return None


def _moved(old: Resource, new: Resource) -> str | None:
    """Machines change their set by leaving one and, when they are clean, entering the other."""
    if old.type != kinds.MACHINE_SET_NODE:
        return None
    was, will = (resource.labels.get(kinds.LABEL_MACHINE_SET) for resource in (old, new))
    if was == will:
        return None
    return f"machine {old.id} is in {was}: sync a template without it first, then add it to {will}"


def _released(resource: Resource) -> Resource:
    """The resource without the mark of templates: its value stays, since taking it away would act on the machine."""
    annotations = {key: value for key, value in resource.annotations.items() if key != kinds.ANNOTATION_MANAGED}
    return resource.with_annotations(annotations)


def _groups(going: list[Resource]) -> list[list[Resource]]:
    """First what holds machines, then the rest. What goes with its parent is not listed."""
    keys = {resource.key for resource in going}
    listed = [resource for resource in going if not _goes_with_parent(resource, keys)]
    holding = (kinds.MACHINE_SET, kinds.MACHINE_SET_NODE)
    groups = [
        [resource for resource in listed if resource.type in holding],
        [resource for resource in listed if resource.type not in holding],
    ]
    return [_sorted(group) for group in groups if group]


def _goes_with_parent(resource: Resource, going: set[kinds.Key]) -> bool:
    if resource.type == kinds.CLUSTER or resource.type in kinds.PER_MACHINE:
        return False
    if resource.type == kinds.MACHINE_SET_NODE:
        return (kinds.MACHINE_SET, resource.labels.get(kinds.LABEL_MACHINE_SET, "")) in going or (
            kinds.CLUSTER,
            resource.cluster or "",
        ) in going
    return (kinds.CLUSTER, resource.cluster or "") in going


def _sorted(resources: Iterable[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda resource: kinds.ORDER.index(resource.type))
