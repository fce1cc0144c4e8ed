"""Reading a template: a stream of YAML documents, strictly, with positions in the errors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from talos import yaml12
from talos.decode import DecodeError, decode
from talos.template.errors import TemplateError, quoted
from talos.template.models import KINDS, Cluster, Document
from talos.yaml12 import Node

Kind = TypeVar("Kind", bound=Document)


@dataclass(frozen=True)
class Template:
    """The documents of a template in the order in which they were written."""

    documents: list[Document]

    def of(self, kind: type[Kind]) -> Iterator[Kind]:
        """The documents of one kind."""
        return (document for document in self.documents if isinstance(document, kind))

    @property
    def cluster(self) -> Cluster:
        """The cluster that the template is about; raises ValueError if there is none."""
        for cluster in self.of(Cluster):
            return cluster
        raise ValueError("the template has no Cluster document")


def load(text: bytes | str) -> Template:
    """Read a template. Whether it is complete and makes sense is for ``validate`` to say.

    Raises TemplateError for broken YAML, unknown kinds and fields, repeated keys and values of a wrong type.
    """
    lines = text.splitlines() if isinstance(text, str) else text.decode("utf-8", "replace").splitlines()
    documents = []
    try:
        for node in yaml12.compose(text):
            documents.append(_document(node, _position(node, lines)))
    except yaml12.YAMLError as error:
        raise TemplateError("load", f"error decoding template: {error}") from None
    return Template(documents)


def _document(node: Node, position: str) -> Document:
    try:
        model = KINDS.get(kind := _kind(node))
        if model is None:
            raise ValueError(f"unknown model kind {quoted(kind)}")
    except ValueError as error:
        raise TemplateError("load", f"error in document at line {position}: {error}") from None
    try:
        return decode(node, model)
    except (DecodeError, yaml12.YAMLError) as error:
        raise TemplateError("load", f"error decoding document at line {position}: {error}") from None


def _kind(node: Node) -> str:
    if node.kind != "mapping":
        raise ValueError(f"unexpected node kind {quoted(node.kind)}, expecting mapping")
    kind = node.get("kind")
    if kind is None:
        raise ValueError("kind field not found")
    if kind.kind != "scalar":
        raise ValueError(f"unexpected value type for kind field {quoted(kind.kind)}")
    return kind.value


def _position(node: Node, lines: list[str]) -> str:
    """Where a document starts: at its ``---``, or at its content if it has none."""
    for number in range(min(node.line, len(lines)), 0, -1):
        line = lines[number - 1]
        if line.startswith("---"):
            return f"{number}:1"
        if number < node.line and line.strip() and not line.lstrip().startswith("#"):
            break
    first = "".join(lines[node.line - 1 : node.line])
    return f"{node.line}:{len(first) - len(first.lstrip()) + 1}"
