"""What policies may ask of an object: the one form in which clusters and machines stand before `check`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Facts:
    """A cluster, or a machine with the cluster it is in, if it is in one."""

    kind: str  # cluster, machine
    id: str
    name: str
    cluster: str = ""  # name of the cluster; empty for a machine in none
    cluster_labels: Mapping[str, str] = field(default_factory=dict)
    machine_labels: Mapping[str, str] = field(default_factory=dict)
    maintenance: bool = False  # a machine that answers without a configuration

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{' in maintenance mode' if self.maintenance else ''}"


class Governed(Protocol):
    """An object that policies can be about."""

    @property
    def facts(self) -> Facts:
        """As policies see it."""
