"""Configurations without their secrets, for showing to people.

The same values are replaced as by Talos itself. Not replaced, as there: file contents, environment variables, inline
manifests, static pods and other free text that may hold secrets of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from talos.config import gourl
from talos.config.document import LEGACY, Config, Document
from talos.config.schema.texts import REDACTED

_VOLUME_KEYS = ("encryption.keys.*.static.passphrase",)
_SECRETS = {
    LEGACY: (
        "machine.token",
        "machine.ca.key",
        "machine.registries.config.*.auth.password",
        "machine.registries.config.*.auth.auth",
        "machine.registries.config.*.auth.identityToken",
        "machine.registries.config.*.tls.clientIdentity.key",
        "machine.network.interfaces.*.wireguard.privateKey",
        "machine.network.interfaces.*.vip.hcloud.apiToken",
        "machine.network.interfaces.*.vip.equinixMetal.apiToken",
        "machine.network.interfaces.*.vlans.*.vip.hcloud.apiToken",
        "machine.network.interfaces.*.vlans.*.vip.equinixMetal.apiToken",
        "machine.systemDiskEncryption.*.keys.*.static.passphrase",
        "cluster.secret",
        "cluster.token",
        "cluster.aescbcEncryptionSecret",
        "cluster.secretboxEncryptionSecret",
        "cluster.ca.key",
        "cluster.aggregatorCA.key",
        "cluster.serviceAccount.key",
        "cluster.etcd.ca.key",
    ),
    "SideroLinkConfig": ("uniqueToken",),
    "DiscoveryIdentityConfig": ("clusterSecret",),
    "KubeServiceAccountConfig": ("issuer.privateKey",),
    "RegistryAuthConfig": ("password", "auth", "identityToken"),
    "RegistryTLSConfig": ("clientIdentity.key",),
    "WireguardConfig": ("privateKey", "peers.*.presharedKey"),
    "HCloudVIPConfig": ("apiToken",),
    "VolumeConfig": _VOLUME_KEYS,
    "UserVolumeConfig": _VOLUME_KEYS,
    "RawVolumeConfig": _VOLUME_KEYS,
    "SwapVolumeConfig": _VOLUME_KEYS,
}
"""Paths of secret texts by kind; `*` stands for every list item or map entry. Empty values are left alone."""


def redact(config: Config, replacement: str = REDACTED) -> Config:
    """A copy of the configuration with every secret replaced."""
    return Config(tuple(_redact_document(document, replacement) for document in config.documents))


def _redact_document(document: Document, replacement: str) -> Document:
    values: Any = document.values
    literal = replacement == REDACTED
    for path in _SECRETS.get(document.kind, ()):
        encoded = document.kind == LEGACY and path.endswith(".key") and not literal
        text = base64.b64encode(replacement.encode()).decode() if encoded else replacement
        values = _changed(values, path.split("."), partial(_constant, text))
    if document.kind == "SideroLinkConfig":
        values = _changed(values, ["apiUrl"], lambda url: _redact_join_token(url, replacement))
    elif document.kind in ("KubeAPIServerCAConfig", "KubeAggregatorCAConfig"):
        if (issuing := values.get("issuingCA")) is not None:
            values = {**values, "issuingCA": {**issuing, "key": replacement}}
    elif document.kind == "KubeEtcdEncryptionConfig":
        values = {**values, "config": _redact_named(values.get("config"), "secret", replacement)}
    return Document(document.kind, values)


def _constant(text: str, _: str) -> str:
    return text


def _changed(value: Any, path: Iterable[str], change: Callable[[str], str]) -> Any:
    """A copy of `value` in which the non-empty texts at `path` are changed."""
    step, *rest = path
    if step == "*":
        if isinstance(value, list):
            return [_changed(item, rest, change) for item in value]
        return {key: _changed(item, rest, change) for key, item in (value or {}).items()}
    if not isinstance(value, dict) or not value.get(step):
        return value
    return {**value, step: _changed(value[step], rest, change) if rest else change(value[step])}


def _redact_named(value: Any, name: str, replacement: str) -> Any:
    """A copy of free-form content in which whatever stands below a key `name` is replaced."""
    if isinstance(value, list):
        return [_redact_named(item, name, replacement) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: replacement if key == name else _redact_named(item, name, replacement) for key, item in value.items()}


def _redact_join_token(url: str, replacement: str) -> str:
    """The URL with its join token replaced; the parameters come out sorted."""
    parts = gourl.parse(url)
    parameters: dict[str, list[str]] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        parameters.setdefault(key, []).append(value)
    if "jointoken" in parameters:
        parameters["jointoken"] = [replacement]
    pairs = ((key, value) for key in sorted(parameters) for value in parameters[key])
    return str(replace(parts, query="&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)))
