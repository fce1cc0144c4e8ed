"""Pages of what gets in: service accounts, access keys, and how one gets into a cluster."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.access.models import Policy
from apps.accounts.identity import from_key, from_token
from apps.accounts.models import AccessKey, ApiToken, ServiceAccount, User
from apps.clusters.models import Cluster
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from talos import serviceaccount
from talos.kubeconfig import Kubeconfig
from talos.talosconfig import TalosConfig
from tests.apps.dashboard.test_people import rows, text_of
from tests.apps.proxies.conftest import make_cluster

Member = Callable[..., User]
ROOT = "/o/acme"
ACCOUNTS = f"{ROOT}/service-accounts"


@pytest.fixture
def people(member: Member) -> Callable[[str], tuple[User, Client]]:
    """`people("admin")`: somebody with that role, and their browser."""

    def make(role: str) -> tuple[User, Client]:
        user, client = member(role), Client()
        client.force_login(user)
        return user, client

    return make


@pytest.fixture
def cluster(organisation: Organisation) -> Cluster:
    return make_cluster(organisation)


def shown(page: str) -> str:
    """What a page shows in its first box to copy from."""
    found = re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def key_of(user: User, within: Organisation, **more: Any) -> AccessKey:
    with tenant_scope(within.id):
        return AccessKey.new(
            **{"kind": "pgp", "fingerprint": f"{user.id.hex}{len(more)}", "name": "laptop", "user": user}
            | {"role": "reader", "expires_at": timezone.now() + timedelta(hours=1)}
            | more
        )


def test_a_service_account_from_its_first_form_to_its_end(people: Any, organisation: Organisation) -> None:
    _, admin = people("admin")
    assert "No service account yet" in text_of(admin.get(ACCOUNTS))
    made = admin.post(f"{ACCOUNTS}/new", {"name": "ci", "role": "operator", "description": "deploys", "once": "1"})
    assert made.headers["Location"] == f"{ACCOUNTS}/ci"
    form = {"name": "github", "role": "reader", "days": "7", "once": "2"}
    token = shown(text_of(admin.post(f"{ACCOUNTS}/ci/token", form)))
    identity = from_token(token)
    assert identity is not None
    assert identity.service_account is not None
    assert token not in text_of(admin.get(f"{ACCOUNTS}/ci"))
    admin.post(f"{ACCOUNTS}/ci/token", form)  # the same form again
    assert len(rows(organisation, ApiToken)) == 1
    key = {"name": "talosctl in ci", "role": "operator", "days": "7", "once": "3"}
    name, private = serviceaccount.read_key(shown(text_of(admin.post(f"{ACCOUNTS}/ci/key", key))))
    assert name == "ci"
    assert from_key(private.public.fingerprint) is not None
    assert "has an end" in text_of(admin.post(f"{ACCOUNTS}/ci/key", {**key, "days": "", "once": "4"}, follow=True))
    admin.post(f"{ACCOUNTS}/ci/edit", {"role": "reader", "description": "less"})
    (row,) = rows(organisation, ServiceAccount)
    assert (row.role, row.description) == ("reader", "less")
    assert admin.post(f"{ACCOUNTS}/ci/delete").headers["Location"] == ACCOUNTS
    assert from_token(token) is None
    assert from_key(private.public.fingerprint) is None
    assert admin.get(f"{ACCOUNTS}/ci").status_code == 404


def test_nobody_makes_one_above_themselves(people: Any, organisation: Organisation) -> None:
    _, admin = people("admin")
    refused = admin.post(f"{ACCOUNTS}/new", {"name": "root", "role": "owner"}, follow=True)
    assert "cannot give" in text_of(refused)
    assert not rows(organisation, ServiceAccount)


def test_one_sees_ones_own_keys_and_admins_see_all(people: Any, organisation: Organisation) -> None:
    reader, browser = people("reader")
    own = key_of(reader, organisation)
    admin, everything = people("admin")
    others = key_of(admin, organisation, name="of the admin")
    page = text_of(browser.get(f"{ROOT}/access-keys"))
    assert "laptop" in page
    assert "of the admin" not in page
    assert browser.get(f"{ROOT}/access-keys/{others.id}/row").status_code == 404
    assert browser.post(f"{ROOT}/access-keys/{others.id}/revoke").status_code == 404
    page = text_of(everything.get(f"{ROOT}/access-keys?q=reader@"))
    assert "laptop" in page
    assert "of the admin" not in page
    assert browser.post(f"{ROOT}/access-keys/{own.id}/revoke").status_code == 302
    assert from_key(own.fingerprint) is None
    assert "laptop is revoked" in text_of(browser.get(f"{ROOT}/access-keys"))
    assert "laptop" not in text_of(browser.get(f"{ROOT}/access-keys"))
    assert "Revoked" in text_of(browser.get(f"{ROOT}/access-keys?view=ended"))
    assert "NUL" in text_of(everything.get(f"{ROOT}/access-keys?q=%00"))


def test_how_to_get_into_a_cluster(people: Any, organisation: Organisation, cluster: Cluster) -> None:
    _, browser = people("operator")
    page = html.unescape(text_of(browser.get(f"{ROOT}/clusters/prod/access")))
    assert "omni kubeconfig --cluster prod --merge" in page
    assert "talosctl --context acme-prod" in page
    assert "omni:operator" in page
    with tenant_scope(organisation.id):
        Policy.new(name="calm", spec={"subjects": ["role:operator"], "effect": "limit", "role": "reader"})
    page = text_of(browser.get(f"{ROOT}/clusters/prod/access"))
    assert "omni:reader" in page
    assert "calm" in page


def test_files_to_get_in_with(people: Any, organisation: Organisation, cluster: Cluster) -> None:
    user, browser = people("operator")

    def file(form: str) -> str:
        answer = browser.post(f"{ROOT}/clusters/prod/access/{form}")
        assert answer.status_code == 200
        assert "attachment" in answer.headers["Content-Disposition"]
        assert answer.headers["Cache-Control"] == "no-store"
        return text_of(answer)

    for form in ("exec", "oidc"):
        made = Kubeconfig.from_yaml(file(form))
        assert made.current_context == "acme-prod"
        assert not rows(organisation, AccessKey)  # no secret in it
    signed = TalosConfig.from_yaml(file("key")).contexts["acme-prod"]
    assert (signed.identity, signed.cluster, signed.crt) == (user.email, "prod", "")
    shown = TalosConfig.from_yaml(file("certificate")).contexts["acme-prod"]
    assert shown.crt
    assert shown.identity is None
    (key,) = rows(organisation, AccessKey)
    assert key.session_key == browser.session.session_key  # it ends with the browser
    assert browser.post(f"{ROOT}/clusters/prod/access/nothing").status_code == 302
    assert browser.get(f"{ROOT}/clusters/prod/access/exec").status_code == 302
    assert browser.get(f"{ROOT}/clusters/other/access").status_code == 404
