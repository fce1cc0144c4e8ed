"""The service's TLS certificate: read anew when its files change, without a restart."""

import logging
import ssl
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import load_pem_x509_certificates

log = logging.getLogger(__name__)


class CertificateFiles:
    """A certificate (PEM, with what lies between it and an authority) and its key."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read them. Raises OSError, and ValueError when they cannot be used, with a sentence."""
        self._files = (certificate, key)
        self._refused: object = None
        self._seen = self._stamps()
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """For a port that shows, in each handshake, what the files hold then."""
        return grpc.dynamic_ssl_server_credentials(self._current, self._changed)  # type: ignore[arg-type]

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificate, None when it is the same. While files do not fit together, as in the middle of being
        replaced, the last good one stays."""
        stamps = None
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return None
            self._current = self._read()
        except (OSError, ValueError) as error:
            if self._refused != (stamps, str(error)):
                self._refused = stamps, str(error)
                log.error("the new certificate is not used, the former one stays: %s", error)
            return None
        self._seen = stamps
        log.info("%s is used from now on", self._files[0])
        return self._current

    def _stamps(self) -> list[tuple[int, int, int]]:
        stats = [path.stat() for path in self._files]
        return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats]

    def _read(self) -> grpc.ServerCertificateConfiguration:
        certificate, key = self._files
        chain = certificate.read_bytes()
        try:
            first = load_pem_x509_certificates(chain)[0]
        except ValueError:
            raise ValueError(f"{certificate} holds no certificate (PEM)") from None
        if isinstance(first.public_key(), Ed25519PublicKey):
            raise ValueError(f"{certificate} has an Ed25519 key, which gRPC cannot use; make one with ECDSA (P-256)")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError:
            raise ValueError(f"{key} is no key (PEM) of the certificate in {certificate}") from None
        return grpc.ssl_server_certificate_configuration([(key.read_bytes(), chain)])


def _no_password() -> str:
    raise ValueError("the key is protected by a password; give one that is not")
