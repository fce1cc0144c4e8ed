"""Talos configurations: typed documents, read from YAML or plain dicts and written byte for byte as Talos does.

    config = load(text)                        # ConfigError with the text talosctl users know
    config = from_documents([{...}, {...}])    # plain dicts, keys in any order, as they would stand in YAML
    text = encode(config)                      # fixed key order, no comments, `---` between documents

The v1alpha1 document is a dict without `kind` (`version: v1alpha1`, `machine`, `cluster`) and always comes first; every
other document has `apiVersion: v1alpha1` and `kind` and keeps its place. In dicts, leave out what is not set: `None` is
the same as absent, an empty list or dict is not (`certSANs: []`). Durations are text (`1h0m0s`) or 0, certificates and
keys of v1alpha1 base64 text, permissions numbers. Encoding adds what Talos always writes (`cluster: null`, `key: ""`),
leaves out what it omits, sorts maps and checks every key and type.

A document's `values` are its fields in canonical form; treat them as read-only and use `talos.config.patch` to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from talos import yaml12
from talos.config.schema import KINDS, V1ALPHA1
from talos.config.schema.composite import Struct
from talos.config.schema.types import STRING, Problems
from talos.yaml12 import Node

API_VERSION = "v1alpha1"
LEGACY = "v1alpha1"
"""What the v1alpha1 document is called where other documents have their kind."""

_LEGACY_KEYS = frozenset(("machine", "cluster", "debug", "persist"))


class ConfigError(ValueError):
    """A configuration or patch that cannot be used; the text says which document, where and why."""


@dataclass(frozen=True, slots=True)
class Document:
    """One typed document. `kind` is "v1alpha1" for the v1alpha1 document."""

    kind: str
    values: Mapping[str, Any]

    @property
    def struct(self) -> Struct:
        """The field tree of the document."""
        return V1ALPHA1 if self.kind == LEGACY else KINDS[self.kind].struct

    @property
    def api_version(self) -> str:
        """Empty for the v1alpha1 document."""
        return str(self.values.get("apiVersion", "")) if self.kind != LEGACY else ""

    @property
    def is_named(self) -> bool:
        """Whether there can be several documents of the kind, told apart by name."""
        return self.kind != LEGACY and KINDS[self.kind].named

    @property
    def name(self) -> str:
        """The name of a named document, otherwise empty."""
        return str(self.values.get("name", "")) if self.is_named else ""

    @property
    def title(self) -> str:
        """`Kind` or `Kind/name`, as Talos names documents in errors."""
        return f"{self.kind}/{self.name}" if self.is_named else self.kind

    def encode(self) -> str:
        """The document as YAML."""
        return yaml12.dump(self.struct.encode(self.values))


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration: the v1alpha1 document first, if there is one, then the others in their order."""

    documents: tuple[Document, ...]

    @property
    def v1alpha1(self) -> Mapping[str, Any] | None:
        """The fields of the v1alpha1 document."""
        return next((document.values for document in self.documents if document.kind == LEGACY), None)

    def all(self, kind: str) -> list[Mapping[str, Any]]:
        """The fields of each document of a kind."""
        return [document.values for document in self.documents if document.kind == kind]

    def find(self, kind: str, name: str = "") -> Mapping[str, Any] | None:
        """The fields of the document of a kind (and name, for named kinds)."""
        for document in self.documents:
            if document.kind == kind and document.name == name:
                return document.values
        return None


def load(data: bytes | str) -> Config:
    """Read a configuration strictly.

    Raises ConfigError: syntax, unknown keys or kinds, wrong types, nulls where objects stand, documents that occur
    twice or exclude each other, or no document at all.
    """
    seen: set[tuple[str, str, str]] = set()
    documents = []
    for node in roots(data):
        key = document_key(node)
        if key in seen:
            raise ConfigError(f"duplicate document {'/'.join(key)} is not allowed (line {node.line})")
        seen.add(key)
        documents.append(decode(node))
    if not documents:
        raise ConfigError("config not found")
    return assemble(documents)


def from_documents(documents: Iterable[Mapping[str, Any]]) -> Config:
    """A configuration of plain dicts, checked like text. Raises ConfigError."""
    return assemble([decode(yaml12.node_of(dict(document))) for document in documents])


def encode(config: Config) -> str:
    """The bytes Talos' encoder gives without comments."""
    return "---\n".join(document.encode() for document in config.documents)


def assemble(documents: Iterable[Document]) -> Config:
    """Documents as one configuration. Raises ConfigError if they exclude each other."""
    documents = list(documents)
    check_container(documents)
    legacy = [document for document in documents if document.kind == LEGACY]
    return Config((*legacy, *(document for document in documents if document.kind != LEGACY)))


def roots(data: bytes | str) -> Iterable[Node]:
    """The mapping of each document of a stream; null documents are left out. Raises ConfigError."""
    try:
        for node in yaml12.compose(data):
            if node.is_null:
                continue
            if node.kind != "mapping":
                raise ConfigError(f"expected a YAML document at line {node.line}")
            yield node
    except yaml12.YAMLError as error:
        raise ConfigError(f"decode error: {error}") from None


def scalar_text(node: Node, key: str) -> str:
    """The text of a scalar below `key` of a mapping; empty if there is none."""
    value = node.get(key)
    return value.value if value is not None else ""


def document_key(node: Node) -> tuple[str, str, str]:
    """apiVersion, kind and name as written; they identify a document in messages."""
    return scalar_text(node, "apiVersion"), scalar_text(node, "kind") or LEGACY, scalar_text(node, "name")


def decode(node: Node) -> Document:
    """The typed document of a mapping. Raises ConfigError."""
    try:
        return _decode(node)
    except ConfigError as error:
        title = "/".join(document_key(node))
        raise ConfigError(f"error decoding document {title} (line {node.line}): {error}") from None


def _decode(node: Node) -> Document:
    written_kind, kind, struct = _kind(node)
    problems = Problems()
    values = struct.decode(node, problems)
    if problems.texts:
        details = "\n".join(problems.texts)
        raise ConfigError(f"error decoding {written_kind} to *{struct.go}: yaml: construct errors: {details}")
    try:
        unknown = struct.unknown(node)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if unknown is not None:
        text = yaml12.dump(yaml12.sort_keys(unknown))
        raise ConfigError(f"unknown keys found during decoding:\n{text}")
    if nulls := list(struct.nulls(node, "")):
        raise ConfigError("\n".join(nulls))
    return Document(kind, values)


def _kind(node: Node) -> tuple[str, str, Struct]:
    """The kind as written, the kind, and its field tree."""
    kind = version = ""
    for key, value in node.pairs:
        if key.value == "kind":
            kind = _text(value, "kind")
        elif key.value == "apiVersion":
            version = _text(value, "version")
        elif key.value in _LEGACY_KEYS:
            version = API_VERSION
    if not kind:
        if version != API_VERSION:
            raise ConfigError("missing kind")
        return kind, LEGACY, V1ALPHA1
    if not version:
        raise ConfigError("missing apiVersion")
    if kind == LEGACY and version == "":
        return kind, LEGACY, V1ALPHA1
    if kind not in KINDS or version != API_VERSION:
        raise ConfigError(f'"{kind}" "{version}": not registered')
    return kind, kind, KINDS[kind].struct


def _text(node: Node, what: str) -> str:
    problems = Problems()
    value = STRING.decode(node, problems)
    if problems.texts:
        raise ConfigError(f"{what} decode: yaml: construct errors: {problems.texts[0]}")
    return value or ""


def check_container(documents: Iterable[Document]) -> None:
    """The rules between documents that hold for every configuration. Raises ConfigError."""
    seen: set[str] = set()
    excluded: dict[str, str] = {}
    links: dict[str, str] = {}
    for document in documents:
        if document.kind == LEGACY:
            if LEGACY in seen:
                raise ConfigError("duplicate v1alpha1.Config")
            seen.add(LEGACY)
            continue
        title = f"{document.kind}/{document.name}"
        if title in seen:
            raise ConfigError(f"duplicate document: {title}")
        seen.add(title)
        if title in excluded:
            raise ConfigError(f"conflicting documents: {excluded[title]} and {title}")
        for kind in KINDS[document.kind].conflicts:
            other = f"{kind}/{document.name}"
            if other in seen:
                raise ConfigError(f"conflicting documents: {other} and {title}")
            excluded[other] = title
        for link in _claimed_links(document):
            if link in links:
                raise ConfigError(f'conflicting link configurations: {links[link]} and {title} both configure "{link}"')
            links[link] = title


def _claimed_links(document: Document) -> list[str]:
    """The network links a document configures."""
    if "multicast" not in document.struct.by_key:
        return []
    if document.kind == "VethConfig":
        return [document.name, (document.values.get("peer") or {}).get("name", "")]
    return [document.name]
