"""Field trees of the v1alpha1 document and of every document kind (machinery 1.14.1).

`V1ALPHA1` is the struct of the v1alpha1 document; `KINDS` maps the name of every other kind to what is known of it.
"""

from __future__ import annotations

from talos.config.schema import kubernetes, links, network, storage, system
from talos.config.schema.kinds import DocumentKind
from talos.config.schema.v1alpha1 import V1ALPHA1

__all__ = ["KINDS", "V1ALPHA1", "DocumentKind"]

_AREAS = (kubernetes, links, network, storage, system)
KINDS = {kind.kind: kind for area in _AREAS for kind in area.KINDS}
