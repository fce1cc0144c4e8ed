"""Who lives, and who of them owns a cluster: agreed upon before anybody orders a write.

Each process tells all others with whom it is linked and whom it takes to be alive: everybody to whom links lead, by
however many steps. It orders writes only while all of these say the same. What a process says travels in order with
what it wrote. So whoever becomes the owner of a cluster has seen all that the former owner wrote, and of processes
that can reach each other no two order writes of one cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True)
class Standing:
    """What one process says of itself. Processes are known by a number that each draws when it starts."""

    number: int  # the later of two that one process said is the greater one
    name: str  # for people
    linked: frozenset[int] = frozenset()
    living: frozenset[int] = frozenset()

    def encode(self) -> bytes:
        """As it is sent."""
        lists = {"linked": sorted(self.linked), "living": sorted(self.living)}
        return json.dumps({"number": self.number, "name": self.name, **lists}).encode()

    @staticmethod
    def decode(data: bytes) -> Standing:
        """Read what `encode` gave. Raises ValueError."""
        try:
            said = json.loads(data)
            linked, living = (frozenset(map(int, said[key])) for key in ("linked", "living"))
            return Standing(int(said["number"]), str(said["name"]), linked, living)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a standing: {error}") from None


class Circle:
    """All processes that are known, as one of them sees it."""

    def __init__(self, me: int, name: str) -> None:
        self.me = me
        self.said = {me: Standing(0, name, frozenset(), frozenset([me]))}
        self.living = frozenset([me])
        self.agreed = True
        self._steps: dict[int, int] = {}

    @property
    def mine(self) -> Standing:
        """What this process has to say."""
        return self.said[self.me]

    def link(self, linked: Iterable[int]) -> bool:
        """This process is linked with these now. Returns whether that is to be told: `mine` changed."""
        return self._say(frozenset(linked))

    def hear(self, who: int, standing: Standing) -> bool | None:
        """Another process said this. Returns whether `mine` changed for it, None when it was no news."""
        known = self.said.get(who)
        if who == self.me or (known is not None and known.number >= standing.number):
            return None
        self.said[who] = standing
        return self._say(self.mine.linked)

    def owner(self, cluster_id: bytes) -> int:
        """Who orders the writes of a cluster: the same answer wherever the same are alive."""
        if len(self.living) == 1:
            return self.me
        return max(self.living, key=lambda who: blake2b(cluster_id, digest_size=8, key=who.to_bytes(8)).digest())

    def step(self, to: int) -> int | None:
        """The linked process by which another one is reached, None when it is not."""
        return self._steps.get(to)

    def name(self, who: int) -> str:
        """For people."""
        return self.said[who].name if who in self.said else f"{who:x}"

    def _say(self, linked: frozenset[int]) -> bool:
        before = self.mine
        self.said[self.me] = Standing(before.number, before.name, linked, before.living)
        self._steps = self._reach()
        self.living = frozenset([self.me, *self._steps])
        self.said = {who: said for who, said in self.said.items() if who in self.living or who in linked}
        changed = (before.linked, before.living) != (linked, self.living)
        if changed:
            self.said[self.me] = Standing(before.number + 1, before.name, linked, self.living)
        self.agreed = all(self.said[who].living == self.living for who in self.living)
        return changed

    def _reach(self) -> dict[int, int]:
        """First steps to everybody. A link counts when both of its ends say that it is there."""
        steps: dict[int, int] = {}
        border = [self.me]
        while border:
            following = []
            for who in border:
                for other in sorted(self.said[who].linked):
                    known = self.said.get(other)
                    if other != self.me and other not in steps and known is not None and who in known.linked:
                        steps[other] = steps.get(who, other)
                        following.append(other)
            border = following
        return steps
