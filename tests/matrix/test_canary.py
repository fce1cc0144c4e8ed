"""No secret shows: known secrets are put everywhere they belong, then every list, page, watch, log, audit row and error
is searched for them. Only the few addresses whose purpose a secret is may answer with one."""

import base64
import logging
from dataclasses import dataclass
from datetime import timedelta

import pytest
import structlog
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.apps import apps
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.access.models import Policy
from apps.accounts import actions as accounts
from apps.accounts import links, service_accounts
from apps.accounts.authority import authority, issue_certificate
from apps.accounts.models import Membership, User
from apps.clusters import actions as clusters
from apps.clusters.credentials import new_secrets, store_secrets
from apps.clusters.models import Cluster
from apps.machines import actions as machines
from apps.machines import agents
from apps.machines.models import Link, Machine, MachineObservation
from apps.proxies import signers, tokens
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from nodeagent.ports import AgentHello
from omni import logs
from tests.apps.clusters.templates import template
from tests.apps.clusters.world import uuid_of
from tests.matrix import routes
from tests.matrix.table import HTTP
from tests.matrix.test_matrix import fill

TOLD_ON_PURPOSE = {
    "POST /api/v1/organisations/<slug>/join-tokens/<id>/reveal",
    "PAGE /o/<slug>/join/secret/<token_id>/<form>",
    "GET /api/v1/organisations/<slug>/clusters/<name>/template",  # patches are part of a template
    "PAGE /o/<slug>/clusters/<name>/template",
    "PAGE /o/<slug>/template",  # with a cluster's name: its template, to edit
    "POST /api/v1/organisations/<slug>/clusters/<name>/talosconfig",
    "POST /api/v1/organisations/<slug>/clusters/<name>/kubeconfig",
    "PAGE /o/<slug>/clusters/<name>/talosconfig",
    "PAGE /o/<slug>/clusters/<name>/kubeconfig",
}


@dataclass
class House:
    """An organisation full of secrets, by name."""

    organisation: Organisation
    secrets: dict[str, str]
    ids: dict[str, str]
    client: APIClient
    browser: Client

    def shown_in(self, text: str) -> list[str]:
        """Names of the secrets that a text gives away."""
        return [name for name, secret in self.secrets.items() if secret in text]


@pytest.fixture
def house(organisation: Organisation) -> House:
    password = "canary-password-1b5f"
    with tenant_scope(organisation.id):
        user = User.objects.create_user("owner@example.com", password)
        member = Membership.new(user=user, role="owner")
        actor = Actor("user", str(user.id), user.email, organisation.id, "owner")
        token = accounts.create_api_token(actor, user, "ci", "owner")
        service_account = service_accounts.create(actor, "deploys", "reader")
        service_token = service_accounts.create_token(actor, service_account, "github").secret
        access_key, certificate = issue_certificate(actor, user, "talosctl")
        clients = authority(actor)
        policy = Policy.new(name="readers", spec={"subjects": ["role:reader"], "role": "operator"})
        join = machines.create_join_token(actor, "default")
        machine = Machine.new(uuid=uuid_of(1))
        MachineObservation.new(machine=machine, connected=True, stage="maintenance")
        link = Link.new(
            machine=machine, claimed_uuid=machine.uuid, state=Link.ESTABLISHED, transport="udp",
            public_key="k" * 43 + "=", address="fdae:41e4:649b:9303::5", join_token=join.row,
        )  # fmt: skip
        unique = machines.issue_unique_token(link, "fingerprint")
        clusters.sync_template(actor, template([1], name="prod", patch="{machine: {env: {TOKEN: canary-patch-77aa}}}"))
        cluster = Cluster.objects.get()
        _, kubernetes_token = tokens.issue(actor, user, cluster, "laptop", timedelta(hours=1))
        signer = signers.private_key(signers.current())
        signer_key = signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        bundle = new_secrets("1.6.0")
        store_secrets(cluster, bundle)
        agents.enrol(AgentHello("rack-7", "c" * 43, join.token, "1.0.0", (), (), "192.0.2.7"))
        machine_class = machines.write_machine_class(actor, "small", ["cores = 2"], {}).name
    client, browser = APIClient(raise_request_exception=False), Client(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token.secret}")
    browser.force_login(user)
    TOTP.activate(user, "CANARYTOTPKEY234" * 2)
    secrets = {
        "password": password,
        "API token": token.secret,
        "service account's token": service_token,
        "client's key": certificate.key.decode().splitlines()[1],
        "key of the clients' authority": clients.key.decode().splitlines()[1],
        "token for kubectl": kubernetes_token.rpartition(".")[2],
        "key that signs tokens for kubectl": signer_key.splitlines()[1],
        "sign-in link": links.make_sign_in_link(user).rsplit("/", 1)[1],
        "join token": join.token,
        "node unique token": unique.token,
        "credential of an agent": "c" * 43,
        "patch": "canary-patch-77aa",
        "session": browser.cookies["sessionid"].value,
        "key of an authenticator app": "CANARYTOTPKEY234" * 2,
        "recovery code": RecoveryCodes.activate(user).generate_codes()[0],
        "cluster secret": bundle.cluster_secret,
        "bootstrap token": bundle.bootstrap_token,
        "trustd token": bundle.trustd_token,
        "encryption secret": bundle.aescbc_encryption_secret or bundle.secretbox_encryption_secret,
        "authority's key": bundle.os.key.decode().splitlines()[1],
        "authority's key in base64": base64.b64encode(bundle.os.key).decode()[60:120],
    }
    ids = {"members": member.id, "api-tokens": token.row.id, "join-tokens": join.row.id, "machines": machine.uuid}
    ids |= {"agents": "rack-7", "clusters": "prod", "machine-classes": machine_class, "audit": uuid7()}
    ids |= {"service-accounts": "deploys", "access-keys": access_key.id, "policies": policy.name}
    return House(organisation, secrets, {kind: str(key) for kind, key in ids.items()}, client, browser)


def test_no_answer_and_no_log_shows_a_secret(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    known = routes.http()
    with structlog.testing.capture_logs() as events:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            for name in sorted(HTTP.keys() - TOLD_ON_PURPOSE):
                kind, path = name.split(" ", 1)
                address = fill(path, house.organisation.slug, house.ids)
                if kind == "PAGE" and method in ("GET", "POST"):
                    answer = house.browser.generic(method, address)
                elif kind == method:
                    answer = house.client.generic(method, address, "{}", content_type="application/json")
                else:
                    continue
                assert answer.status_code < 500, name
                text = b"".join(answer) if answer.streaming else answer.content
                assert house.shown_in(text.decode(errors="replace")) == [], name
                if known[name].action == "list":
                    assert answer.json()["items"], f"{name} shows nothing, so it proves nothing"
    assert len(events) > len(HTTP) / 2
    assert house.shown_in(repr(events)) == []
    assert house.shown_in(caplog.text) == []


def test_what_is_told_on_purpose_is_there(house: House) -> None:
    """The search would find the secrets: here they are."""
    revealed = house.client.post(f"/api/v1/organisations/acme/join-tokens/{house.ids['join-tokens']}/reveal")
    assert house.shown_in(revealed.content.decode()) == ["join token"]
    template = house.client.get("/api/v1/organisations/acme/clusters/prod/template")
    assert "patch" in house.shown_in(template.content.decode())


def test_no_error_repeats_the_credential_it_refuses(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = []
    with structlog.testing.capture_logs() as events:
        for secret in (
            house.secrets["API token"] + "x",
            house.secrets["join token"],
            house.secrets["token for kubectl"],
        ):
            answers.append(APIClient().get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}))
        wrong = {"login": "nobody@example.com", "password": house.secrets["password"]}
        answers.append(Client().post("/accounts/login/", wrong))
        answers.append(Client().post(f"/accounts/link/{house.secrets['sign-in link']}"))
        answers.append(Client().get(f"/accounts/link/{house.secrets['sign-in link']}"))
        body = {"secret": house.secrets["API token"], "name": [house.secrets["password"]], "role": "owner"}
        answers.append(house.client.post("/api/v1/organisations/acme/api-tokens", body))
    assert [answer.status_code for answer in answers] == [401, 401, 401, 200, 302, 410, 400]
    for answer in answers:
        assert house.shown_in(answer.content.decode()) == []
    assert house.shown_in(repr(events)) == []
    assert house.shown_in(caplog.text) == []


def test_no_table_holds_a_secret_in_the_clear(house: House) -> None:
    secrets = {name: secret for name, secret in house.secrets.items() if name != "session"}  # Django keeps its key
    with tenant_scope(house.organisation.id), connection.cursor() as cursor:
        for model in apps.get_models():
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"SELECT t::text FROM {table} t")
            rows = "\n".join(row for (row,) in cursor.fetchall())
            for name, secret in secrets.items():
                assert secret not in rows, f"{name} in {table}"
                assert secret.encode().hex() not in rows, f"{name} in {table}"


def test_logs_hide_what_is_called_a_secret() -> None:
    event = {"event": "x", "join_token": "a", "Authorization": "b", "password": "c", "machine": "m-1"}
    hidden = logs.hide_secrets(None, "info", event)
    assert hidden == {"event": "x", "machine": "m-1"} | dict.fromkeys(
        ("join_token", "Authorization", "password"), "[hidden]"
    )
