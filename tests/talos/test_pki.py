"""Certificates: what is signed, for whom, for how long; what is refused."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from talos import certificates, pem, pki
from talos.pem import CertKey, PEMError

NOW = datetime(2026, 3, 4, 5, 6, 7, 891, tzinfo=UTC)


@pytest.fixture(scope="module")
def talos_ca() -> CertKey:
    return pki.talos_ca(NOW)


@pytest.fixture(scope="module")
def kubernetes_ca() -> CertKey:
    return pki.kubernetes_ca(NOW)


def test_a_client_may_have_several_roles_and_needs_one(talos_ca):
    client = pki.talos_client(talos_ca, ["os:reader", "os:admin"], NOW, timedelta(hours=1)).certificate
    assert sorted(attribute.value for attribute in client.subject) == ["os:admin", "os:reader"]
    assert len(client.subject.rdns) == 1
    assert client.not_valid_before_utc == NOW.replace(microsecond=0)
    assert client.not_valid_after_utc - client.not_valid_before_utc == timedelta(hours=1)
    assert pki.is_apid_client(client)
    with pytest.raises(ValueError, match="at least one role"):
        pki.talos_client(talos_ca, [], NOW)


@pytest.mark.parametrize(
    ("make", "client"),
    [
        (lambda ca: pki.apid_server(ca, "n", NOW), False),
        (lambda ca: pki.apid_client(ca, "n", NOW), True),
        (lambda ca: pki.trustd_server(ca, "n", NOW), False),
        (lambda ca: pki.etcd_member(ca, "n", NOW), False),
        (lambda ca: pki.etcd_client(ca, "n", NOW), True),
        (lambda ca: pki.kube_apiserver(ca, NOW), False),
        (lambda ca: pki.apiserver_kubelet_client(ca, NOW), True),
        (lambda ca: pki.front_proxy_client(ca, NOW), True),
    ],
)
def test_apid_takes_clients_and_nothing_else(talos_ca, make, client):
    """A certificate that is also a server's is none of a client for apid."""
    certificate = make(talos_ca).certificate
    certificate.verify_directly_issued_by(talos_ca.certificate)
    assert pki.is_apid_client(certificate) is client
    assert not pki.is_apid_client(talos_ca.certificate)


def test_python_speaks_tls_with_our_certificates(talos_ca, tmp_path):
    """Ed25519 keys under Talos' label, given to ssl in its own form; both sides verify the other."""
    server = pki.apid_server(talos_ca, "node", NOW.now(UTC), [ip_address("127.0.0.1")], ["node"])
    client = pki.talos_client(talos_ca, ["os:admin"], NOW.now(UTC))
    contexts = []
    for purpose, identity in ((ssl.PROTOCOL_TLS_SERVER, server), (ssl.PROTOCOL_TLS_CLIENT, client)):
        context = ssl.SSLContext(purpose)
        context.load_verify_locations(cadata=talos_ca.crt.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        path = tmp_path / str(purpose)
        path.write_bytes(identity.crt + identity.standard_key)
        context.load_cert_chain(path)
        contexts.append(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(to_server, to_client, server_side=True),
        contexts[1].wrap_bio(to_client, to_server, server_hostname="node"),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    assert ends[0].getpeercert()["subject"] == ((("organizationName", "os:admin"),),)


def test_trustd_answers_a_worker_and_gives_it_no_role(talos_ca):
    addresses = [ip_address("10.0.0.4"), ip_address("fd00::4")]
    csr, key = pki.new_csr(talos_ca.certificate, "worker-1", addresses, ["worker-1"])
    signed = pem.load_certificate(pki.sign_csr(talos_ca, csr, NOW))
    assert signed.subject.rfc4514_string() == "CN=worker-1"
    assert signed.public_key() == pem.load_key(key).public_key()
    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert not pki.is_apid_client(signed)


def test_trustd_drops_the_roles_a_worker_asks_for(talos_ca):
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "w"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "os:admin"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "rack"),
        ]
    )
    csr = x509.CertificateSigningRequestBuilder(subject).sign(key, None)
    signed = pem.load_certificate(pki.sign_csr(talos_ca, csr.public_bytes(pem.Encoding.PEM), NOW))
    assert [attribute.value for attribute in signed.subject] == ["rack", "w"]


def test_a_request_signed_by_another_key_is_refused(talos_ca):
    csr, _ = pki.new_csr(talos_ca.certificate, "w")
    label, der = pem.first_block(csr)
    forged = pem.encode(label, der[:-1] + bytes([der[-1] ^ 1]))
    with pytest.raises(PEMError, match="not signed by its own key"):
        pki.sign_csr(talos_ca, forged, NOW)


@given(st.binary(max_size=200))
def test_no_request_breaks_trustd(junk):
    """Whatever is sent, the answer is a PEMError."""
    ca = CertKey(b"", b"")
    for text in (junk, pem.encode(pem.CERTIFICATE_REQUEST, junk)):
        with pytest.raises(PEMError):
            pki.sign_csr(ca, text, NOW)


def test_a_kubernetes_client_tolerates_a_slow_clock(kubernetes_ca):
    client = pki.kubernetes_admin(kubernetes_ca, NOW, common_name="omni:admin").certificate
    assert NOW.replace(microsecond=0) - client.not_valid_before_utc == timedelta(seconds=10)
    assert client.subject.rfc4514_string() == "CN=omni:admin,O=system:masters"


def test_a_leaf_of_any_ecdsa_authority_is_p256():
    ca = certificates.self_signed_ca([], ec.generate_private_key(ec.SECP384R1()), NOW, NOW + timedelta(days=1))
    leaf = pki.front_proxy_client(ca, NOW)
    assert isinstance(leaf.private_key, ec.EllipticCurvePrivateKey)
    assert leaf.private_key.curve.name == "secp256r1"
    leaf.certificate.verify_directly_issued_by(ca.certificate)


def test_names_without_a_subject_are_critical(talos_ca):
    leaf = certificates.issue(
        talos_ca,
        usages=[certificates.SERVER_AUTH],
        dns_names=["a"],
        not_before=NOW,
        not_after=NOW + timedelta(hours=1),
    )
    assert leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_a_pair_does_not_show_its_key(talos_ca):
    assert "PRIVATE" not in repr(talos_ca)
