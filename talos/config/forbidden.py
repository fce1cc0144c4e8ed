"""What a user's configuration patch may not contain, because the control plane owns it.

Presence counts, even with an empty value or as a deletion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from talos import yaml12
from talos.config.document import LEGACY, ConfigError
from talos.config.errors import error_list
from talos.config.patch import load_strategic

_FIELDS: dict[str, tuple[str, ...]] = {
    LEGACY: (
        "cluster.clusterName",
        "cluster.id",
        "cluster.controlPlane.endpoint",
        "cluster.token",
        "cluster.secret",
        "cluster.aescbcEncryptionSecret",
        "cluster.secretboxEncryptionSecret",
        "cluster.ca",
        "cluster.acceptedCAs",
        "cluster.serviceAccount",
        "machine.token",
        "machine.ca",
        "machine.type",
        "machine.install.disk",
        "machine.install.extensions",
        "machine.acceptedCAs",
    ),
    "KubeServiceAccountConfig": ("issuer.privateKey",),
}
_DOCUMENTS = frozenset(
    (
        "UnattendedInstallConfig",
        "DiscoveryIdentityConfig",
        "KubeClusterConfig",
        "KubeEtcdEncryptionConfig",
        "KubeAPIServerCAConfig",
        "KubeAggregatorCAConfig",
    )
)
_ADMIN_ROLE = "os:admin"
_ROLE_LISTS = {
    LEGACY: "machine.features.kubernetesTalosAPIAccess.allowedRoles",
    "KubeTalosAPIAccessConfig": "allowedRoles",
}


def check(patch: str) -> None:
    """Raise ConfigError unless the text is a strategic merge patch without forbidden content.

    A document may not occur twice, nor exclude another. All offences are named.
    """
    load_strategic(patch, unique=True)
    if offences := [text for document in _documents(patch) for text in _offences(document)]:
        raise ConfigError(error_list(offences))


def sanitize(patch: str) -> str:
    """The patch without its forbidden content and without what became empty by that. Raises ConfigError."""
    load_strategic(patch, unique=True)
    kept = [document for document in map(_allowed, _documents(patch)) if document is not None]
    return "---\n".join(yaml12.dump(yaml12.sort_keys(document), indent=2) for document in kept or [{}])


def _documents(patch: str) -> Iterator[dict[str, Any]]:
    return (document for document in yaml12.load_all(patch) if document is not None)


def _kind(document: Mapping[str, Any]) -> str:
    return str(document.get("kind") or LEGACY)


def _offences(document: Mapping[str, Any]) -> Iterator[str]:
    kind = _kind(document)
    if kind in _DOCUMENTS:
        yield f'the "{kind}" document is not allowed in the config patch'
        return
    for path in _FIELDS.get(kind, ()):
        holder, key = _holder(document, path)
        if holder is not None and key in holder:
            yield f'overriding "{path}" is not allowed in the config patch'
    if roles := _ROLE_LISTS.get(kind):
        holder, key = _holder(document, roles)
        values = holder.get(key) if holder is not None else None
        if isinstance(values, list) and _ADMIN_ROLE in values:
            yield f'element "{_ADMIN_ROLE}" is not allowed in field "{roles}"'


def _holder(document: Mapping[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    """The map that has or would have the last key of the path, and that key."""
    *parents, key = path.split(".")
    value: Any = document
    for parent in parents:
        value = value.get(parent) if isinstance(value, dict) else None
    return (value if isinstance(value, dict) else None), key


def _allowed(document: dict[str, Any]) -> dict[str, Any] | None:
    """The document without forbidden content (it is changed); None if nothing is left to say."""
    kind = _kind(document)
    if kind in _DOCUMENTS:
        return None
    for path in _FIELDS.get(kind, ()):
        holder, key = _holder(document, path)
        if holder is not None:
            holder.pop(key, None)
    if roles := _ROLE_LISTS.get(kind):
        holder, key = _holder(document, roles)
        if holder is not None and isinstance(holder.get(key), list):
            holder[key] = [role for role in holder[key] if role != _ADMIN_ROLE]
    left = {key: value for key, value in document.items() if value != {} or not isinstance(value, dict)}
    return left if left.keys() - {"apiVersion", "kind"} else None
