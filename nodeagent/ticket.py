"""Leave to make one call or hold one connection, for as long as whoever gave it does not take it back."""

import asyncio
from typing import Protocol


class Ticket(Protocol):
    """What a proxy holds while it carries something for somebody."""

    @property
    def withdrawn(self) -> "asyncio.Future[str]":
        """Done, with a sentence for the caller, when what is under way has to end: a key was revoked, a session ended,
        the machine went to another tenant."""

    def over(self, outcome: str) -> None:
        """The call or connection has ended, however: `OK`, a gRPC code's name, an HTTP status. Exactly once."""
