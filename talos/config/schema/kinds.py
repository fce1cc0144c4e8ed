"""What is known about a document kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from talos.config.schema.composite import Field, Struct
from talos.config.schema.types import STRING

_META = (Field("apiVersion", "MetaAPIVersion", STRING), Field("kind", "MetaKind", STRING, omit=False))


@dataclass(frozen=True, slots=True, eq=False)
class DocumentKind:
    """One kind of configuration document.

    `named` kinds occur once per name, the others once. `conflicts`: kinds that cannot have a document of the same name.
    `since`: the first Talos minor that knows the kind; an older machine refuses the whole configuration.
    """

    kind: str
    go: str
    fields: tuple[Field, ...]
    named: bool = False
    control_plane_only: bool = False
    conflicts: frozenset[str] = frozenset()
    since: tuple[int, int] = (1, 8)
    struct: Struct = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "struct", Struct(self.go, *_META, *self.fields))
