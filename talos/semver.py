"""Version numbers the way Talos and Kubernetes tools read them: ``v1.14.1``, ``1.14``, ``1.37.0-rc.0``.

Reading is tolerant where those tools are: a leading ``v``, missing minor or patch numbers, leading zeroes. The texts
of the errors are the ones users of these tools know, since they travel inside other messages.
"""

import re
from dataclasses import dataclass
from functools import total_ordering

_MAX_NUMBER = 2**64 - 1
_DIGITS = frozenset("0123456789")
_IDENTIFIER = re.compile(r"[0-9A-Za-z-]*")


@total_ordering
@dataclass(frozen=True)
class Version:
    """A semantic version; ordered by precedence, in which build metadata has no say."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[int | str, ...] = ()
    build: tuple[str, ...] = ()

    @property
    def core(self) -> tuple[int, int, int]:
        """The three numbers, without pre-release and build parts."""
        return self.major, self.minor, self.patch

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.prerelease:
            text += "-" + ".".join(map(str, self.prerelease))
        if self.build:
            text += "+" + ".".join(self.build)
        return text

    def _precedence(self) -> tuple:
        identifiers = tuple(
            (isinstance(part, str), 0 if isinstance(part, str) else part, str(part)) for part in self.prerelease
        )
        return self.core, not self.prerelease, identifiers

    def __lt__(self, other: "Version") -> bool:
        return self._precedence() < other._precedence()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._precedence() == other._precedence()

    def __hash__(self) -> int:
        return hash(self._precedence())


def parse(text: str) -> Version:
    """Read a version tolerantly; raises ValueError with the reason."""
    text = text.strip().removeprefix("v")
    parts = [_without_leading_zeroes(part) for part in text.split(".", 2)]
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise ValueError("Short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))

    patch, _, build = parts[2].partition("+")
    patch, _, prerelease = patch.partition("-")
    has_build, has_prerelease = "+" in parts[2], "-" in parts[2].partition("+")[0]
    return Version(
        major=_number(parts[0], "major"),
        minor=_number(parts[1], "minor"),
        patch=_number(patch, "patch"),
        prerelease=tuple(_prerelease(part) for part in prerelease.split(".")) if has_prerelease else (),
        build=tuple(_build(part) for part in build.split(".")) if has_build else (),
    )


def _without_leading_zeroes(part: str) -> str:
    if len(part) <= 1:
        return part
    part = part.lstrip("0")
    return part if part and part[0] in _DIGITS else "0" + part


def _number(text: str, name: str) -> int:
    if not set(text) <= _DIGITS:
        raise ValueError(f"Invalid character(s) found in {name} number {_quoted(text)}")
    if len(text) > 1 and text[0] == "0":
        raise ValueError(f"{name.capitalize()} number must not contain leading zeroes {_quoted(text)}")
    return _unsigned(text)


def _unsigned(text: str) -> int:
    if not text:
        raise ValueError('strconv.ParseUint: parsing "": invalid syntax')
    if len(text) > 20 or int(text) > _MAX_NUMBER:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def _prerelease(text: str) -> int | str:
    if not text:
        raise ValueError("Prerelease is empty")
    if set(text) <= _DIGITS:
        if len(text) > 1 and text[0] == "0":
            raise ValueError(f"Numeric PreRelease version must not contain leading zeroes {_quoted(text)}")
        return _unsigned(text)
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError(f"Invalid character(s) found in prerelease {_quoted(text)}")
    return text


def _build(text: str) -> str:
    if not text:
        raise ValueError("Build meta data is empty")
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError(f"Invalid character(s) found in build meta data {_quoted(text)}")
    return text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
