"""kubeconfig: made for a cluster, and merged into another as talosctl does it."""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from talos import pki, yaml12
from talos.config.errors import quote
from talos.pem import CertKey, PEMError

#: What is merged, and what becomes of something whose name is taken by something else.
Component = Literal["cluster", "auth", "context"]
Decision = Literal["overwrite", "rename"]

Entry = dict[str, Any]

_DATA = ("certificate-authority-data", "client-certificate-data", "client-key-data")


class KubeconfigError(ValueError):
    """A kubeconfig cannot be read or made. The text names the place, never the value."""


@dataclass
class Kubeconfig:
    """The file: clusters, users and contexts by name, and the name of the current context."""

    clusters: dict[str, Entry] = field(default_factory=dict)
    users: dict[str, Entry] = field(default_factory=dict, repr=False)
    contexts: dict[str, Entry] = field(default_factory=dict)
    current_context: str = ""
    #: What else the file has: `preferences`, `extensions`.
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_yaml(cls, text: bytes | str) -> "Kubeconfig":
        """Read a file, YAML or JSON. Raises KubeconfigError."""
        try:
            tree = yaml12.load(text)
        except yaml12.YAMLError as error:
            raise KubeconfigError(f"kubeconfig is not YAML: {error}") from None
        fields = {} if tree is None else tree
        if not isinstance(fields, dict):
            raise KubeconfigError("kubeconfig has to be a mapping")
        if fields.get("apiVersion") not in (None, "", "v1") or fields.get("kind") not in (None, "", "Config"):
            raise KubeconfigError("kubeconfig has to be of apiVersion v1 and kind Config")
        current = fields.get("current-context")
        return cls(
            clusters=_entries(fields, "clusters", "cluster"),
            users=_entries(fields, "users", "user"),
            contexts=_entries(fields, "contexts", "context"),
            current_context="" if current is None else str(current),
            extra={name: fields[name] for name in ("preferences", "extensions") if fields.get(name)},
        )

    def to_yaml(self) -> str:
        """The file, entries in the order of their names."""
        return yaml12.dump(
            {
                "apiVersion": "v1",
                "clusters": _named(self.clusters, "cluster", "server"),
                "contexts": _named(self.contexts, "context", "cluster", "user"),
                "current-context": self.current_context,
                "kind": "Config",
                **self.extra,
                "users": _named(self.users, "user"),
            },
            indent=2,
        )

    def merge(
        self,
        other: "Kubeconfig",
        decide: Callable[[Component, str], Decision],
        *,
        context_name: str = "",
        activate: bool = True,
    ) -> list[str]:
        """Take in everything of `other`; return a line for each thing that got another name.

        `decide` is asked about each name that stands for something else here, and may raise to leave this file as it
        is. To rename takes the first free of `name-1`, `name-2`, ...; the new name of a cluster then replaces the old
        one inside the names of its users, and theirs inside those of contexts (plain text replacement, as in
        talosctl: cluster `a` turns user `admin@a` into `a-1dmin@a-1`). `context_name` names the context outright, over
        another of that name; `activate` makes it the current one.
        """
        clusters = _names("cluster", self.clusters, other.clusters, {}, decide)
        users = _names("auth", self.users, other.users, clusters, decide)
        if context_name:
            contexts = dict.fromkeys(other.contexts, context_name)
        else:
            contexts = _names("context", self.contexts, other.contexts, users, decide)

        self.clusters |= {clusters[name]: entry for name, entry in other.clusters.items()}
        self.users |= {users[name]: entry for name, entry in other.users.items()}
        for name, entry in sorted(other.contexts.items()):
            references = {
                "cluster": clusters.get(entry.get("cluster", ""), ""),
                "user": users.get(entry.get("user", ""), ""),
            }
            self.contexts[contexts[name]] = _without_empty(entry | references)
            if activate:
                self.current_context = contexts[name]

        named = (("cluster", clusters), ("auth info", users), ("context", contexts))
        return [
            f"renamed {what} {quote(name)} -> {quote(new)}"
            for what, names in named
            for name, new in names.items()
            if name != new
        ]


def generate(
    *,
    cluster: str,
    endpoint: str,
    ca: CertKey,
    accepted_cas: Iterable[bytes],
    now: datetime,
    ttl: timedelta = pki.YEAR,
    common_name: str = "admin",
    organization: str = "system:masters",
    user_name: str = "admin",
    context_name: str = "admin",
) -> Kubeconfig:
    """A kubeconfig for one cluster with a new client certificate, an administrator's by default.

    `ca` is the Kubernetes authority that signs it, `accepted_cas` are the PEM of those that may have signed the
    server's. KubeconfigError if the authority cannot be used.
    """
    try:
        client = pki.kubernetes_admin(ca, now, ttl, common_name=common_name, organization=organization)
    except PEMError as error:
        raise KubeconfigError(f"error getting Kubernetes CA: {error}") from None
    user, context = f"{user_name}@{cluster}", f"{context_name}@{cluster}"
    authorities = _base64(b"".join(accepted_cas))
    return Kubeconfig(
        clusters={cluster: _without_empty({"certificate-authority-data": authorities, "server": endpoint})},
        users={user: {"client-certificate-data": _base64(client.crt), "client-key-data": _base64(client.key)}},
        contexts={context: {"cluster": cluster, "namespace": "default", "user": user}},
        current_context=context,
    )


def _names(
    component: Component,
    present: dict[str, Entry],
    added: dict[str, Entry],
    replaced: dict[str, str],
    decide: Callable[[Component, str], Decision],
) -> dict[str, str]:
    """Under which name each added entry goes in."""
    names = {}
    for name in sorted(added):
        new = name
        for old, replacement in replaced.items():
            new = new.replace(old, replacement)
        if new in present and present[new] != added[name] and decide(component, name) == "rename":
            new = _free_name(new, present)
        names[name] = new
    return names


def _free_name(name: str, taken: dict[str, Entry]) -> str:
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _entries(fields: dict[str, Any], section: str, kind: str) -> dict[str, Entry]:
    items = fields.get(section)
    if items is None:
        return {}
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise KubeconfigError(f"{section} has to be a list of mappings")
    entries: dict[str, Entry] = {}
    for item in items:
        name = str(item.get("name") or "")
        entry = item.get(kind) or {}
        if not isinstance(entry, dict):
            raise KubeconfigError(f'{section}: {kind} of "{name}" has to be a mapping')
        if name in entries:
            raise KubeconfigError(f'{section}: name "{name}" is there twice')
        entries[name] = _without_empty({key: _value(key, value, name) for key, value in entry.items()})
    return entries


def _value(key: str, value: Any, name: str) -> Any:
    """A field's value, with the different ways to write the same base64 made one."""
    if key not in _DATA or not value:
        return value
    try:
        return _base64(base64.b64decode("".join(str(value).split("\n")), validate=True))
    except ValueError:
        raise KubeconfigError(f'{key} of "{name}" is not base64') from None


def _named(entries: dict[str, Entry], kind: str, *required: str) -> list[Entry]:
    """The entries as the file lists them; required fields are written even if they are empty."""
    empty = dict.fromkeys(required, "")
    return [{kind: empty | entry, "name": name} for name, entry in sorted(entries.items())]


def _without_empty(entry: Entry) -> Entry:
    return {key: value for key, value in entry.items() if value}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
