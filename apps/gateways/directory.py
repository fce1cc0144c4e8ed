"""Which machine is at which overlay address: the gateway's memory of all links, and of who holds them."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from nodeagent.ports import Link


@dataclass(frozen=True)
class Known:
    """A link and whose it is. `machine_id` is None while the link is pending."""

    link: Link
    organisation_id: UUID
    machine_id: UUID | None
    uuid: str  # as the machine says it
    fingerprint: str = ""  # that its hardware has to have while it has no configuration, if the link proves less
    gateway: str = ""  # name of the gateway that holds it
    alive: bool = False  # stored: its machine is heard there
    provisioned_at: datetime | None = None

    @property
    def link_id(self) -> UUID:
        return UUID(self.link.id)


class Directory:
    """Known links by id, address, machine and key."""

    def __init__(self) -> None:
        self._by_id: dict[str, Known] = {}
        self._by_address: dict[str, Known] = {}
        self._by_machine: dict[UUID, Known] = {}
        self._by_key: defaultdict[str, dict[str, Known]] = defaultdict(dict)

    def put(self, known: Known) -> None:
        """Add or replace a link."""
        self.drop(known.link.id)
        self._by_id[known.link.id] = self._by_address[known.link.address] = known
        if known.link.public_key:
            self._by_key[known.link.public_key][known.link.id] = known
        if known.machine_id is not None:
            self._by_machine[known.machine_id] = known

    def drop(self, link_id: str) -> Known | None:
        """Forget a link."""
        known = self._by_id.pop(link_id, None)
        if known is None:
            return None
        self._by_address.pop(known.link.address, None)
        same_key = self._by_key.get(known.link.public_key, {})
        same_key.pop(link_id, None)
        if not same_key:
            self._by_key.pop(known.link.public_key, None)
        if known.machine_id is not None:
            self._by_machine.pop(known.machine_id, None)
        return known

    def at(self, address: str) -> Known | None:
        """The link of an overlay address."""
        return self._by_address.get(address)

    def link(self, link_id: str) -> Known | None:
        """The link of an id."""
        return self._by_id.get(link_id)

    def machine(self, machine_id: UUID) -> Known | None:
        """The link of a registered machine."""
        return self._by_machine.get(machine_id)

    def others_with_key(self, known: Known) -> list[Known]:
        """Links that hold the key of `known` too: pending ones that became it."""
        same_key = self._by_key.get(known.link.public_key, {})
        return [other for id, other in same_key.items() if id != known.link.id]

    def all(self) -> list[Known]:
        """Every known link."""
        return list(self._by_id.values())

    def moved(self, link_id: str, endpoint: str) -> None:
        """Remember the endpoint a link was last seen at."""
        known = self._by_id.get(link_id)
        if known is not None:
            self.put(replace(known, link=replace(known.link, last_endpoint=endpoint)))
