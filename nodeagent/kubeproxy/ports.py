"""What the Kubernetes proxy needs to know from above: who calls, as whom in the cluster, and where its API is."""

from dataclasses import dataclass
from typing import Protocol

from nodeagent.caller import Caller
from nodeagent.ticket import Ticket
from nodeagent.tls import Credentials


@dataclass(frozen=True)
class Request:
    """A request's head, as far as somebody decides about it. The address was `/k8s/ORGANISATION/CLUSTER` + `target`."""

    organisation: str
    cluster: str
    method: str
    target: str  # path and query as the cluster gets them
    token: str  # of `Authorization: Bearer`; empty without one
    command: str  # kubectl's `Kubectl-Command`, for the audit
    upgrade: bool  # exec, attach, port-forward
    caller: Caller


@dataclass(frozen=True)
class Passage:
    """An admitted request: who they are in the cluster, and its control planes."""

    user: str
    groups: tuple[str, ...]
    control_planes: tuple[str, ...]  # addresses for `dial`, those that answered last first
    credentials: Credentials  # of an administrator, who impersonates
    ticket: Ticket


class Refused(Exception):
    """The request is not made; `status` (401, 403, 404, 503) and the text go to the caller as a Kubernetes Status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Gate(Protocol):
    """Decides about requests."""

    async def admit(self, request: Request) -> Passage:
        """Raises Refused."""
