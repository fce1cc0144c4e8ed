"""Configuration patches: recognising their kind and applying them.

A patch is either a strategic merge patch (documents that are merged into those with the same apiVersion, kind and name,
or added; `$patch: delete` removes) or a list of RFC 6902 operations, which needs a configuration of one document.

    patched = apply(config, [load_patch(text), ...])

Lists append, maps and structs merge, scalars replace unless the patch has a zero value; the field trees in
`talos.config.schema` know the exceptions. Apply patches to the generated configuration, never to a patched one: lists
would grow each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from talos import yaml12
from talos.config import jsonpatch
from talos.config.deletion import Deletion, cut_deletions
from talos.config.document import (
    LEGACY,
    Config,
    ConfigError,
    Document,
    assemble,
    check_container,
    decode,
    document_key,
    encode,
    load,
)
from talos.config.schema.types import MergeError


@dataclass(frozen=True, slots=True)
class StrategicPatch:
    """Deletions and documents in the order in which they apply."""

    steps: tuple[Deletion | Document, ...]


@dataclass(frozen=True, slots=True)
class JSONPatch:
    """RFC 6902 operations."""

    operations: tuple[Mapping[str, Any], ...]


Patch = StrategicPatch | JSONPatch


def load_patch(text: bytes | str) -> Patch:
    """Read a patch of either kind. Raises ConfigError.

    Text without any document (empty, comments, `null`) is a JSON patch without operations.
    """
    try:
        return load_strategic(text)
    except ConfigError as error:
        refusal = error
    try:
        return JSONPatch(_operations(json.loads(text)))
    except ValueError as error:
        json_refusal = ConfigError(f"not a JSON patch: {error}")
    try:
        return JSONPatch(_operations(next((yaml12.construct(node) for node in yaml12.compose(text)), None)))
    except ValueError:
        stripped = text.lstrip() if isinstance(text, str) else text.decode(errors="replace").lstrip()
        raise (json_refusal if stripped.startswith("[") else refusal) from None


def _operations(content: Any) -> tuple[Mapping[str, Any], ...]:
    if content is None:
        return ()
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError("expected a list of operations")
    return tuple(content)


def load_strategic(text: bytes | str, *, unique: bool = False) -> StrategicPatch:
    """Read a strategic merge patch. `unique`: a document may not occur twice, nor exclude another.

    Raises ConfigError.
    """
    deletions: list[Deletion] = []
    documents: list[Deletion | Document] = []
    seen: set[tuple[str, str, str]] = set()
    try:
        for node in yaml12.compose(text):
            if node.is_null:
                continue
            try:
                found, empty = cut_deletions(node)
            except ConfigError as error:
                raise ConfigError(
                    f"error processing patch delete statements at line {node.document_line}: {error}"
                ) from None
            deletions += (deletion for deletion in found if deletion.kind == LEGACY)
            documents += (deletion for deletion in found if deletion.kind != LEGACY)
            if empty:
                continue
            if node.kind != "mapping":
                raise ConfigError(f"expected a YAML document at line {node.line}")
            key = document_key(node)
            if unique and key in seen:
                raise ConfigError(f"duplicate document {'/'.join(key)} is not allowed (line {node.line})")
            seen.add(key)
            documents.append(decode(node))
    except yaml12.YAMLError as error:
        raise ConfigError(f"decode error: {error}") from None
    if not deletions and not documents:
        raise ConfigError("config not found")
    if unique:
        check_container(step for step in documents if isinstance(step, Document))
    return StrategicPatch((*deletions, *documents))


def apply(config: Config, patches: Iterable[Patch]) -> Config:
    """The configuration with the patches applied in order. Raises ConfigError."""
    for patch in patches:
        if isinstance(patch, StrategicPatch):
            config = _merge(config, patch)
        else:
            config = load(_apply_operations(encode(config), patch))
    return config


def apply_text(text: str, patches: Iterable[Patch]) -> str:
    """The same on text: unchanged without patches; a JSON patch leaves it unchecked, with sorted keys.

    Raises ConfigError.
    """
    config: Config | None = None
    for patch in patches:
        if isinstance(patch, StrategicPatch):
            config = _merge(config or load(text), patch)
        else:
            text, config = _apply_operations(encode(config) if config is not None else text, patch), None
    return encode(config) if config is not None else text


def _apply_operations(text: str, patch: JSONPatch) -> str:
    try:
        documents = list(yaml12.load_all(text))
    except yaml12.YAMLError as error:
        raise ConfigError(f"failure decoding talos machine config: {error}") from None
    if len(documents) != 1:
        raise ConfigError("JSON6902 patches are not supported for multi-document machine configuration")
    try:
        patched = jsonpatch.apply(documents[0], patch.operations)
    except ConfigError as error:
        raise ConfigError(f"failure applying rfc6902 patches to talos machine config: {error}") from None
    return yaml12.dump(yaml12.sort_keys(patched), indent=2)


def _merge(config: Config, patch: StrategicPatch) -> Config:
    documents: dict[tuple[str, str, str | None], Document] = {}
    for document in config.documents:
        _check_copyable(document)
        documents[_identity(document)] = document
    for step in patch.steps:
        key = _identity(step)
        current = documents.get(key)
        if isinstance(step, Deletion):
            if current is None:
                continue
            changed = step.apply(current)
            if changed is None:
                del documents[key]
            else:
                documents[key] = changed
        elif current is None:
            _check_copyable(step)
            documents[key] = step
        else:
            try:
                documents[key] = Document(step.kind, current.struct.merge(current.values, step.values))
            except MergeError as error:
                raise ConfigError(str(error)) from None
    return assemble(documents.values())


def _identity(step: Deletion | Document) -> tuple[str, str, str | None]:
    """What has to be equal for a step to apply to a document. A name that is empty is not the same as none."""
    if isinstance(step, Deletion):
        return step.api_version, step.kind, step.name or None
    return step.api_version, step.kind, step.name if step.is_named else None


def _check_copyable(document: Document) -> None:
    """Free-form content that Talos cannot copy (dates, keys that are not text) makes it crash: refuse it."""

    def check(value: Any) -> None:
        if isinstance(value, yaml12.Timestamp):
            raise ConfigError(f"{document.title}: quote the date {value}, unquoted dates cannot be patched")
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise ConfigError(f"{document.title}: quote the key {key!r}, keys must be text")
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)

    check(document.values)
