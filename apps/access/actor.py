"""The one who acts: a person in a browser, an API token, a machine, or the system itself."""

from dataclasses import dataclass
from uuid import UUID

ROLES = ("reader", "operator", "admin", "owner")  # each may do what those before it may


@dataclass(frozen=True)
class Actor:
    """Who acts for which organisation. `role` is None for machines and the system, which act by their own rules."""

    kind: str  # user, token, system, machine
    id: str
    name: str
    organisation_id: UUID
    role: str | None = None
    request_id: str = ""
    source: str = ""


def system(organisation_id: UUID, name: str = "system") -> Actor:
    """The control plane acting on its own account, e.g. a reconciler."""
    return Actor(kind="system", id=name, name=name, organisation_id=organisation_id)
