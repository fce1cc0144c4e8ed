"""Joining on the real database: who gets in, as whom, and under which address."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest
from django.db import connections
from django.utils import timezone

from apps.audit.models import AuditRecord
from apps.machines import actions, joining
from apps.machines.models import JoinToken, Link, Machine, MachineObservation, MachineStatus
from apps.reconcile.models import Outbox
from nodeagent.ports import ProvisionRefused
from talos import jointoken, siderolink
from talos.jointoken import NodeUniqueToken
from tests.apps.machines.desk import OTHER_UUID, SOURCE, UUID, Desk, key

# --- the main path ------------------------------------------------------------------------------------------------


def test_a_new_machine_is_pending_until_it_proves_its_token(desk: Desk) -> None:
    pending = desk.provision()
    assert (pending.state, pending.machine_id, pending.conflict) == (Link.PENDING, None, False)
    assert siderolink.has_purpose(str(pending.address), siderolink.Purpose.SIDEROLINK)
    assert ip_address(str(pending.address)) in siderolink.prefix()
    assert desk.machines() == []

    token = desk.adopt(pending)
    link = desk.provision(unique=token)
    assert (link.id, link.address, link.state) == (pending.id, pending.address, Link.ESTABLISHED)
    assert desk.machines() == [UUID]


def test_registration_leaves_an_audit_row_a_count_and_a_hint(desk: Desk) -> None:
    link, _ = desk.joined()
    row = desk.token_row()
    assert (row.use_count, row.last_used_at is not None) == (1, True)
    record = desk.ask(lambda: AuditRecord.objects.get(verb="machine.join"))
    assert (record.actor_kind, record.object_name, record.source) == ("machine", UUID, SOURCE)
    assert record.details == {"join_token": "default"}
    assert Outbox.objects.filter(kind="machine", object_id=link.machine_id).exists()
    assert desk.ask(MachineObservation.objects.count) == desk.ask(MachineStatus.objects.count) == 1


def test_the_same_call_again_gets_the_same_answer(desk: Desk) -> None:
    first, again = desk.provision(), desk.provision()
    assert (first.id, first.address) == (again.id, again.address)
    link, token = desk.joined()
    for repeated in (desk.provision(unique=token), desk.provision(unique=token, token=None), desk.provision()):
        assert (repeated.id, repeated.address, repeated.state) == (link.id, link.address, Link.ESTABLISHED)
    assert desk.token_row().use_count == 1


def test_the_token_for_a_machine_is_the_same_on_every_call(desk: Desk) -> None:
    pending = desk.provision()
    assert desk.adopt(pending) == desk.adopt(pending)
    assert desk.adopt(pending) != desk.adopt(pending, "another network card")


def test_secrets_are_sealed(desk: Desk) -> None:
    link, token = desk.joined()
    stored = b"".join(bytes(value) for value in (link.sealed_unique_token, link.unique_token_hash))
    assert token.token.encode() not in stored
    row = desk.token_row()
    assert desk.token.encode() not in bytes(row.sealed) + bytes(row.token_hash)
    assert joining.read_unique_token(link) == token


# --- join tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_token_signed_with_the_default_one(desk: Desk, version: str) -> None:
    signed = jointoken.sign(desk.token, {"a": "b"}, version).encode()
    token = desk.adopt(desk.provision(token=signed))
    assert desk.provision(token=signed, unique=token).state == Link.ESTABLISHED
    assert desk.token_row().use_count == 1


def test_signed_tokens_find_their_organisation(desk: Desk, other_desk: Desk) -> None:
    link = other_desk.provision(token=jointoken.sign(other_desk.token, {}).encode())
    assert link.organisation_id == other_desk.organisation.id
    assert desk.stored() == []


def test_a_token_signed_with_another_than_the_default(desk: Desk) -> None:
    second = desk.new_token("second")
    assert desk.refused(token=jointoken.sign(second, {}).encode())[0] == "PERMISSION_DENIED"
    desk.ask(lambda: actions.update_join_token(desk.owner, JoinToken.objects.get(name="second"), make_default=True))
    assert desk.refused(token=jointoken.sign(desk.token, {}).encode())[0] == "PERMISSION_DENIED"
    assert desk.provision(token=jointoken.sign(second, {}).encode()).state == Link.PENDING


@pytest.mark.parametrize(
    "token",
    [
        None,
        "unknown",
        "é" * 100,
        "v1:",
        "v1:!!!",
        "v2:e30=",  # {}: no signature
        "v2:" + "eyJleHRyYV9kYXRhIjp7fSwic2lnbmF0dXJlIjoiIn0=",  # an empty signature
        "v2:bnVsbA==",
        "v1:" + "W1tb" * 1500,
        jointoken.sign("", {}).encode(),
        jointoken.sign("unknown", {}).encode(),
    ],
)
def test_tokens_that_let_nobody_in(desk: Desk, token: str | None) -> None:
    code, text = desk.refused(token=token)
    assert code == "PERMISSION_DENIED"
    assert text.startswith("unauthorized")


def test_revoked_and_expired_tokens(desk: Desk) -> None:
    other = desk.new_token("other")
    desk.change_token("other", revoked_at=timezone.now())
    assert desk.refused(token=other)[0] == "PERMISSION_DENIED"
    desk.change_token("other", revoked_at=None, expires_at=timezone.now() - timedelta(seconds=1))
    assert desk.refused(token=other)[0] == "PERMISSION_DENIED"
    desk.change_token("other", expires_at=timezone.now() + timedelta(hours=1))
    assert desk.provision(token=other).state == Link.PENDING


def test_an_expired_default_signs_no_more(desk: Desk) -> None:
    desk.change_token("default", expires_at=timezone.now() - timedelta(seconds=1))
    assert desk.refused(token=jointoken.sign(desk.token, {}).encode())[0] == "PERMISSION_DENIED"


def test_a_token_revoked_in_mid_join(desk: Desk) -> None:
    other = desk.new_token("other")
    pending = desk.provision(token=other)
    token = desk.adopt(pending)
    desk.change_token("other", revoked_at=timezone.now())
    assert desk.refused(token=other, unique=token) == (
        "PERMISSION_DENIED",
        "unauthorized: the join token is unknown, revoked or expired",
    )
    assert desk.machines() == []
    desk.change_token("other", revoked_at=None)
    assert desk.provision(token=other, unique=token).id == pending.id


def test_revoking_cuts_nobody_who_is_in(desk: Desk) -> None:
    link, token = desk.joined()
    desk.change_token("default", revoked_at=timezone.now())
    back = desk.provision(public_key=key(2), unique=token)
    assert (back.id, back.address, back.public_key) == (link.id, link.address, key(2))
    assert desk.refused(public_key=key(3))[0] == "PERMISSION_DENIED"  # it lost its META: nothing proves it any more


def test_the_token_used_last_is_remembered(desk: Desk) -> None:
    _, token = desk.joined()
    other = desk.new_token("other")
    assert desk.provision(unique=token, token=other).join_token_id == desk.token_row("other").id
    assert desk.provision(unique=token, token=None).join_token_id == desk.token_row("other").id


# --- coming back --------------------------------------------------------------------------------------------------


def test_a_machine_comes_back_with_a_new_key(desk: Desk) -> None:
    link, token = desk.joined()
    back = desk.provision(public_key=key(2), unique=token)
    assert (back.id, back.address, back.public_key) == (link.id, link.address, key(2))


def test_one_that_lost_its_meta_before_installation_is_told_by_its_hardware(desk: Desk) -> None:
    link, lost = desk.joined()
    pending = desk.provision(public_key=key(2))
    assert pending.address != link.address
    token = desk.adopt(pending)
    assert token != lost
    back = desk.provision(public_key=key(2), unique=token)
    assert (back.id, back.address, back.public_key) == (link.id, link.address, key(2))
    assert len(desk.stored()) == 1
    assert desk.provision(public_key=key(3), unique=token).id == link.id


def test_one_that_lost_its_meta_after_installation_is_refused(desk: Desk) -> None:
    link, _ = desk.joined()
    desk.install(link)
    token = desk.adopt(desk.provision(public_key=key(2)))
    code, text = desk.refused(public_key=key(2), unique=token)
    assert code == "PERMISSION_DENIED"
    assert "installed" in text


def test_a_machine_with_a_token_from_elsewhere_is_new(desk: Desk) -> None:
    elsewhere = NodeUniqueToken("hardware", "made by another control plane")
    link = desk.provision(unique=elsewhere)
    assert (link.state, desk.machines()) == (Link.ESTABLISHED, [UUID])
    assert desk.provision(public_key=key(2), unique=elsewhere, token=None).id == link.id


def test_a_removed_machine_comes_back_as_a_new_one(desk: Desk) -> None:
    link, token = desk.joined()
    desk.ask(lambda: actions.remove_machine(desk.owner, Machine.objects.get()))
    assert desk.refused(unique=token, token=None)[0] == "PERMISSION_DENIED"
    again = desk.provision(unique=token)
    assert again.machine_id != link.machine_id
    assert again.address != link.address


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '"token"', '{"Token": 3}', '{"Token": "a", "Fingerprint": []}', "[" * 4000, "\x00"]
)
def test_malformed_unique_tokens(desk: Desk, text: str) -> None:
    code, words = desk.refused(unique=text)
    assert code == "PERMISSION_DENIED"
    assert words.startswith("unauthorized")


@pytest.mark.parametrize("text", ["null", "{}", '{"Token": ""}', '{"Fingerprint": "hardware", "Token": ""}'])
def test_an_empty_unique_token_is_none(desk: Desk, text: str) -> None:
    assert desk.provision(unique=text).state == Link.PENDING
    desk.joined(OTHER_UUID, 2)
    assert desk.provision(OTHER_UUID, key(3), unique=text).state == Link.PENDING


def test_versions_too_old_for_unique_tokens(desk: Desk) -> None:
    for version in ("v1.5.5", None, "nonsense"):
        assert desk.refused(version=version)[0] == "FAILED_PRECONDITION"
    assert desk.provision(version="v1.6.0").state == Link.PENDING


# --- conflicts ----------------------------------------------------------------------------------------------------


def test_a_second_machine_with_a_known_uuid_gets_another_and_disturbs_nobody(desk: Desk) -> None:
    first, first_token = desk.joined()
    before = desk.stored()
    twin = desk.provision(public_key=key(2))
    assert (twin.state, twin.address != first.address) == (Link.PENDING, True)
    token = desk.adopt(twin, "other hardware")
    conflict = desk.provision(public_key=key(2), unique=token)
    assert (conflict.id, conflict.state, conflict.conflict) == (twin.id, Link.PENDING, True)

    def override(proposed: str) -> str:
        return desk.ask(lambda: actions.issue_override_uuid(Link.objects.get(id=twin.id), proposed))

    assert override(OTHER_UUID) == override("99999999-2222-4333-8444-555555555555") == OTHER_UUID
    joined = desk.provision(OTHER_UUID, key(2), token)
    assert (joined.id, joined.state, joined.conflict) == (twin.id, Link.ESTABLISHED, False)
    assert desk.machines() == [OTHER_UUID, UUID]
    assert desk.stored()[:1] == before
    assert desk.provision(unique=first_token).address == first.address


def test_a_registered_machine_does_not_join_under_another_uuid(desk: Desk) -> None:
    _, token = desk.joined()
    code, text = desk.refused(uuid=OTHER_UUID, unique=token)
    assert code == "FAILED_PRECONDITION"
    assert UUID in text


def test_the_case_of_a_uuid_does_not_matter(desk: Desk) -> None:
    link, token = desk.joined(UUID)
    assert desk.provision(UUID.upper(), key(2), token).id == link.id
    assert desk.machines() == [UUID]


def test_a_key_of_another_machine(desk: Desk) -> None:
    desk.joined()
    code, text = desk.refused(uuid=OTHER_UUID)
    assert (code, "another link" in text) == ("PERMISSION_DENIED", True)


# --- organisations ------------------------------------------------------------------------------------------------


def test_the_same_uuid_in_two_organisations(desk: Desk, other_desk: Desk) -> None:
    mine, _ = desk.joined()
    theirs, _ = other_desk.joined(number=2)
    assert mine.address != theirs.address
    assert desk.machines() == other_desk.machines() == [UUID]


def test_a_key_of_another_organisation(desk: Desk, other_desk: Desk) -> None:
    other_desk.joined()
    before = other_desk.stored()
    for uuid in (UUID, OTHER_UUID):
        assert desk.refused(uuid=uuid)[0] == "PERMISSION_DENIED"
    assert other_desk.stored() == before


def test_a_registered_machine_stays_in_its_organisation(desk: Desk, other_desk: Desk) -> None:
    """Its unique token finds it, whatever join token is on its command line; removing it there frees it."""
    link, token = desk.joined()
    back = other_desk.provision(public_key=key(2), unique=token)
    assert (back.id, back.organisation_id) == (link.id, desk.organisation.id)
    assert other_desk.stored() == []
    assert desk.token_row().use_count == 1
    assert back.join_token_id == desk.token_row().id
    desk.ask(lambda: actions.remove_machine(desk.owner, Machine.objects.get()))
    moved = other_desk.provision(public_key=key(2), unique=token)
    assert moved.organisation_id == other_desk.organisation.id


def test_one_that_was_only_pending_elsewhere_goes_where_its_join_token_says(desk: Desk, other_desk: Desk) -> None:
    token = other_desk.adopt(other_desk.provision())
    assert desk.provision(public_key=key(2), unique=token).organisation_id == desk.organisation.id
    assert other_desk.machines() == []


def test_a_foreign_token_proves_nothing(desk: Desk, other_desk: Desk) -> None:
    """Somebody who knows a UUID and a fingerprint of another organisation gets nothing of its machine."""
    link, token = desk.joined()
    forged = replace(token, token="guessed")
    theirs = other_desk.provision(public_key=key(2), unique=forged)
    assert theirs.organisation_id == other_desk.organisation.id
    assert theirs.address != link.address


# --- transports ---------------------------------------------------------------------------------------------------


def test_a_tunnel_keeps_its_virtual_address_while_its_stream_lives(desk: Desk) -> None:
    link = desk.provision(tunnel=True)
    assert link.transport == "grpc"
    virtual = str(link.virtual_address)
    assert ip_address(virtual) in siderolink.prefix(purpose=siderolink.Purpose.VIRTUAL)
    desk.alive.add(virtual)
    assert str(desk.provision(tunnel=True).virtual_address) == virtual
    desk.alive.clear()
    healed = desk.provision(tunnel=True)
    assert str(healed.virtual_address) != virtual
    assert healed.address == link.address


def test_a_machine_changes_between_udp_and_tunnel(desk: Desk) -> None:
    link, token = desk.joined()
    joining.remember_endpoints([(link.organisation_id, link.id, "203.0.113.5:1234")])
    assert desk.provision(unique=token).last_endpoint == "203.0.113.5:1234"
    tunnel = desk.provision(unique=token, tunnel=True)
    assert (tunnel.transport, tunnel.last_endpoint, tunnel.virtual_address is not None) == ("grpc", "", True)
    back = desk.provision(unique=token)
    assert (back.transport, back.virtual_address, back.address) == ("udp", None, link.address)


# --- limits and cleaning up ---------------------------------------------------------------------------------------


def test_the_limit_of_pending_machines(desk: Desk, other_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "PENDING_LIMIT", 2)
    pending = desk.provision()
    desk.provision(OTHER_UUID, key(2))
    code, text = desk.refused(uuid="33333333-2222-4333-8444-555555555555", public_key=key(3))
    assert (code, "limit reached" in text) == ("RESOURCE_EXHAUSTED", True)
    other_desk.provision(public_key=key(4))
    desk.provision()  # who is pending stays so
    desk.provision(unique=desk.adopt(pending))
    desk.provision("33333333-2222-4333-8444-555555555555", key(3))


def test_pending_links_that_are_silent_are_dropped(desk: Desk) -> None:
    registered, _ = desk.joined()
    old = desk.provision(OTHER_UUID, key(2))
    talking = desk.provision("33333333-2222-4333-8444-555555555555", key(3))
    new = desk.provision("44444444-2222-4333-8444-555555555555", key(4))
    past = timezone.now() - timedelta(hours=1)
    desk.ask(lambda: Link.objects.exclude(id=new.id).update(provisioned_at=past))
    silent = [(desk.organisation.id, link.id) for link in (registered, old, new)]
    assert joining.drop_stale_pending(silent, timedelta(minutes=10), "two") == set()  # held by another
    assert joining.drop_stale_pending(silent, timedelta(minutes=10), desk.gateway) == {old.id}
    assert {row[0] for row in desk.stored()} == {registered.id, talking.id, new.id}
    assert joining.stored_links() == {registered.id, talking.id, new.id}


# --- at the same time ---------------------------------------------------------------------------------------------


def together(*calls: Callable[[], Link]) -> list[Link | ProvisionRefused]:
    """The results of calls that begin at the same moment, each in a thread of its own."""
    ready = threading.Barrier(len(calls))

    def run(call: Callable[[], Link]) -> Link | ProvisionRefused:
        try:
            ready.wait(10)
            return call()
        except ProvisionRefused as refusal:
            return refusal
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_the_same_machine_calling_many_times_at_once(transactional_db: None, desk: Desk) -> None:
    links = together(*[desk.provision] * 6)
    assert len({(link.id, link.address) for link in links if isinstance(link, Link)}) == 1
    assert len(desk.stored()) == 1
    token = desk.adopt(desk.provision())
    links = together(*[lambda: desk.provision(unique=token)] * 6)
    assert {link.state for link in links if isinstance(link, Link)} == {Link.ESTABLISHED}
    assert len(links) == 6
    assert desk.machines() == [UUID]
    assert desk.token_row().use_count == 1


def test_two_machines_of_one_uuid_at_once(transactional_db: None, desk: Desk) -> None:
    """One is registered, the other is in conflict, whoever is first."""
    tokens = [desk.adopt(desk.provision(public_key=key(n)), f"hardware {n}") for n in (1, 2)]
    links = together(
        lambda: desk.provision(public_key=key(1), unique=tokens[0]),
        lambda: desk.provision(public_key=key(2), unique=tokens[1]),
    )
    assert sorted((link.state, link.conflict) for link in links if isinstance(link, Link)) == [
        (Link.ESTABLISHED, False),
        (Link.PENDING, True),
    ]
    assert desk.machines() == [UUID]


def test_two_organisations_and_one_key_at_once(transactional_db: None, desk: Desk, other_desk: Desk) -> None:
    results = together(desk.provision, other_desk.provision)
    assert sorted(type(result).__name__ for result in results) == ["Link", "ProvisionRefused"]
    assert len(desk.stored()) + len(other_desk.stored()) == 1


def test_what_is_stored_of_a_call_is_cut_to_fit(desk: Desk) -> None:
    link = desk.provision(version="v1.13.8-" + "x" * 200)
    assert len(desk.ask(lambda: Link.objects.get(id=link.id)).talos_version) == 60
