"""What the audit says of a request to a Kubernetes API: read off its method and path."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

READS = frozenset({"GET", "HEAD", "OPTIONS"})

LONGEST = 300
"""Characters of a path, and of a command, that are kept."""

_OBJECTS = re.compile(
    r"/(?:api/[^/]+|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/(?:watch/)?namespaces/[^/]+(?=/[^/]+))?(?:/watch)?/(?P<kind>[^/]+)(?:/[^/]+(?:/(?P<part>[^/]+))?)?(?P<rest>/.*)?"
)
_SLASHES = re.compile(r"/+")
_PRINTABLE = re.compile(r"[^ -~]")


@dataclass(frozen=True)
class Described:
    """`text` is `GET /api/v1/pods`; `kind` what it is about: `pods`, `deployments.apps`, `/version`."""

    text: str
    kind: str
    plain_read: bool


def describe(method: str, target: str, upgrade: bool) -> Described:
    """A request without what may be secret in it: its query, and what `proxy` asks another server for."""
    path = _SLASHES.sub("/", unquote(target.partition("?")[0]))  # as the API server reads it
    found = _OBJECTS.fullmatch(path)
    if found is None:
        head = "/" + path.lstrip("/").partition("/")[0]
        return Described(_shown(f"{method} {path}"), head, method in READS and not upgrade)
    kind = found["kind"] + (f".{found['group']}" if found["group"] else "")
    part = found["part"]
    if part == "proxy":
        path = path[: found.end("part")]
    if part:
        kind = f"{kind}/{part}"
    return Described(_shown(f"{method} {path}"), kind, method in READS and not upgrade and part != "proxy")


def command(text: str) -> str:
    """kubectl's name for what it does, as far as it can be shown."""
    return _shown(text)


def _shown(text: str) -> str:
    return _PRINTABLE.sub("?", text[:LONGEST])
