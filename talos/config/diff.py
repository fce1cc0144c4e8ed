"""Differences of configurations: as text for people, and as patches that turn one into the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from talos import textdiff, yaml12
from talos.config.document import LEGACY, Config, Document, encode

_DELETE = {"$patch": "delete"}


def unified(old: Config, new: Config) -> str:
    """The unified diff of both encoded texts, with the header `--- a`, `+++ b`; empty if nothing differs."""
    text = textdiff.unified(encode(old), encode(new))
    return text if not text or "diff too large" in text.partition("\n")[0] else f"--- a\n+++ b\n{text}"


def patches(old: Config, new: Config) -> list[str]:
    """Strategic merge patches that, applied in order, turn `old` into `new`: none, one or two.

    Lists append when merged, so the first patch deletes each list that differs (with everything else that changes) and
    the second sets the lists anew. The texts are the same for the same input.
    """
    before = {_identity(document): document for document in old.documents}
    after = {_identity(document): document for document in new.documents}
    first: list[dict[str, Any]] = [
        {**_meta(document), **_DELETE} for key, document in before.items() if key not in after
    ]
    second: list[dict[str, Any]] = []
    for key, document in after.items():
        content = document.struct.encode(document.values)
        if key not in before:
            first.append(content)
            continue
        original = before[key].struct.encode(before[key].values)
        for documents, lists in ((first, False), (second, True)):
            if change := _change(original, content, lists):
                documents.append(_meta(document) | change)
    return [_text(documents) for documents in (first, second) if documents]


def _text(documents: list[dict[str, Any]]) -> str:
    return "---\n".join(yaml12.dump(yaml12.sort_keys(document), indent=2) for document in documents)


def _identity(document: Document) -> tuple[str, str, str]:
    return document.api_version, document.kind, document.name


def _meta(document: Document) -> dict[str, Any]:
    """The keys that identify a document."""
    keys = ("version",) if document.kind == LEGACY else ("apiVersion", "kind", "name")
    return {key: document.values[key] for key in keys if key in document.values}


def _change(old: Mapping[str, Any], new: Mapping[str, Any], lists: bool) -> dict[str, Any]:
    """What changes between two encoded maps: everything but the new lists, or (`lists`) only these."""
    change: dict[str, Any] = {}
    for key, value in new.items():
        before = old.get(key)
        if key in old and isinstance(before, dict) and isinstance(value, dict):
            if inner := _change(before, value, lists):
                change[key] = inner
        elif key in old and isinstance(before, list) and isinstance(value, list):
            if not _same(before, value):
                change[key] = value if lists else _DELETE
        elif not lists and (key not in old or not _same(before, value)):
            change[key] = value
    if not lists:
        change |= {key: _DELETE for key in old if key not in new}
    return change


def _same(old: Any, new: Any) -> bool:
    """Equality that tells `1` from `true` and `1.0`."""
    return repr(old) == repr(new)
