"""The files an installation is known by, made at first start: its certificate authority, keys and Django's secret.

Private files are mode 0600 in a folder of mode 0700. Files that exist are never replaced, except a server certificate
that runs out or does not name the addresses in use.
"""

import base64
import os
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nodeagent import internal
from nodeagent.internal import Identity
from omni.config import Config, ConfigError, split_address

CA_YEARS, SERVER_DAYS, RENEW_DAYS = 10, 397, 30


class KeysMissing(ConfigError):
    """A file that the installation is known by is not there; the text says which and what to do."""


def prepare(config: Config) -> None:
    """Make what is missing in the folders of data and keys. Raises OSError when one cannot be written."""
    for folder in (config.data, config.key_folder, config.run):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    folder = config.key_folder
    _once(folder / "secret", lambda: secrets.token_urlsafe(48).encode())
    _once(folder / "wireguard.key", lambda: base64.b64encode(os.urandom(32)))
    if not config.kek_file:
        _once(folder / "kek", lambda: os.urandom(32))
    ca = _authority(folder)
    _server_certificate(config, *ca)
    _internal_certificate(folder, *ca)


def require(config: Config, *names: str) -> None:
    """See that files of the key folder are there. Raises `KeysMissing`."""
    paths = {name: config.kek if name == "kek" else config.key_folder / name for name in names}
    for path in paths.values():
        if not path.exists():
            raise KeysMissing(
                f"{path} is missing: make the installation's keys once with `omni keys`,"
                " and give every process the same (--keys, OMNI_KEYS)"
            )


def identity(config: Config) -> Identity:
    """What this installation's processes on several hosts know each other by."""
    folder = config.key_folder
    return Identity(folder / "ca.crt", folder / "internal.crt", folder / "internal.key")


def fingerprint(config: Config) -> str:
    """SHA-256 of the installation's CA certificate, in hex: what a careful client compares."""
    certificate = x509.load_pem_x509_certificate((config.key_folder / "ca.crt").read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex()


def names(config: Config) -> list[x509.GeneralName]:
    """What the server certificate is for: the listening address, the public URL's, and this host's own names."""
    hosts = {"localhost", "127.0.0.1", "::1", socket.gethostname(), split_address(config.listen)[0]}
    hosts |= {urlsplit(config.public_url).hostname or "", config.advertise}
    return [_name(host) for host in sorted(hosts - {"", "0.0.0.0", "::"})]  # noqa: S104 (not names of anybody)


def _authority(data: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if not (data / "ca.crt").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"omni {secrets.token_hex(4)}")])
        certificate = (
            _builder(name, name, key, timedelta(days=365 * CA_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(data / "ca.key", _pem(key))
        _write(data / "ca.crt", certificate.public_bytes(Encoding.PEM), mode=0o644)
    loaded = load_pem_private_key((data / "ca.key").read_bytes(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate((data / "ca.crt").read_bytes()), loaded


def _server_certificate(config: Config, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey) -> None:
    path, wanted = config.key_folder / "server.crt", names(config)
    if path.exists():
        old, *chain = x509.load_pem_x509_certificates(path.read_bytes())
        fresh = old.not_valid_after_utc > datetime.now(UTC) + timedelta(days=RENEW_DAYS)
        held = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if fresh and set(wanted) <= set(held) and chain == [ca]:
            return
    _issue(path, timedelta(days=SERVER_DAYS), wanted, [ExtendedKeyUsageOID.SERVER_AUTH], ca, ca_key)


def _internal_certificate(folder: Path, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey) -> None:
    """It lives as long as its authority: no process stops working because another was not started lately."""
    path, uses = folder / "internal.crt", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    if not path.exists() or x509.load_pem_x509_certificate(path.read_bytes()).issuer != ca.subject:
        life = ca.not_valid_after_utc - datetime.now(UTC)
        _issue(path, life, [x509.DNSName(internal.NAME)], uses, ca, ca_key)


def _issue(
    path: Path,
    life: timedelta,
    names: list[x509.GeneralName],
    uses: list[x509.ObjectIdentifier],
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
) -> None:
    """Write a new certificate and, beside it, its key. The authority follows it: who has its fingerprint can check."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "omni")])
    certificate = (
        _builder(name, ca.subject, key, life)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(path.with_suffix(".key"), _pem(key))
    _write(path, certificate.public_bytes(Encoding.PEM) + ca.public_bytes(Encoding.PEM), mode=0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _once(path: Path, make: Callable[[], bytes]) -> None:
    if not path.exists():
        _write(path, make())


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write whole or not at all: a kill in between leaves the old state."""
    half = path.with_name(f".{path.name}.new")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
