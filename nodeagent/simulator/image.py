"""A Talos build, and how installer images name one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from talos import semver

KERNEL = "6.18.0-talos"
"""Linux release of every build."""
_SCHEMATIC = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """`version` is a tag with `v`; `schematic` is empty for a build that no Image Factory made."""

    version: str
    schematic: str = ""

    @property
    def minor(self) -> tuple[int, int]:
        """The release line."""
        return _minor(self.version)


@cache
def _minor(version: str) -> tuple[int, int]:
    parsed = semver.parse(version)
    return parsed.major, parsed.minor


def parse_installer(reference: str) -> Image:
    """The build in an installer image: `HOST/metal-installer/SCHEMATIC:vX.Y.Z[@DIGEST]`, or `.../installer:vX.Y.Z`.

    Raises ValueError for a reference without a version tag.
    """
    path, _, tag = reference.partition("@")[0].rpartition(":")
    if not path or "/" in tag:
        raise ValueError(f'installer image "{reference}" has no tag')
    semver.parse(tag)
    name = path.rpartition("/")[2]
    return Image(tag, name if _SCHEMATIC.fullmatch(name) else "")
