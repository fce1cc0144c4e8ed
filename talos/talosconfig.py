"""talosconfig: the file that tells talosctl which clusters there are, where they are and who it is to them."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from talos import yaml12
from talos.pem import CertKey
from talos.yaml12.texts import load_texts


class TalosConfigError(ValueError):
    """A talosconfig cannot be read. The text names the place, never the value."""


@dataclass
class Context:
    """One way to one cluster. `ca`, `crt` and `key` are base64 of PEM; `ca` may hold several certificates."""

    endpoints: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    ca: str = ""
    crt: str = ""
    key: str = field(default="", repr=False)
    #: User name and password for a proxy in front of the endpoint.
    basic: tuple[str, str] | None = field(default=None, repr=False)
    #: The e-mail address whose key signs each call (SideroV1), for an endpoint that is Omni or us.
    identity: str | None = None
    cluster: str = ""
    proxy_url: str = ""

    def _tree(self) -> dict[str, Any]:
        auth: dict[str, Any] = {}
        if self.basic is not None:
            auth["basic"] = {"username": self.basic[0], "password": self.basic[1]}
        if self.identity is not None:
            auth["siderov1"] = {"identity": self.identity}
        optional = {
            "nodes": self.nodes,
            "ca": self.ca,
            "crt": self.crt,
            "key": self.key,
            "auth": auth,
            "cluster": self.cluster,
            "proxy-url": self.proxy_url,
        }
        return {"endpoints": self.endpoints} | {name: value for name, value in optional.items() if value}


@dataclass
class TalosConfig:
    """The file: contexts by name, and the name of the current one."""

    context: str = ""
    contexts: dict[str, Context] = field(default_factory=dict)

    @classmethod
    def from_yaml(cls, text: bytes | str) -> "TalosConfig":
        """Read a file. Unknown fields are ignored, the legacy `target` becomes an endpoint; TalosConfigError."""
        try:
            tree = load_texts(text)
        except yaml12.YAMLError as error:
            raise TalosConfigError(f"talosconfig is not YAML: {error}") from None
        if tree is None:
            raise TalosConfigError("talosconfig is empty")
        fields = _mapping(tree, "talosconfig")
        contexts = _mapping(fields.get("contexts"), "contexts")
        return cls(
            _text(fields, "context", "context"),
            {name: _context(value, f"contexts.{name}") for name, value in contexts.items()},
        )

    def to_yaml(self) -> str:
        """The file as talosctl writes it."""
        contexts = {name: self.contexts[name]._tree() for name in sorted(self.contexts, key=yaml12.natural)}
        return yaml12.dump({"context": self.context, "contexts": contexts})

    def merge(self, other: "TalosConfig") -> list[tuple[str, str]]:
        """Take in the contexts of `other` and make its current context the current one.

        A context whose name is taken gets the first free of `name-1`, `name-2`, ...; returns those (name, new name).
        """
        names: dict[str, str] = {}
        for name in sorted(other.contexts):
            names[name] = self._free_name(name)
            self.contexts[names[name]] = other.contexts[name]
        if other.context:
            self.context = names.get(other.context, "")
        return [(name, new) for name, new in names.items() if name != new]

    def _free_name(self, name: str) -> str:
        free, number = name, 0
        while free in self.contexts:
            number += 1
            free = f"{name}-{number}"
        return free


def generate(
    context: str, endpoints: Iterable[str], ca: bytes, client: CertKey, nodes: Iterable[str] = ()
) -> TalosConfig:
    """A talosconfig with one context.

    `ca` is the PEM of the accepted Talos API authorities, `client` comes from `talos.pki.talos_client`.
    """
    only = Context(list(endpoints), list(nodes), _base64(ca), _base64(client.crt), _base64(client.key))
    return TalosConfig(context, {context: only})


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _context(value: object, where: str) -> Context:
    if value is None:
        raise TalosConfigError(f"{where} is empty")
    fields = _mapping(value, where)
    auth = _mapping(fields.get("auth"), f"{where}.auth")
    basic = auth.get("basic")
    siderov1 = auth.get("siderov1")
    context = Context(
        endpoints=_texts(fields, "endpoints", where),
        nodes=_texts(fields, "nodes", where),
        ca=_text(fields, "ca", where),
        crt=_text(fields, "crt", where),
        key=_text(fields, "key", where),
        cluster=_text(fields, "cluster", where),
        proxy_url=_text(fields, "proxy-url", where),
    )
    if target := _text(fields, "target", where):
        context.endpoints.append(target)
    if basic is not None:
        credentials = _mapping(basic, f"{where}.auth.basic")
        context.basic = (_text(credentials, "username", where), _text(credentials, "password", where))
    if siderov1 is not None:
        context.identity = _text(_mapping(siderov1, f"{where}.auth.siderov1"), "identity", where)
    return context


def _mapping(value: object, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TalosConfigError(f"{where} has to be a mapping")
    return value


def _text(fields: dict[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not _is_text(value):
        raise TalosConfigError(f"{where}: {name} has to be a text")
    return str(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, yaml12.Timestamp)


def _texts(fields: dict[str, Any], name: str, where: str) -> list[str]:
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(item is None or _is_text(item) for item in value):
        raise TalosConfigError(f"{where}: {name} has to be a list of texts")
    return [item or "" for item in value]
