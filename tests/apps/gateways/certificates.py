"""An organisation's authority and the certificates of its clients, made with other code than ours."""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """Issues certificates under a name that others may bear, too."""

    def __init__(self, name: str = "clients") -> None:
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _name(name)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self._name, self._key.public_key(), 1, 24).add_extension(constraints, critical=True)
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def give(self, context: ssl.SSLContext, serial: int, hours: int = 8, server: bool = False) -> ssl.SSLContext:
        """Put a certificate of this authority into a client's context; valid for so many hours from an hour ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(_name("ana"), key.public_key(), serial, hours)
        leaf = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).sign(self._key, hashes.SHA256())
        with tempfile.NamedTemporaryFile() as file:
            file.write(leaf.public_bytes(serialization.Encoding.PEM))
            pkcs8 = serialization.PrivateFormat.PKCS8
            file.write(key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, hours: int
    ) -> x509.CertificateBuilder:
        start = datetime.now(UTC) - timedelta(hours=1)
        return (
            x509.CertificateBuilder(self._name, subject, key, serial, start, start + timedelta(hours=hours))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
