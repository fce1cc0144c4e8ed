"""The keys of an installation: made once, private, and a certificate that clients can verify."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from nodeagent import internal
from omni import keys
from omni.config import Config


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_made_once_and_private(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data")
    keys.prepare(config)
    first = contents(config.data)
    assert set(first) == {
        *("ca.crt", "ca.key", "internal.crt", "internal.key", "server.crt", "server.key"),
        *("kek", "secret", "wireguard.key"),
    }
    assert len(first["kek"]) == 32
    for name in ("ca.key", "internal.key", "kek", "secret", "server.key", "wireguard.key"):
        assert (config.data / name).stat().st_mode & 0o777 == 0o600
    for folder in (config.data, config.run):
        assert folder.stat().st_mode & 0o777 == 0o700
    keys.prepare(config)
    assert contents(config.data) == first


def test_the_server_certificate_is_valid_for_its_names(tmp_path: Path) -> None:
    config = Config(data=tmp_path, url="https://omni.example.com", listen="127.0.0.1:8443")
    keys.prepare(config)
    ca, leaf = load(tmp_path / "ca.crt"), load(tmp_path / "server.crt")
    for name in (x509.DNSName("omni.example.com"), x509.DNSName("localhost"), *keys.names(config)):
        PolicyBuilder().store(Store([ca])).build_server_verifier(name).verify(leaf, [])
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)  # gRPC clients refuse Ed25519
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    assert keys.fingerprint(config) == ca.fingerprint(keys.hashes.SHA256()).hex()
    shown = x509.load_pem_x509_certificates((tmp_path / "server.crt").read_bytes())
    assert shown == [leaf, ca]  # for clients that were given the fingerprint


def test_a_new_name_gets_a_new_certificate_of_the_same_authority(tmp_path: Path) -> None:
    keys.prepare(Config(data=tmp_path))
    before = contents(tmp_path)
    keys.prepare(Config(data=tmp_path, url="https://new.example.com"))
    after = contents(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"server.crt", "server.key"}


def test_a_certificate_is_renewed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(data=tmp_path)
    monkeypatch.setattr(keys, "SERVER_DAYS", keys.RENEW_DAYS - 1)
    keys.prepare(config)
    old = load(tmp_path / "server.crt")
    monkeypatch.undo()
    keys.prepare(config)
    assert load(tmp_path / "server.crt").not_valid_after_utc > old.not_valid_after_utc + datetime.timedelta(days=300)


def test_a_key_of_ones_own_is_not_made_again(tmp_path: Path) -> None:
    keys.prepare(Config(data=tmp_path / "data", kek_file="/etc/omni/kek"))
    assert not (tmp_path / "data" / "kek").exists()


def test_the_internal_certificate_is_for_both_ends_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(data=tmp_path)
    keys.prepare(config)
    ca, leaf = load(tmp_path / "ca.crt"), load(tmp_path / "internal.crt")
    name = x509.DNSName(internal.NAME)
    PolicyBuilder().store(Store([ca])).build_server_verifier(name).verify(leaf, [])
    PolicyBuilder().store(Store([ca])).build_client_verifier().verify(leaf, [])
    assert ca.not_valid_after_utc - leaf.not_valid_after_utc < datetime.timedelta(minutes=1)
    keys.prepare(config)
    assert load(tmp_path / "internal.crt") == leaf


def test_keys_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", keys=str(tmp_path / "keys"))
    keys.prepare(config)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"run"}
    keys.require(config, "kek", "secret", "internal.crt")
    with pytest.raises(keys.KeysMissing, match=r"nothing is missing.*omni keys"):
        keys.require(config, "nothing")
