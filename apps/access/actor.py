"""The one who acts: a person in a browser, an API token, a machine, or the system itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from apps.access.policy import Rule

ROLES = ("reader", "operator", "admin", "owner")  # each may do what those before it may


@dataclass(frozen=True)
class Actor:
    """Who acts for which organisation. `role` is None for machines and the system, which act by their own rules."""

    kind: str  # user, token, key, service-account, agent, system, machine
    id: str
    name: str
    organisation_id: UUID
    role: str | None = None  # in the organisation, before any policy; never above `ceiling`
    request_id: str = ""
    source: str = ""
    subject: str = ""  # what policies name it by: `user:ADDRESS` or `service-account:NAME`
    ceiling: str = "owner"  # of a credential that gives less than its holder has; no policy lifts it above this
    rules: tuple[Rule, ...] = ()  # the organisation's policies, read when the actor was
    holder_role: str | None = None  # of the person or service account behind a credential, where that gives less

    @property
    def own_role(self) -> str | None:
        """The role that policies begin with: not the credential's, or a lesser one would escape their limits."""
        return self.holder_role or self.role


def system(organisation_id: UUID, name: str = "system") -> Actor:
    """The control plane acting on its own account, e.g. a reconciler."""
    return Actor(kind="system", id=name, name=name, organisation_id=organisation_id)
