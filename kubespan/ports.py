"""What rooms above decide for the discovery service."""

import enum
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol


class Act(enum.Enum):
    """What a client wants to do."""

    HELLO = "hello"
    LIST = "list"
    WATCH = "watch"
    PUBLISH = "publish"
    """Set an affiliate's data, maybe with endpoints."""

    ENDPOINTS = "endpoints"
    """Add endpoints to an affiliate, as nodes do for others that they see."""

    DELETE = "delete"


class Gate(Protocol):
    """Who may do what, for clients that come where their address proves who they are."""

    async def refusal(
        self, source: IPv4Address | IPv6Address | None, cluster_id: str, affiliate_id: str, act: Act
    ) -> str | None:
        """Why it may not be, as a text for the client (PERMISSION_DENIED), or None when it may.

        Asked on every call, and once when a watch begins, after ids were checked and before anything else is done.
        `affiliate_id` is empty for acts that name none. A node that is refused an update stops watching for up to
        15 minutes; refused at hello or watch it asks again within 90 seconds. So what may be temporary is refused
        there, not at an update.
        """
