"""Certificates, keys and bundles: fields of what we issue, errors for what we refuse."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from talos import certificates, pem, pki, roles, secrets
from talos.config.errors import error_list
from talos.pem import CertKey, PEMError
from tests.talos.vectors import unequal, validation

ORG, CN = NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME
USAGES = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}
KEY_TYPES = (
    (ec.EllipticCurvePrivateKey, "*ecdsa.PrivateKey", "*x509.ECDSAKey"),
    (ed25519.Ed25519PrivateKey, "ed25519.PrivateKey", "*x509.Ed25519Key"),
    (rsa.RSAPrivateKey, "*rsa.PrivateKey", "*x509.RSAKey"),
)
#: What differs from certificate to certificate, or follows from what does.
RANDOM = {"serialHex", "sha256", "spkiFingerprint"}


def cases(data, folder):
    bundles = {b["name"]: b["yaml"] for b in json.loads((folder / "secrets.json").read_text()) if "yaml" in b}
    for case in data["talosClientCertificates"]:
        name = ",".join(case["roles"] or []) or "none"
        yield f"client/{name}", {"kind": "client", "yaml": bundles[case.get("bundle", "alpha")], **case}
    for case in data["leaves"]:
        yield f"leaf/{case['id']}", {"kind": "leaf", "bundles": bundles, **case}
    for number, case in enumerate(data["csr"]):
        yield f"csr/{number}", {"kind": "csr", "bundles": bundles, **case}
    for kind in ("pemForms", "bundleValidation", "caInConfig"):
        for case in data[kind]:
            yield f"{kind}/{case['id']}", {"kind": kind, **case}


def check(case):
    return CHECKS[case["kind"]](case)


def check_client(case):
    ca = secrets.Bundle.from_yaml(case["yaml"]).os
    wanted, unknown = roles.parse(case["roles"] or [])
    try:
        issued = pki.talos_client(
            ca, wanted, time(case.get("now", "2026-01-01T00:00:00Z")), timedelta(seconds=case.get("ttlSeconds", 1))
        )
    except ValueError as error:
        return unequal("error", str(error), case.get("error"))
    certificate = issued.certificate
    return (
        unequal("error", None, case.get("error"))
        or unequal("unknown roles", unknown, case["unknownRoles"] or [])
        or same_fields(certificate, case["certificate"])
        or unequal("client usage", pki.is_apid_client(certificate), case["verifyAsClient"] is None)
        or unequal("own key", issued.private_key.public_key(), certificate.public_key())
        or signed_by(certificate, ca)
        or unequal("theirs", fields(pem.load_certificate(case["crtPEM"].encode())), case["certificate"])
        or readable_by_ssl(issued)
    )


def check_leaf(case):
    want = case["certificate"]
    theirs = pem.load_certificate(case["crtPEM"].encode())
    ca = issuer_of(theirs, case["bundles"])
    start, end = time(want["notBefore"]), time(want["notAfter"])
    if case["id"] == "kubernetes-admin":
        issued = pki.kubernetes_admin(ca, start + pki.CLOCK_SKEW, end - start - pki.CLOCK_SKEW)
    else:
        names = {oid: [item.value for item in theirs.subject.get_attributes_for_oid(oid)] for oid in (ORG, CN)}
        usages = {name: oid for oid, name in USAGES.items()}
        issued = certificates.issue(
            ca,
            organizations=names[ORG],
            common_name="".join(names[CN]),
            usages=[usages[name] for name in want["extKeyUsage"]],
            key_encipherment="keyEncipherment" in want["keyUsage"],
            addresses=[ip_address(address) for address in want["ipAddresses"]],
            dns_names=want["dnsNames"],
            not_before=start,
            not_after=end,
        )
    return same_fields(issued.certificate, want) or signed_by(issued.certificate, ca)


def check_csr(case):
    if "error" in case:
        _, error = attempt(lambda: pki.sign_csr(CertKey(b"", b""), case["csrPEM"].encode(), datetime.now(UTC)))
        return None if error else f"no error, want {case['error']}"
    want = case["certificate"]
    start, end = time(want["notBefore"]), time(want["notAfter"])
    ca = issuer_of(pem.load_certificate(case["signedCrtPEM"].encode()), case["bundles"])
    issued = pem.load_certificate(pki.sign_csr(ca, case["csrPEM"].encode(), start, end - start))
    key = pem.load_key(case["keyPEM"].encode())
    return (
        unequal("authority", ca.crt.decode(), case["caCrtPEM"])
        or same_fields(issued, want)
        or signed_by(issued, ca)
        or unequal("key", issued.public_key(), key.public_key())
    )


def check_pem(case):
    pair = CertKey(case["crtPEM"].encode(), case["keyPEM"].encode())
    certificate, certificate_error = attempt(lambda: pair.certificate)
    key, key_error = attempt(lambda: pair.private_key)
    alone, alone_error = attempt(lambda: pem.load_key(pair.key))
    got = {
        "certSubject": go_name(certificate.subject) if certificate else None,
        "keyType": next((name for kind, name, _ in KEY_TYPES if isinstance(key, kind)), None),
        "keyOnlyType": next((name for kind, _, name in KEY_TYPES if isinstance(alone, kind)), None),
        "publicKeyPEM": pem.encode_public_key(alone.public_key()).decode() if alone else None,
    }
    return (
        unequal("fields", got, {name: case.get(name) for name in got})
        or same_error("certificate error", certificate_error, case.get("certError"))
        or same_error("key error", key_error, case.get("keyError"))
        or same_error("lone key error", alone_error, case.get("keyOnlyError"))
    )


def check_bundle(case):
    try:
        secrets.Bundle.from_yaml(case["yaml"])
    except secrets.BundleError as error:
        if "decodeError" in case:
            return None if not error.problems else f"refused late: {error}"
        return unequal("problems", error_list(error.problems), case["validate_v1.14"])
    return unequal("error", None, case.get("decodeError") or case["validate_v1.14"])


def check_config(case):
    return validation.check({"mode": "metal", "strict": False, "local": True, "warnings": [], **case})


CHECKS = {
    "client": check_client,
    "leaf": check_leaf,
    "csr": check_csr,
    "pemForms": check_pem,
    "bundleValidation": check_bundle,
    "caInConfig": check_config,
}


def time(text):
    return datetime.fromisoformat(text)


def attempt(load):
    try:
        return load(), None
    except PEMError as error:
        return None, str(error)


def same_error(what, got, want):
    """Compare our error with a library's, up to the words that come from Go's standard library."""
    if want is None or got is None:
        return unequal(what, got, want)
    ours = want.split("x509: ")[0]
    return None if got.startswith(ours) and (ours != want or got == want) else unequal(what, got, want)


def issuer_of(certificate, bundles):
    """The authority among those of the bundles that signed a certificate."""
    for text in bundles.values():
        bundle = secrets.Bundle.from_yaml(text)
        for ca in (bundle.os, bundle.k8s, bundle.etcd, bundle.k8s_aggregator):
            if signed_by(certificate, ca) is None:
                return ca
    raise LookupError("no bundle signed this certificate")


def signed_by(certificate, ca):
    try:
        certificate.verify_directly_issued_by(ca.certificate)
    except Exception as error:
        return f"not signed by the authority: {error}"
    return None


def readable_by_ssl(issued):
    return unequal(
        "standard key", load_pem_private_key(issued.standard_key, None).public_key(), issued.certificate.public_key()
    )


def same_fields(certificate, want):
    got = {name: value for name, value in fields(certificate).items() if name not in RANDOM}
    return unequal("fields", got, {name: value for name, value in want.items() if name not in RANDOM})


def fields(certificate):
    """A certificate the way the vectors describe it."""
    extensions = certificate.extensions
    return {
        "authorityKeyIdHex": hex_of(extensions, x509.AuthorityKeyIdentifier, "key_identifier"),
        "basicConstraintsPresent": extension(extensions, x509.BasicConstraints) is not None,
        "dnsNames": alternative_names(extensions, x509.DNSName),
        "extKeyUsage": [USAGES[oid] for oid in extension(extensions, x509.ExtendedKeyUsage) or []],
        "extensions": [{"critical": item.critical, "oid": item.oid.dotted_string} for item in extensions],
        "ipAddresses": [str(address) for address in alternative_names(extensions, x509.IPAddress)],
        "isCA": bool((constraints := extension(extensions, x509.BasicConstraints)) and constraints.ca),
        "issuer": go_name(certificate.issuer),
        "keyUsage": key_usage(extension(extensions, x509.KeyUsage)),
        "maxPathLen": -1 if constraints else 0,
        "notAfter": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "notBefore": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "publicKeyAlgorithm": algorithm(certificate.public_key()),
        "serialHex": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(certificates.hashes.SHA256()).hex(),
        "signatureAlgorithm": signature(certificate),
        "spkiFingerprint": fingerprint(certificate),
        "subject": go_name(certificate.subject),
        "subjectDERHex": certificate.subject.public_bytes().hex(),
        "subjectKeyIdHex": hex_of(extensions, x509.SubjectKeyIdentifier, "digest"),
        "version": certificate.version.value + 1,
    }


def extension(extensions, kind):
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def hex_of(extensions, kind, name):
    value = extension(extensions, kind)
    return getattr(value, name).hex() if value else ""


def alternative_names(extensions, kind):
    names = extension(extensions, x509.SubjectAlternativeName)
    return names.get_values_for_type(kind) if names else []


def key_usage(usage):
    names = {
        "digitalSignature": usage.digital_signature,
        "keyEncipherment": usage.key_encipherment,
        "keyCertSign": usage.key_cert_sign,
        "cRLSign": usage.crl_sign,
    }
    return [name for name, used in names.items() if used]


def algorithm(key):
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "RSA" if isinstance(key, rsa.RSAPublicKey) else "ECDSA"


def signature(certificate):
    used = certificate.signature_hash_algorithm
    if used is None:
        return "Ed25519"
    kind = certificate.signature_algorithm_oid._name
    return f"ECDSA-{used.name.upper()}" if "ecdsa" in kind else f"{used.name.upper()}-RSA"


def fingerprint(certificate):
    der = certificate.public_key().public_bytes(pem.Encoding.DER, pem.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def go_name(name):
    """A name as Go prints it: last attribute first, several values of one joined by `+`."""
    return ",".join(
        "+".join(f"{attribute.rfc4514_attribute_name}={attribute.value}" for attribute in rdn)
        for rdn in reversed(name.rdns)
    )
