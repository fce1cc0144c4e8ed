"""One-time links: who they let in, and whom they do not."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.accounts import actions, links
from apps.accounts.identity import places
from apps.accounts.models import AccessKey, ApiToken, Membership, SignInLink, User
from apps.audit.models import AuditRecord
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

MakeActor = Callable[..., Actor]
WORDS = "correct horse battery"


@pytest.fixture
def invite(organisation: Organisation, actor: MakeActor) -> Callable[..., str]:
    """`invite("a@example.com", "admin")`: the path of the link of somebody invited."""

    def make(email: str, role: str = "reader", within: Organisation = organisation) -> str:
        with tenant_scope(within.id):
            return actions.add_member(actor("owner", within), email, role).sign_in_path

    return make


def secret_of(path: str) -> str:
    return path.rsplit("/", 1)[1]


def slugs(user: User) -> list[str]:
    return [place.slug for place in places(user)]


def test_a_link_signs_in_once(db: None) -> None:
    user = User.objects.create_user("a@example.com")
    secret = secret_of(links.make_sign_in_link(user))
    opened = links.open_link(secret)
    assert opened is not None
    assert (opened.user, opened.signs_in, opened.organisation) == (user, True, None)
    assert links.take_link(secret, None) == user
    assert links.open_link(secret) is None
    with pytest.raises(ValidationError, match="used already"):
        links.take_link(secret, user)


def test_an_old_link_and_one_of_a_blocked_account_do_not_work(db: None) -> None:
    user = User.objects.create_user("a@example.com")
    old = secret_of(links.make_sign_in_link(user, timedelta(seconds=-1)))
    good = secret_of(links.make_sign_in_link(user))
    User.objects.update(is_active=False)
    for secret in (old, good, "unknown"):
        assert links.open_link(secret) is None
        with pytest.raises(ValidationError):
            links.take_link(secret, user)
    assert not SignInLink.objects.filter(used_at__isnull=False).exists()


def test_who_is_invited_is_no_member_before_they_open_the_link(
    invite: Callable[..., str], organisation: Organisation, client: Client
) -> None:
    path = invite("New@Example.com", "admin")
    user = User.objects.get(email="new@example.com")
    assert slugs(user) == []
    assert b"Join Acme" in client.get(path).content
    assert slugs(user) == []
    assert client.post(path).url == "/accounts/password/set/"
    assert slugs(user) == ["acme"]
    assert client.get("/o/acme/").status_code == 200
    with tenant_scope(organisation.id):
        assert AuditRecord.objects.get(verb="member.join").actor_name == "new@example.com"
    assert client.get(path).status_code == client.post(path).status_code == 410


def test_a_known_account_joins_by_its_own_person_only(
    invite: Callable[..., str], member: Callable[..., User], other_organisation: Organisation
) -> None:
    user = member("owner", other_organisation, email="ana@example.com")
    user.set_password(WORDS)
    user.save()
    path = invite("ana@example.com", "admin")
    stranger, other = Client(), Client()
    assert b"ana@example.com has an account here" in stranger.get(path).content
    other.force_login(User.objects.create_user("mallory@example.com"))
    assert b"Sign in as somebody else" in other.get(path).content
    for client in (stranger, other):
        assert client.post(path).status_code == 200
        assert slugs(user) == ["umbrella"]
    assert "_auth_user_id" not in stranger.session
    hers = Client()
    hers.force_login(user)
    assert b"Join Acme" in hers.get(path).content
    assert slugs(user) == ["umbrella"]
    assert hers.post(path).url == "/"
    assert slugs(user) == ["acme", "umbrella"]


def test_an_inviter_who_takes_the_account_gets_no_other_organisation(
    invite: Callable[..., str], other_organisation: Organisation, client: Client
) -> None:
    """The first link of a new account binds it; each organisation waits for its own."""
    theirs, ours = invite("ana@example.com", "owner", other_organisation), invite("ana@example.com", "owner")
    client.post(theirs)
    user = User.objects.get(email="ana@example.com")
    assert slugs(user) == ["umbrella"]
    late = Client()
    assert b"tell whoever invited you" in late.get(ours).content
    late.post(ours)
    assert "_auth_user_id" not in late.session
    assert slugs(user) == ["umbrella"]


def test_an_account_that_an_organisation_counts_as_its_own_is_not_given_away(
    invite: Callable[..., str], member: Callable[..., User], other_organisation: Organisation, client: Client
) -> None:
    """An owner made on the server, who never signed in."""
    user = member("owner", other_organisation, email="owner@localhost.example.com")
    client.post(invite(user.email))
    assert "_auth_user_id" not in client.session
    assert slugs(user) == ["umbrella"]


def test_an_invitation_taken_back_opens_nothing(organisation: Organisation, actor: MakeActor) -> None:
    with tenant_scope(organisation.id):
        invited = actions.add_member(actor(), "new@example.com", "reader")
        with pytest.raises(ValidationError, match="invited already"):
            actions.add_member(actor(), "new@example.com", "reader")
        actions.remove_member(actor(), invited.membership)
    assert links.open_link(secret_of(invited.sign_in_path)) is None


def test_a_renewed_link_is_the_only_one(organisation: Organisation, actor: MakeActor, client: Client) -> None:
    with tenant_scope(organisation.id):
        invited = actions.add_member(actor(), "new@example.com", "admin")
        with pytest.raises(Denied):
            actions.renew_invitation(actor("operator"), invited.membership)
        path = actions.renew_invitation(actor("admin"), invited.membership)
    assert links.open_link(secret_of(invited.sign_in_path)) is None
    client.post(path)
    with tenant_scope(organisation.id):
        with pytest.raises(ValidationError, match="is a member already"):
            actions.renew_invitation(actor("admin"), Membership.objects.get(id=invited.membership.id))
        again = [row.details.get("again") for row in AuditRecord.objects.filter(verb="member.invite").order_by("id")]
    assert again == [None, True]


def test_guessing_links_is_slow(db: None, client: Client) -> None:
    answers = [client.get(f"/accounts/link/{guess:064}").status_code for guess in range(21)]
    assert answers == [410] * 20 + [429]


def test_who_is_removed_loses_tokens_and_keys(
    organisation: Organisation, other_organisation: Organisation, actor: MakeActor, member: Callable[..., User]
) -> None:
    user = member("admin", email="ana@example.com")
    with tenant_scope(other_organisation.id):
        Membership.new(user=user, role="admin")
    for place in (organisation, other_organisation):
        with tenant_scope(place.id):
            actions.create_api_token(actor("admin", place), user, "ci", "reader")
            ends = timezone.now() + timedelta(hours=1)
            AccessKey.new(
                kind="pgp", fingerprint=place.slug, name="talosctl", user=user, role="reader", expires_at=ends
            )
    with tenant_scope(organisation.id):
        actions.remove_member(actor(), Membership.objects.get(user=user))
    for place, ended in ((organisation, True), (other_organisation, False)):
        with tenant_scope(place.id):
            for credential in (ApiToken.objects.get(), AccessKey.objects.get()):
                assert (credential.revoked_at is not None) == ended
