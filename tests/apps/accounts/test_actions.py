"""Who may give, change and take what; credentials that are kept only as hashes and end when they should."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.accounts import actions
from apps.accounts.credentials import token_hash
from apps.accounts.first_run import first_run_token, is_first_run_token
from apps.accounts.identity import Identity, actor_in, from_token, new_request_id, places
from apps.accounts.models import ApiToken, Membership, User
from apps.audit.models import AuditRecord
from apps.tenants import lookups
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

MakeActor = Callable[..., Actor]


@pytest.fixture
def scope(organisation: Organisation) -> Iterator[None]:
    with tenant_scope(organisation.id):
        yield


def acting(user: User, organisation: Organisation, role: str) -> Actor:
    return Actor("user", str(user.id), user.email, organisation.id, role)


@pytest.mark.usefixtures("scope")
def test_nobody_gives_a_role_above_their_own(actor: MakeActor) -> None:
    with pytest.raises(ValidationError, match="cannot give"):
        actions.add_member(actor("admin"), "x@example.com", "owner")
    with pytest.raises(Denied):
        actions.add_member(actor("operator"), "x@example.com", "reader")
    with pytest.raises(ValidationError, match="not a role"):
        actions.add_member(actor("owner"), "x@example.com", "king")
    assert not Membership.objects.exists()


@pytest.mark.usefixtures("scope")
def test_an_admin_cannot_touch_an_owner(actor: MakeActor, member: Callable[..., User]) -> None:
    owner = Membership.objects.get(user=member("owner"))
    member("owner", email="second@example.com")
    with pytest.raises(ValidationError):
        actions.update_member(actor("admin"), owner, "reader")
    with pytest.raises(ValidationError):
        actions.remove_member(actor("admin"), owner)


@pytest.mark.usefixtures("scope")
def test_the_last_owner_stays(actor: MakeActor, member: Callable[..., User]) -> None:
    only = Membership.objects.get(user=member("owner"))
    for change in (lambda: actions.update_member(actor(), only, "admin"), lambda: actions.remove_member(actor(), only)):
        with pytest.raises(ValidationError, match="last owner"):
            change()
    second = actions.add_member(actor(), "second@example.com", "owner").membership
    with pytest.raises(ValidationError, match="last owner"):
        actions.update_member(actor(), only, "admin")  # who was invited may never come
    Membership.everybody.filter(id=second.id).update(accepted_at=timezone.now())
    actions.update_member(actor(), only, "admin")
    assert second.role == "owner"


def test_a_token_is_the_lesser_of_two_roles(organisation: Organisation, member: Callable[..., User]) -> None:
    user = member("admin")
    with tenant_scope(organisation.id):
        made = actions.create_api_token(acting(user, organisation, "admin"), user, "ci", "admin")
        assert bytes(ApiToken.objects.get().token_hash) == token_hash(made.secret)
        Membership.objects.update(role="reader")
    identity = from_token(made.secret)
    assert identity is not None
    found = actor_in(identity, organisation.id, "r", "s")
    assert found is not None
    assert (found.role, found.kind, found.name) == ("reader", "token", "admin@acme.example.com (token ci)")


def test_a_token_ends(
    organisation: Organisation, other_organisation: Organisation, member: Callable[..., User]
) -> None:
    user = member("owner")
    with tenant_scope(other_organisation.id):
        Membership.new(user=user, role="owner")
    me = acting(user, organisation, "owner")
    with tenant_scope(organisation.id):
        made = actions.create_api_token(me, user, "ci", "owner", timezone.now() + timedelta(hours=1))
        with pytest.raises(ValidationError, match="past"):
            actions.create_api_token(me, user, "late", "owner", timezone.now())
    identity = from_token(made.secret)
    assert identity is not None
    assert actor_in(identity, organisation.id, "", "") is not None
    assert actor_in(identity, other_organisation.id, "", "") is None
    with tenant_scope(organisation.id):
        assert ApiToken.objects.get().last_used_at is not None
        ApiToken.objects.update(expires_at=timezone.now())
    assert from_token(made.secret) is None
    assert actor_in(identity, organisation.id, "", "") is None
    with tenant_scope(organisation.id):
        ApiToken.objects.update(expires_at=None)
        actions.revoke_api_token(me, ApiToken.objects.get())
    assert from_token(made.secret) is None
    assert actor_in(identity, organisation.id, "", "") is None


def test_a_removed_member_loses_everything(organisation: Organisation, member: Callable[..., User]) -> None:
    owner, user = member("owner"), member("operator")
    with tenant_scope(organisation.id):
        secret = actions.create_api_token(acting(user, organisation, "operator"), user, "ci", "reader").secret
        actions.remove_member(acting(owner, organisation, "owner"), Membership.objects.get(user=user))
    assert from_token(secret) is None
    assert actor_in(Identity(user), organisation.id, "", "") is None
    assert places(user) == []


@pytest.mark.usefixtures("scope")
def test_whose_tokens_one_may_revoke(organisation: Organisation, member: Callable[..., User], actor: MakeActor) -> None:
    user = member("operator")
    row = actions.create_api_token(acting(user, organisation, "operator"), user, "ci", "reader").row
    with pytest.raises(Denied, match="API token ci"):
        actions.revoke_api_token(actor("operator"), row)
    actions.revoke_api_token(actor("admin"), row)
    assert row.revoked_at is not None


def test_only_the_first_is_first(db: None) -> None:
    user = actions.make_first_owner("Me@Example.com", "Me", "a long password", "acme", "Acme")
    assert [(p.slug, p.role) for p in places(user)] == [("acme", "owner")]
    with pytest.raises(ValidationError, match="has an owner"):
        actions.make_first_owner("b@example.com", "B", None, "b", "B")
    assert User.objects.count() == 1
    organisation_id = lookups.organisations()[0]
    with tenant_scope(organisation_id):
        assert AuditRecord.objects.get().verb == "organisation.create"
    assert actions.first_owner_of(organisation_id) == user


@pytest.mark.parametrize("slug", ["", "-a", "a-", "A", "a b", "a/b", "é", "x" * 41])
def test_a_slug_is_part_of_addresses(db: None, slug: str) -> None:
    with pytest.raises(ValidationError, match="cannot be in an address"):
        actions.create_organisation("X", slug, User.objects.create_user("a@example.com"))


def test_a_slug_is_taken_once(organisation: Organisation) -> None:
    with pytest.raises(ValidationError, match="exists already"):
        actions.create_organisation("X", "acme", User.objects.create_user("a@example.com"))


def test_the_first_run_token_is_the_installations() -> None:
    assert is_first_run_token(first_run_token("a"), "a")
    for wrong in (first_run_token("b"), "", "é"):
        assert not is_first_run_token(wrong, "a")


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\nb", "é", "-", '{"a"}'])
def test_request_ids_of_callers_are_kept_only_if_sensible(given: str | None) -> None:
    assert new_request_id("trace-1_a") == "trace-1_a"
    assert new_request_id(given) != given
