"""How a certificate is made: authorities, leaves, requests. Which ones a cluster has is in `talos.pki`.

Certificates are made as Go makes them: version 3, a random serial of 128 bits, whole seconds, PrintableString where the
text allows it, one RDN for all organisations; a leaf has no basic constraints and no key identifier of its own.
"""

import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from talos import pem
from talos.pem import CertKey, PEMError, PrivateKey, PublicKey

Address = IPv4Address | IPv6Address

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH

# The attributes Go keeps of a subject, in the order in which it writes them.
_SUBJECT_ORDER = (
    NameOID.COUNTRY_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.STREET_ADDRESS,
    NameOID.POSTAL_CODE,
    NameOID.COMMON_NAME,
    NameOID.SERIAL_NUMBER,
)
_SINGLE_VALUED = (NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER)
_PRINTABLE = frozenset(string.ascii_letters + string.digits + " '()+,-./:=?")


def self_signed_ca(organizations: Sequence[str], key: PrivateKey, not_before: datetime, not_after: datetime) -> CertKey:
    """An authority over `key`. Without organisations its subject is empty."""
    name = _subject(organizations)
    public = key.public_key()
    builder = (
        _builder(name, name, public, not_before, not_after)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([SERVER_AUTH, CLIENT_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return CertKey(_sign(builder, key), pem.encode_key(key))


def issue(
    ca: CertKey,
    *,
    organizations: Iterable[str] = (),
    common_name: str = "",
    usages: Sequence[ObjectIdentifier],
    key_encipherment: bool = False,
    addresses: Iterable[Address] = (),
    dns_names: Iterable[str] = (),
    not_before: datetime,
    not_after: datetime,
    serial: int = 0,
) -> CertKey:
    """Sign a leaf for a new key of the kind `ca` has; a `serial` of 0 stands for a random one.

    PEMError if `ca` cannot be read.
    """
    subject = _subject(list(organizations), common_name)
    key = _new_key(ca.certificate)
    builder = _builder(subject, ca.certificate.subject, key.public_key(), not_before, not_after, serial)
    names = _general_names(addresses, dns_names)
    return CertKey(_sign_leaf(builder, ca, subject, names, usages, key_encipherment), pem.encode_key(key))


def sign_request(
    ca: CertKey, csr: bytes, *, usages: Sequence[ObjectIdentifier], not_before: datetime, not_after: datetime
) -> bytes:
    """Sign a request. `csr` and the result are PEM.

    Names and addresses are taken from it; its organisations are not, as they would be roles. PEMError if the request
    is malformed or not signed by its own key.
    """
    _, der = pem.first_block(csr)
    try:
        request = x509.load_der_x509_csr(der)
        if not request.is_signature_valid:
            raise PEMError("the certificate request is not signed by its own key")
        public_key = request.public_key()
        names = _subject_names(request)
        subject = _rewritten(request.subject, without=NameOID.ORGANIZATION_NAME)
    except PEMError:
        raise
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise PEMError(f"failed to parse certificate request: {error}") from None
    if not isinstance(public_key, PublicKey):
        raise PEMError("unsupported key type in certificate request: expected RSA, ECDSA or Ed25519")
    builder = _builder(subject, ca.certificate.subject, public_key, not_before, not_after)
    return _sign_leaf(builder, ca, subject, names, usages, key_encipherment=False)


def new_request(
    ca: x509.Certificate, common_name: str, addresses: Iterable[Address] = (), dns_names: Iterable[str] = ()
) -> tuple[bytes, bytes]:
    """A request for a certificate, and its new key, both PEM.

    The key is of the kind that `ca`, who is to sign it, has.
    """
    key = _new_key(ca)
    builder = x509.CertificateSigningRequestBuilder(_subject([], common_name))
    if names := _general_names(addresses, dns_names):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    request = builder.sign(key, _signature_hash(key))
    return request.public_bytes(Encoding.PEM), pem.encode_key(key)


def _sign_leaf(
    builder: x509.CertificateBuilder,
    ca: CertKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    usages: Sequence[ObjectIdentifier],
    key_encipherment: bool,
) -> bytes:
    builder = builder.add_extension(_key_usage(key_encipherment=key_encipherment), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if identifier := _key_identifier(ca.certificate):
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
    return _sign(builder, ca.private_key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: PublicKey,
    not_before: datetime,
    not_after: datetime,
    serial: int = 0,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=public_key,
        serial_number=serial or secrets.randbits(128) or 1,
        not_valid_before=not_before.astimezone(UTC).replace(microsecond=0),
        not_valid_after=not_after.astimezone(UTC).replace(microsecond=0),
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> bytes:
    return builder.sign(key, _signature_hash(key)).public_bytes(Encoding.PEM)


def _signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA512 | None:
    """Ed25519 has its own, any ECDSA key signs SHA-256, RSA signs SHA-512."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    return hashes.SHA512() if isinstance(key, rsa.RSAPrivateKey) else hashes.SHA256()


def _new_key(ca: x509.Certificate) -> PrivateKey:
    """A key of the kind of the authority's own: any ECDSA authority has P-256 leaves, an RSA one 4096 bits."""
    authority = ca.public_key()
    if isinstance(authority, ed25519.Ed25519PublicKey):
        return ed25519.Ed25519PrivateKey.generate()
    if isinstance(authority, ec.EllipticCurvePublicKey):
        return ec.generate_private_key(ec.SECP256R1())
    if isinstance(authority, rsa.RSAPublicKey):
        return rsa.generate_private_key(public_exponent=65537, key_size=4096)
    raise PEMError("unsupported key type of the authority: expected RSA, ECDSA or Ed25519")


def _key_usage(*, key_cert_sign: bool = False, key_encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_identifier(ca: x509.Certificate) -> bytes | None:
    try:
        return ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


# Names


def _subject(organizations: Sequence[str], common_name: str = "") -> x509.Name:
    return _name({NameOID.ORGANIZATION_NAME: organizations, NameOID.COMMON_NAME: [common_name] if common_name else []})


def _rewritten(name: x509.Name, without: ObjectIdentifier) -> x509.Name:
    """A name as Go writes it after reading: known attributes in its own order, less the one to leave out."""
    values: dict[ObjectIdentifier, list[str]] = {}
    for attribute in name:
        if attribute.oid != without and isinstance(attribute.value, str):
            kept = values.setdefault(attribute.oid, [])
            if attribute.oid in _SINGLE_VALUED:
                kept.clear()
            kept.append(attribute.value)
    return _name(values)


def _name(values: Mapping[ObjectIdentifier, Sequence[str]]) -> x509.Name:
    return x509.Name(
        x509.RelativeDistinguishedName(_attribute(oid, value) for value in dict.fromkeys(values[oid]))
        for oid in _SUBJECT_ORDER
        if values.get(oid)
    )


def _attribute(oid: ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    kind = _ASN1Type.PrintableString if _PRINTABLE.issuperset(value) else _ASN1Type.UTF8String
    return x509.NameAttribute(oid, value, kind, _validate=False)


def _general_names(addresses: Iterable[Address], dns_names: Iterable[str]) -> list[x509.GeneralName]:
    return [*map(x509.DNSName, dns_names), *map(x509.IPAddress, addresses)]


def _subject_names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    """The DNS names and addresses a request asks for."""
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    wanted = (x509.DNSName, x509.IPAddress)
    return [name for kind in wanted for name in names if isinstance(name, kind)]
