"""Meshes to look at: nodes in sites that all hear each other, and what can be wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kubespan.mesh import Node, Peer, Peers, Side

AT = 1_800_000_000
"""When everything here was read."""


def key(number: int) -> str:
    """A public key that is one by its form."""
    return f"{number:043d}="


@dataclass
class World:
    """Nodes that can be spoiled, pair by pair, before they are looked at."""

    nodes: list[Node] = field(default_factory=list)
    edges: dict[tuple[int, int], Peer | None] = field(default_factory=dict)
    """What row says of column where it is not the ordinary: None for nothing."""

    def number(self, name: str) -> int:
        return next(i for i, node in enumerate(self.nodes) if node.name == name)

    def change(self, name: str, **fields: object) -> None:
        """Another node in place of one."""
        number = self.number(name)
        self.nodes[number] = replace(self.nodes[number], **fields)  # type: ignore[arg-type]

    def say(self, name: str, of: str, peer: Peer | None) -> None:
        """What one says of another."""
        self.edges[self.number(name), self.number(of)] = peer

    def hears(self, name: str, of: str, **fields: object) -> None:
        """One says something else of another than the ordinary."""
        self.say(name, of, self.ordinary(self.number(of))._replace(**fields))

    def both(self, one: str, other: str, **fields: object) -> None:
        """Both say the same of each other."""
        self.hears(one, other, **fields)
        self.hears(other, one, **fields)

    def ordinary(self, j: int) -> Peer:
        endpoint = self.nodes[j].endpoints[0] if self.nodes[j].endpoints else ""
        return Peer(Side.UP, endpoint, endpoint, 4_100_000 + j, 2_200_000 + j, AT - 12 - j % 60, AT - 86_400)

    def read(self) -> list[Node]:
        """The nodes with what each says of the others."""
        words: dict[str, str] = {}
        return [self._read(i, node, words) for i, node in enumerate(self.nodes)]

    def _read(self, i: int, node: Node, words: dict[str, str]) -> Node:
        if node.unread:
            return node
        peers = Peers(words)
        for j, other in enumerate(self.nodes):
            said = self.edges.get((i, j), self.ordinary(j))
            if i != j and said is not None and other.key:
                peers.add(other.key, said)
        return replace(node, peers=peers, at=AT)


def mesh_of(sizes: Mapping[str, int]) -> World:
    """A mesh in which all is well: a site of each name with so many nodes, the first three control planes."""
    world, number = World(), 0
    for place, (site, size) in enumerate(sizes.items()):
        for at in range(size):
            role = "controlplane" if number < min(3, sum(sizes.values())) else "worker"
            name = f"{site}-{'cp' if role == 'controlplane' else 'w'}-{at + 1:02d}"
            host = f"{number // 250}.{number % 250 + 1}"
            world.nodes.append(
                Node(
                    name=name,
                    id=f"id-{name}",
                    key=key(number),
                    address=f"fd7c:91b2:44a0:e02::{number + 1:x}",
                    role=role,
                    endpoints=(f"10.{40 + place}.{host}:51820", f"185.4.{host}:51820"),
                    addresses=(f"10.{40 + place}.{host}", f"fd7c:91b2:44a0:e02::{number + 1:x}"),
                    label=site,
                )
            )
            number += 1
    return world


def troubled() -> World:
    """52 nodes in three sites, of which 4 pairs do not hear each other, for three reasons."""
    world = mesh_of({"osl2": 40, "osl1": 8, "ber": 4})
    silent = {"state": Side.DOWN, "handshake": AT - 540, "endpoint_changed": AT - 30}
    world.change("osl2-w-07", endpoints=("185.4.12.9:51820", "10.40.2.17:51820"))
    for node in world.nodes:
        if node.name != "osl2-w-07":
            world.hears(node.name, "osl2-w-07", endpoint="185.4.12.9:61004", last_used="185.4.12.9:51820")
    for name in ("osl1-w-03", "osl1-w-04"):
        world.hears(name, "osl2-w-07", endpoint="185.4.12.9:51820", last_used="185.4.12.9:51820", **silent)
    never = {"state": Side.DOWN, "handshake": 0, "received": 0, "endpoint_changed": AT - 30}
    world.change("ber-w-03", endpoints=("192.168.17.3:51820",), addresses=("192.168.17.3",))
    world.change("osl2-w-28", endpoints=("10.40.2.28:51820",), addresses=("10.40.2.28",))
    for node in world.nodes:
        if node.name != "ber-w-03":
            world.hears(node.name, "ber-w-03", endpoint="185.4.99.3:51820", last_used="185.4.99.3:51820")
    world.change("ber-w-03", endpoints=("192.168.17.3:51820",))
    world.hears("osl2-w-28", "ber-w-03", endpoint="", last_used="", sent=0, **never)
    world.hears("ber-w-03", "osl2-w-28", endpoint="10.40.2.28:51820", **never)
    world.change("ber-w-04", clock=-420.0)
    world.both("ber-w-04", "osl2-w-31", **silent)
    return world
