"""The secrets bundle of a cluster: everything its configurations share and nobody else may know.

Talos writes it as YAML (`talosctl gen secrets`), Omni keeps it as JSON; the values are the same, the names differ in
case. Certificates and keys are PEM, in both files as base64 of the whole text.
"""

import base64
import secrets as random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from talos import gojson, pem, pki, yaml12
from talos.contract import VersionContract
from talos.pem import CertKey, PEMError
from talos.yaml12.texts import load_texts

if TYPE_CHECKING:
    from talos.config.document import Config

T = TypeVar("T")
Tree = dict[str, Any]

#: What stands for a key in a configuration that was redacted.
REDACTED = b"******"

_TOKEN_ALPHABET = string.digits + string.ascii_lowercase
_EITHER = "[secrets.secretboxencryptionsecret, secrets.aescbcencryptionsecret]"


class BundleError(ValueError):
    """A bundle cannot be used. `problems` lists what is missing or wrong, one text each; no text holds a secret."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class Random(Protocol):
    """Where random values come from: the standard library's `secrets`, or a stand-in."""

    def token_bytes(self, nbytes: int, /) -> bytes: ...

    def choice(self, seq: Sequence[T], /) -> T: ...


@dataclass(frozen=True, repr=False)
class Bundle:
    """A complete bundle. Who reads one from a file or a configuration gets a BundleError for an incomplete one."""

    #: Base64 of 32 bytes; in which of the two alphabets depends on the Talos version that made it, so it is opaque.
    cluster_id: str
    #: Base64 of the 32 bytes that encrypt what members of the cluster tell the discovery service.
    cluster_secret: str
    #: With which a machine joins Kubernetes, `xxxxxx.xxxxxxxxxxxxxxxx`.
    bootstrap_token: str
    #: With which a worker asks trustd for a certificate, of the same form.
    trustd_token: str
    etcd: CertKey
    k8s: CertKey
    k8s_aggregator: CertKey
    #: PEM of the key that signs service account tokens; RSA from contract 1.7 on, ECDSA before.
    k8s_service_account: bytes
    os: CertKey
    #: Base64 of the 32 bytes that encrypt Kubernetes secrets in etcd, from contract 1.3 on.
    secretbox_encryption_secret: str = ""
    #: The same up to contract 1.2. A cluster normally has one of the two.
    aescbc_encryption_secret: str = ""

    def __repr__(self) -> str:
        return "<Bundle>"

    @classmethod
    def from_yaml(cls, text: str) -> "Bundle":
        """Read a secrets file. Unknown keys are ignored; BundleError lists all that is missing or wrong."""
        try:
            tree = load_texts(text)
        except yaml12.YAMLError as error:
            raise BundleError(f"secrets bundle is not YAML: {error}") from None
        return _from_tree(tree)

    @classmethod
    def from_json(cls, data: bytes | str) -> "Bundle":
        """Read Omni's JSON form. BundleError lists all that is missing or wrong."""
        try:
            tree = gojson.loads(data)
        except ValueError:
            raise BundleError("secrets bundle is not JSON") from None
        return _from_tree(_lower(tree))

    @classmethod
    def from_config(cls, config: "Config") -> "Bundle":
        """Collect the bundle of an existing cluster from the configuration of one of its control planes.

        BundleError lists what the configuration lacks: a worker's lacks the keys of all authorities.
        """
        return _from_tree(_tree_of_config(config))

    def to_yaml(self) -> str:
        """The file that `talosctl gen secrets` writes."""
        return yaml12.dump(_lower(self._tree()))

    def to_json(self) -> str:
        """Omni's form: the same values under capitalised names, compact."""
        return gojson.dumps(self._tree())

    def concerns(self, now: datetime) -> list[str]:
        """What Talos accepts in a bundle and a cluster will not survive: expired or false authorities, short keys."""
        found = []
        secrets = {
            "cluster.secret": self.cluster_secret,
            "secrets.secretboxencryptionsecret": self.secretbox_encryption_secret,
            "secrets.aescbcencryptionsecret": self.aescbc_encryption_secret,
        }
        for path, secret in secrets.items():
            if secret and not _is_key(secret):
                found.append(f"{path} is not the base64 of 32 bytes")
        for name in ("etcd", "k8s", "k8s_aggregator", "os"):
            found += [f"certs.{name.replace('_', '')} {concern}" for concern in _ca_concerns(getattr(self, name), now)]
        return found

    def _tree(self) -> Tree:
        secrets = {
            "BootstrapToken": self.bootstrap_token,
            "AESCBCEncryptionSecret": self.aescbc_encryption_secret,
            "SecretboxEncryptionSecret": self.secretbox_encryption_secret,
        }
        return {
            "Cluster": {"Id": self.cluster_id, "Secret": self.cluster_secret},
            "Secrets": {name: value for name, value in secrets.items() if value},
            "TrustdInfo": {"Token": self.trustd_token},
            "Certs": {
                "Etcd": _encode_pair(self.etcd),
                "K8s": _encode_pair(self.k8s),
                "K8sAggregator": _encode_pair(self.k8s_aggregator),
                "K8sServiceAccount": {"Key": _encode(self.k8s_service_account)},
                "OS": _encode_pair(self.os),
            },
        }


def new_bundle(now: datetime, contract: VersionContract, rng: Random = random) -> Bundle:
    """Make all secrets of a new cluster. Takes about a second from contract 1.7 on, for the RSA key."""
    service_account: pem.PrivateKey
    if contract.use_rsa_service_account_key:
        service_account = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    else:
        service_account = ec.generate_private_key(ec.SECP256R1())
    secretbox = contract.secretbox_encryption_supported
    encryption_secret = _encode(rng.token_bytes(32))
    return Bundle(
        cluster_id=_encode(rng.token_bytes(32)),
        cluster_secret=_encode(rng.token_bytes(32)),
        bootstrap_token=_token(rng),
        trustd_token=_token(rng),
        etcd=pki.etcd_ca(now),
        k8s=pki.kubernetes_ca(now),
        k8s_aggregator=pki.aggregator_ca(now),
        k8s_service_account=pem.encode_key(service_account),
        os=pki.talos_ca(now),
        secretbox_encryption_secret=encryption_secret if secretbox else "",
        aescbc_encryption_secret="" if secretbox else encryption_secret,
    )


def _token(rng: Random) -> str:
    identifier, secret = ("".join(rng.choice(_TOKEN_ALPHABET) for _ in range(length)) for length in (6, 16))
    return f"{identifier}.{secret}"


# Trees: a bundle as its file nests it, under the lower-case names of the YAML form.


def _from_tree(tree: object) -> Bundle:
    reader = _Reader(tree)
    # Talos lists problems in this order.
    cluster_id = reader.text("cluster", "id")
    cluster_secret = reader.text("cluster", "secret")
    bootstrap_token = reader.text("secrets", "bootstraptoken")
    secretbox, aescbc = reader.encryption_secrets()
    trustd_token = reader.text("trustdinfo", "token")
    etcd, k8s, k8s_aggregator, os = map(reader.pair, ("etcd", "k8s", "k8saggregator", "os"))
    k8s_service_account = reader.key("k8sserviceaccount")
    if reader.problems:
        raise BundleError(f"secrets bundle cannot be used: {'; '.join(reader.problems)}", reader.problems)
    return Bundle(
        cluster_id=cluster_id,
        cluster_secret=cluster_secret,
        bootstrap_token=bootstrap_token,
        trustd_token=trustd_token,
        etcd=etcd,
        k8s=k8s,
        k8s_aggregator=k8s_aggregator,
        k8s_service_account=k8s_service_account,
        os=os,
        secretbox_encryption_secret=secretbox,
        aescbc_encryption_secret=aescbc,
    )


class _Reader:
    """Takes values out of a tree and collects what is missing or wrong; malformed values raise BundleError at once."""

    def __init__(self, tree: object) -> None:
        self.problems: list[str] = []
        self._sections = _mapping(tree, "secrets bundle")

    def text(self, section: str, name: str) -> str:
        values = self._section(section)
        if values is None:
            return ""
        value = _text(values.get(name), f"{section}.{name}")
        if not value:
            self._add(f"{section}.{name} is required")
        return value

    def encryption_secrets(self) -> tuple[str, str]:
        values = self._section("secrets")
        if values is None:
            return "", ""
        names = ("secretboxencryptionsecret", "aescbcencryptionsecret")
        secretbox, aescbc = (_text(values.get(name), f"secrets.{name}") for name in names)
        if secretbox and aescbc:
            self._add(f"only one of {_EITHER} is allowed")
        if not secretbox and not aescbc:
            self._add(f"one of {_EITHER} is required")
        return secretbox, aescbc

    def pair(self, name: str) -> CertKey:
        values = self._certs(name)
        pair = CertKey(_decode(values, "crt", name), _decode(values, "key", name))
        if values is not None:
            try:
                _ = pair.certificate, pair.private_key
            except PEMError as error:
                self._add(f"certs.{name} is invalid: {error}")
        return pair

    def key(self, name: str) -> bytes:
        values = self._certs(name)
        key = _decode(values, "key", name)
        if values is not None:
            try:
                pem.load_key(key)
            except PEMError as error:
                self._add(f"certs.{name}.key is invalid: {error}")
        return key

    def _certs(self, name: str) -> Tree | None:
        certs = self._section("certs")
        if certs is None:
            return None
        if certs.get(name) is None:
            self._add(f"certs.{name} is required")
            return None
        return _mapping(certs[name], f"certs.{name}")

    def _section(self, name: str) -> Tree | None:
        if self._sections.get(name) is None:
            self._add(f"{name} is required")
            return None
        return _mapping(self._sections[name], name)

    def _add(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _mapping(value: object, what: str) -> Tree:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BundleError(f"{what} has to be a mapping")
    return value


def _text(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, yaml12.Timestamp):
        raise BundleError(f"{what} has to be a text")
    return value


def _decode(values: Tree | None, name: str, what: str) -> bytes:
    text = _text((values or {}).get(name), f"certs.{what}.{name}")
    try:
        return REDACTED if text.encode() == REDACTED else _unbase64(text)
    except ValueError:
        raise BundleError(f"certs.{what}.{name} is not base64") from None


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _encode_pair(pair: CertKey) -> Tree:
    return {"Crt": _encode(pair.crt), "Key": _encode(pair.key)}


def _lower(tree: Any) -> Any:
    """The same tree under lower-case names: how Go matches the names of JSON, and what the YAML form uses."""
    if not isinstance(tree, dict):
        return tree
    return {str(name).lower(): _lower(value) for name, value in tree.items()}


def _tree_of_config(config: "Config") -> Tree:
    """The tree that a configuration spreads over its documents. What has a document of its own is taken from there."""
    machine, cluster = ((config.v1alpha1 or {}).get(part) or {} for part in ("machine", "cluster"))
    identity = config.find("DiscoveryIdentityConfig")
    secrets = {
        "bootstraptoken": cluster.get("token"),
        "secretboxencryptionsecret": cluster.get("secretboxEncryptionSecret"),
        "aescbcencryptionsecret": cluster.get("aescbcEncryptionSecret"),
    }
    if encryption := config.find("KubeEtcdEncryptionConfig"):
        secrets |= _encryption_secret(encryption.get("config"))
    issuer = (config.find("KubeServiceAccountConfig") or {}).get("issuer") or {}
    return {
        "cluster": {
            "id": identity.get("clusterID") if identity else cluster.get("id"),
            "secret": identity.get("clusterSecret") if identity else cluster.get("secret"),
        },
        "secrets": secrets,
        "trustdinfo": {"token": machine.get("token")},
        "certs": {
            "etcd": (cluster.get("etcd") or {}).get("ca"),
            "k8s": _issuing_ca(config, "KubeAPIServerCAConfig") or cluster.get("ca"),
            "k8saggregator": _issuing_ca(config, "KubeAggregatorCAConfig") or cluster.get("aggregatorCA"),
            "k8sserviceaccount": _encode_texts(key=issuer.get("privateKey")) or cluster.get("serviceAccount"),
            "os": machine.get("ca"),
        },
    }


def _issuing_ca(config: "Config", kind: str) -> Tree | None:
    ca = (config.find(kind) or {}).get("issuingCA") or {}
    return _encode_texts(crt=ca.get("cert"), key=ca.get("key"))


def _encode_texts(**texts: str | None) -> Tree | None:
    """The base64 of each text; None if there is no text at all."""
    encoded = {name: _encode(text.encode()) for name, text in texts.items() if text}
    return encoded or None


def _encryption_secret(config: object) -> Tree:
    """The secret of the first provider that encrypts Kubernetes secrets, if that is secretbox: others fit no bundle."""
    for resource in _mappings(config, "resources"):
        if "secrets" not in (resource.get("resources") or []):
            continue
        for provider in _mappings(resource, "providers")[:1]:
            for key in _mappings(provider.get("secretbox"), "keys")[:1]:
                return {"secretboxencryptionsecret": key.get("secret")}
    return {}


def _mappings(fields: object, name: str) -> list[Tree]:
    """A list of mappings out of free-form content; what has another form is passed over."""
    items = fields.get(name) if isinstance(fields, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _is_key(secret: str) -> bool:
    try:
        return len(_unbase64(secret)) == 32
    except ValueError:
        return False


def _ca_concerns(ca: CertKey, now: datetime) -> list[str]:
    found = []
    certificate = ca.certificate
    if certificate.not_valid_after_utc <= now:
        found.append(f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.public_key() != ca.private_key.public_key():
        found.append("has a certificate and a key that do not belong together")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        found.append("is not the certificate of an authority")
    return found
