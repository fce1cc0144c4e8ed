"""Keys that sign calls: registered, accepted in a browser, given to service accounts, revoked; client certificates."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.accounts import authority, grants, keys, service_accounts
from apps.accounts.actions import add_member, remove_member
from apps.accounts.identity import from_key
from apps.accounts.key_adapters import Keys
from apps.accounts.models import AccessKey, Authority, GrantRequest, Membership, User
from apps.audit.models import AuditRecord
from apps.tenants import lookups
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from nodeagent.authservice import KeyRefused, NewKey
from talos import openpgp, pki, serviceaccount, signing

Member = Callable[..., User]
REVOKE = "/auth.AuthService/RevokePublicKey"


@pytest.fixture
def user(member: Member) -> User:
    return member("admin")


def acting(user: User, organisation: Organisation, role: str = "admin") -> Actor:
    return Actor("user", str(user.id), user.email, organisation.id, role, ceiling=role, subject=f"user:{user.email}")


def pgp(email: str = "admin@acme.example.com", hours: int = 4) -> openpgp.PrivateKey:
    return openpgp.generate(f"Talos <{email}>", timezone.now(), timedelta(hours=hours))


def new(key: openpgp.PrivateKey, **changed: Any) -> NewKey:
    public = key.public
    assert public.expires
    given = {"kind": "pgp", "name": "Talos", "public": public.armored.encode(), "expires": public.expires}
    return NewKey(fingerprint=public.fingerprint, **{**given, **changed})


def accept(user: User, organisation: Organisation, key: openpgp.PrivateKey, role: str = "operator") -> AccessKey:
    """Register a key and accept it as the page does."""
    keys.register(user.email, new(key), "192.0.2.1")
    request = GrantRequest.objects.get(fingerprint=key.public.fingerprint)
    with tenant_scope(organisation.id):
        grants.grant(acting(user, organisation), user, request.id, role, "")
        return AccessKey.objects.get(fingerprint=key.public.fingerprint)


def test_a_key_is_used_from_when_its_person_accepts_it(user: User, organisation: Organisation) -> None:
    key = pgp()
    url = keys.register(user.email, new(key), "192.0.2.1")
    request = GrantRequest.objects.get()
    assert url.endswith(f"/grant/{request.id}")
    assert request.details["name"] == "Talos"
    assert keys.signing_key(key.public.fingerprint) is None

    row = accept(user, organisation, key)
    assert (row.user, row.role, row.source, row.expires_at) == (user, "operator", "192.0.2.1", key.public.expires)
    assert keys.signing_key(key.public.fingerprint) == key.public
    identity = from_key(key.public.fingerprint)
    assert identity
    assert identity.user == user
    with tenant_scope(organisation.id):
        made = AuditRecord.objects.get(verb="access-key.create")
    assert made.details["key"] == key.public.fingerprint


def test_for_somebody_unknown_nothing_waits_and_the_answer_is_the_same(user: User, member: Member) -> None:
    known = keys.register(user.email, new(pgp()), "192.0.2.1")
    blocked = member("reader")
    User.objects.filter(id=blocked.id).update(is_active=False)
    for email in ("nobody@example.com", blocked.email):
        unknown = keys.register(email, new(pgp(email)), "192.0.2.1")
        assert unknown.rsplit("/", 1)[0] == known.rsplit("/", 1)[0]
        assert len(unknown) == len(known)
    assert GrantRequest.objects.count() == 1


def test_too_many_are_refused_whoever_they_are_for(user: User) -> None:
    for _ in range(grants.ASKED_A_MINUTE):
        grants.ask(GrantRequest.LOGIN, {}, "192.0.2.1")
    for email in (user.email, "nobody@example.com"):
        with pytest.raises(KeyRefused) as refused:
            keys.register(email, new(pgp(email)), "192.0.2.1")
        assert refused.value.code == "RESOURCE_EXHAUSTED"


def test_the_same_key_waits_once_and_old_ones_leave(user: User) -> None:
    key = pgp()
    assert keys.register(user.email, new(key), "a") == keys.register(user.email, new(key), "b")
    for number in range(keys.WAITING_OF_ONE):
        keys.register(user.email, new(pgp()), f"192.0.2.{number}")
    assert GrantRequest.objects.count() == keys.WAITING_OF_ONE
    assert not GrantRequest.objects.filter(fingerprint=key.public.fingerprint).exists()


def test_a_key_that_was_accepted_does_not_wait_again(user: User, organisation: Organisation) -> None:
    key = pgp()
    accept(user, organisation, key)
    keys.register(user.email, new(key), "192.0.2.1")
    assert not GrantRequest.objects.filter(granted=None).exists()


def test_a_role_that_is_asked_for_is_the_most_that_is_granted(user: User, organisation: Organisation) -> None:
    key = pgp()
    keys.register(user.email, new(key, role="reader"), "192.0.2.1")
    request = GrantRequest.objects.get()
    with tenant_scope(organisation.id), pytest.raises(ValidationError, match="cannot be granted"):
        grants.grant(acting(user, organisation), user, request.id, "operator", "")
    with pytest.raises(KeyRefused, match="is not a role"):
        keys.register("nobody@example.com", new(pgp(), role="king"), "192.0.2.1")


def test_a_key_that_ended_before_it_was_accepted(user: User, organisation: Organisation) -> None:
    key = pgp()
    keys.register(user.email, new(key, expires=timezone.now()), "192.0.2.1")
    request = GrantRequest.objects.get()
    with tenant_scope(organisation.id), pytest.raises(ValidationError, match="expired"):
        grants.grant(acting(user, organisation), user, request.id, "reader", "")


def test_only_so_many_keys(user: User, organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS_OF_ONE", 1)
    row = accept(user, organisation, pgp())
    with pytest.raises(ValidationError, match="revoke some"):
        accept(user, organisation, pgp())
    with tenant_scope(organisation.id):
        keys.revoke_access_key(acting(user, organisation), row)
    accept(user, organisation, pgp())


def test_revoking_ends_a_key(user: User, organisation: Organisation) -> None:
    key = pgp()
    row = accept(user, organisation, key)
    with tenant_scope(organisation.id):
        keys.revoke_access_key(acting(user, organisation), row)
        keys.revoke_access_key(acting(user, organisation), row)
        assert AuditRecord.objects.filter(verb="access-key.revoke").count() == 1
    assert keys.signing_key(key.public.fingerprint) is None
    assert from_key(key.public.fingerprint) is None
    keys.register(user.email, new(key), "192.0.2.1")
    assert not GrantRequest.objects.filter(granted=None).exists()


def test_one_sees_and_revokes_one_s_own_keys_and_admins_all(organisation: Organisation, member: Member) -> None:
    reader, other = member("reader"), member("operator")
    row = accept(reader, organisation, pgp(reader.email), "reader")
    with tenant_scope(organisation.id):
        stranger = acting(other, organisation, "operator")
        assert list(keys.access_keys(acting(reader, organisation, "reader"))) == [row]
        assert list(keys.access_keys(acting(other, organisation, "admin"))) == [row]
        assert not keys.access_keys(stranger)
        with pytest.raises(Denied):
            keys.revoke_access_key(stranger, row)
        keys.revoke_access_key(acting(reader, organisation, "reader"), row)


def test_the_key_of_a_service_account(user: User, organisation: Organisation) -> None:
    actor = acting(user, organisation)
    made = serviceaccount.new_key("ci", timezone.now(), timedelta(days=365))
    with tenant_scope(organisation.id):
        account = service_accounts.create(actor, "ci", "operator")
        row = keys.add_signing_key(actor, account, made.public.armored)
        assert (row.service_account, row.role, row.name) == (account, "operator", "ci")
        assert keys.holder_of(row) == "service account ci"
        for text, armored in (
            ("registered before", made.public.armored),
            ("365 days", serviceaccount.new_key("ci", timezone.now(), timedelta(days=366)).public.armored),
            ("private key", made.armored),
            ("neither armored", "\0ä"),
            ("can be printed", openpgp.generate("a\0 <a@b>", timezone.now(), timedelta(days=1)).public.armored),
        ):
            with pytest.raises(ValidationError, match=text):
                keys.add_signing_key(actor, account, armored)
        owners = service_accounts.create(acting(user, organisation, "owner"), "root", "owner")
        with pytest.raises(ValidationError, match="is admin and cannot"):
            keys.add_signing_key(actor, owners, pgp().public.armored)
        with pytest.raises(Denied):
            keys.add_signing_key(acting(user, organisation, "operator"), account, pgp().public.armored)
    identity = from_key(made.public.fingerprint)
    assert identity
    assert identity.service_account == account


def signed(key: openpgp.PrivateKey) -> dict[str, list[str]]:
    return signing.sign(key, "a", REVOKE, {}, timezone.now())


def test_a_key_is_revoked_by_a_signed_call(user: User, organisation: Organisation, member: Member) -> None:
    mine, second, other = pgp(), pgp(), pgp("reader@acme.example.com")
    accept(user, organisation, mine, "reader")
    accept(user, organisation, second, "reader")
    accept(member("reader"), organisation, other, "reader")
    for metadata, fingerprint, code in (
        ({}, mine.public.fingerprint, "UNAUTHENTICATED"),
        (signed(pgp()), mine.public.fingerprint, "UNAUTHENTICATED"),
        (signed(mine), other.public.fingerprint, "PERMISSION_DENIED"),
        (signed(mine), "ab" * 20, "PERMISSION_DENIED"),
    ):
        with pytest.raises(KeyRefused) as refused:
            keys.revoke_signed(metadata, REVOKE, fingerprint, "192.0.2.1")
        assert refused.value.code == code
    keys.revoke_signed(signed(mine), REVOKE, second.public.fingerprint, "192.0.2.1")
    keys.revoke_signed(signed(mine), REVOKE, mine.public.fingerprint, "192.0.2.1")
    with pytest.raises(KeyRefused, match="not known here"):
        keys.revoke_signed(signed(mine), REVOKE, mine.public.fingerprint, "192.0.2.1")


def test_a_certificate_proves_its_holder(user: User, organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        row, made = authority.issue_certificate(acting(user, organisation), user, "talosctl")
        _, again = authority.issue_certificate(acting(user, organisation), user, "talosctl")
        assert Authority.objects.count() == 1
    [ca] = lookups.authorities()
    leaf = made.certificate
    for certificate in (leaf, again.certificate):
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
    assert leaf.serial_number == row.id.int
    assert f"{leaf.serial_number:032x}" == row.fingerprint
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == user.email
    assert leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "acme"
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.not_valid_after_utc == row.expires_at.replace(microsecond=0)
    assert row.expires_at - row.created_at < authority.DEFAULT_LIFETIME + timedelta(minutes=1)
    identity = from_key(row.fingerprint)
    assert identity
    assert identity.user == user


def test_two_organisations_have_two_authorities(
    user: User, organisation: Organisation, other_organisation: Organisation
) -> None:
    found = []
    for one in (organisation, other_organisation):
        with tenant_scope(one.id):
            found.append(authority.authority(acting(user, one)).certificate)
    assert found[0].subject != found[1].subject
    leaf = pki.organisation_client(
        pki.organisation_ca("x", timezone.now()), "a", "b", 7, timezone.now(), timezone.now()
    )
    with pytest.raises(ValueError, match="Issuer"):
        leaf.certificate.verify_directly_issued_by(found[0])


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(hours=25)])
def test_certificates_live_for_hours(user: User, organisation: Organisation, lifetime: timedelta) -> None:
    with tenant_scope(organisation.id), pytest.raises(ValidationError, match="24 hours"):
        authority.issue_certificate(acting(user, organisation), user, "talosctl", lifetime)


def test_a_certificate_for_somebody_else(user: User, organisation: Organisation, member: Member) -> None:
    reader = member("reader")
    with tenant_scope(organisation.id):
        with pytest.raises(ValidationError, match="nobody else"):
            authority.issue_certificate(acting(user, organisation), reader, "talosctl")
        account = service_accounts.create(acting(user, organisation), "ci", "reader")
        row, _ = authority.issue_certificate(acting(user, organisation), account, "talosctl")
        assert row.service_account == account
        with pytest.raises(Denied):
            authority.issue_certificate(acting(reader, organisation, "reader"), account, "talosctl")
        itself = Actor("token", str(account.id), "ci", organisation.id, "reader", ceiling="reader")
        row, _ = authority.issue_certificate(itself, account, "talosctl")
        assert row.role == "reader"


@pytest.mark.django_db(transaction=True)
async def test_who_waits_hears_of_a_key(user: User, organisation: Organisation) -> None:
    port, key = Keys(), pgp()
    url = await port.register(user.email, new(key), "192.0.2.1")
    assert "/grant/" in url
    assert not await port.accepted(key.public.fingerprint)
    with port.server._place(key.public.fingerprint, "192.0.2.1") as look:
        row = await asyncio.to_thread(lambda: accept(user, organisation, key))
        port.heard(row.id, organisation.id)
        await asyncio.wait_for(look.wait(), 5)
    assert await port.accepted(key.public.fingerprint)
    with pytest.raises(KeyRefused):
        await port.revoke({}, REVOKE, key.public.fingerprint, "192.0.2.1")


def test_the_keys_of_a_member_who_was_removed(user: User, organisation: Organisation, member: Member) -> None:
    reader, key = member("reader"), pgp("reader@acme.example.com")
    accept(reader, organisation, key, "reader")
    with tenant_scope(organisation.id):
        remove_member(acting(user, organisation), Membership.objects.get(user=reader))
        add_member(acting(user, organisation), reader.email, "reader")
    assert keys.signing_key(key.public.fingerprint) is None
