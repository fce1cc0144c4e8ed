"""Which machines get a certificate signed, and by whom."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from cryptography import x509

from apps.clusters import adapters
from apps.clusters.credentials import bundle_of
from apps.clusters.models import Cluster
from apps.machines.models import Machine
from apps.tenants.scope import tenant_scope
from talos import pki
from talos.pem import CertKey
from talos.secrets import Bundle
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.clusters.world import World, uuid_of

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits for something")


TRUST = adapters.ClusterTrust()


@pytest.fixture(autouse=True)
def in_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a test are seen by its own connection only."""

    async def run(work: Callable[[], T]) -> T:
        return work()

    monkeypatch.setattr(adapters, "in_thread", run)


@pytest.fixture
def bundle(world: World) -> Bundle:
    """Of a cluster of machine 1 (control plane) and 2 (worker); machine 3 is free."""
    lab = Lab(world)
    for number in (1, 2, 3):
        world.join(number)
    lab.sync(template([1], [2]))
    world.run(lab.ready)
    with tenant_scope(world.organisation.id):
        return bundle_of(Cluster.objects.get().secrets)


def address(number: int) -> str:
    return f"fdae:41e4:649b:9303::{number + 16:x}"


def sign(number: int, token: str, csr: bytes) -> tuple[bytes, bytes]:
    return at_once(TRUST.sign(address(number), token, csr))


def request(bundle: Bundle) -> bytes:
    csr, _ = pki.new_csr(bundle.os.certificate, "m-2")
    return csr


def test_a_worker_with_the_token(bundle: Bundle) -> None:
    ca, certificate = sign(2, bundle.trustd_token, request(bundle))
    assert ca == bundle.os.crt
    x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(bundle.os.certificate)


def test_what_is_shown_comes_from_the_machines_own_cluster(bundle: Bundle) -> None:
    certificate, key = at_once(TRUST.server_certificate(address(2)))
    pair = CertKey(certificate, key)
    pair.certificate.verify_directly_issued_by(bundle.os.certificate)
    with pytest.raises(PermissionError, match="in no cluster"):
        at_once(TRUST.server_certificate(address(3)))


@pytest.mark.parametrize(
    ("number", "token", "csr", "words"),
    [
        (2, "wrong", None, "invalid token"),
        (1, None, None, "control planes sign their own"),
        (3, None, None, "in no cluster"),
        (9, None, None, "no machine has the address"),
        (2, None, b"nonsense", "cannot be signed"),
    ],
)
def test_refusals(bundle: Bundle, number: int, token: str | None, csr: bytes | None, words: str) -> None:
    with pytest.raises(PermissionError, match=words):
        sign(number, token or bundle.trustd_token, csr or request(bundle))


def test_credentials_of_a_machine(world: World, bundle: Bundle) -> None:
    with tenant_scope(world.organisation.id):
        ids = {row.uuid: row.id for row in Machine.objects.all()}
    held = at_once(adapters.credentials_of(world.organisation.id, ids[uuid_of(2)]))
    assert held is not None
    assert held.ca == bundle.os.crt
    assert at_once(adapters.credentials_of(world.organisation.id, ids[uuid_of(3)])) is None
