"""Every way in, for every role, in one's own and in another's organisation."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.test import Client
from rest_framework.test import APIClient

from apps.access.actor import ROLES, Actor
from apps.access.models import Policy
from apps.access.verbs import VERBS
from apps.accounts import actions as accounts
from apps.accounts import grants, service_accounts
from apps.accounts.authority import issue_certificate
from apps.accounts.models import GrantRequest, Membership, User
from apps.audit.models import AuditRecord
from apps.clusters.models import Cluster
from apps.dashboard.page import PAGES
from apps.machines import actions as machines
from apps.machines.models import Agent, AgentObservation, AgentTarget, Machine, MachineObservation
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from omni.asgi import application
from tests.apps.websocket import WebSocket
from tests.matrix import routes
from tests.matrix.table import ANYBODY, GRPC, HTTP, SECRET_IN_ADDRESS, SIGNED_IN, WEBSOCKETS

BY_VERB = {name: need for name, need in HTTP.items() if need in VERBS}
BODY = '{"labels": {}}'
"""Of every request that changes something: enough for the simplest, refused in others only after the permission."""

REST = {name: need for name, need in BY_VERB.items() if not name.startswith("PAGE")}
PAGE = {name: need for name, need in BY_VERB.items() if name.startswith("PAGE")}


def test_every_address_has_an_entry() -> None:
    assert set(routes.http()) ^ set(HTTP) == set()


def test_every_websocket_has_an_entry() -> None:
    assert routes.websocket_names() ^ set(WEBSOCKETS) == set()


async def test_every_grpc_method_has_an_entry() -> None:
    assert await routes.grpc_methods() ^ set(GRPC) == set()


def test_the_code_needs_what_the_table_says() -> None:
    known = {}
    for name, route in routes.http().items():
        if route.action:
            known[name] = route.view.cls.verbs[route.action]
        elif route.view.__name__ in PAGES and route.view.__module__.startswith("apps.dashboard"):
            known[name] = PAGES[route.view.__name__]
    assert known == BY_VERB


@dataclass
class Tenant:
    """One organisation with an object of each kind, a token and a browser for each role."""

    organisation: Organisation
    ids: dict[str, str]  # by the resource's name in the address
    clients: dict[str, APIClient]
    browsers: dict[str, Client]
    tokens: dict[str, str]

    def fill(self, path: str) -> str:
        """An address with this organisation and its objects in it."""
        return fill(path, self.organisation.slug, self.ids)


def fill(path: str, slug: str, ids: dict[str, str]) -> str:
    resource = [*path.removeprefix("/api/v1/organisations").removeprefix("/o").split("/"), "", ""][2]
    key = ids.get(resource, "")
    known = {"slug": slug, "id": key, "name": key, "uuid": ids["machines"], "token_id": key or ids["join-tokens"]}
    known |= {"member_id": key, "key_id": key}
    known |= {"request_id": ids.get("grant", str(UUID(int=0))), "session_id": "0" * 16, "pk": "1"}
    known |= {"act": "revoke", "form": "token", "part": "head", "secret": "0" * 64, "token": "0" * 64}
    return re.sub(r"<(\w+)>", lambda match: known[match[1]], path)


@pytest.fixture
def tenants(organisation: Organisation, other_organisation: Organisation) -> tuple[Tenant, Tenant]:
    return tenant(organisation), tenant(other_organisation)


def tenant(organisation: Organisation) -> Tenant:
    clients, browsers, tokens = {}, {}, {}
    with tenant_scope(organisation.id):
        for role in ROLES:
            user = User.objects.create_user(
                f"{role}@{organisation.slug}.example.com", name=f"{role} of {organisation.slug}"
            )
            Membership.new(user=user, role=role)
            acting = Actor("user", str(user.id), user.email, organisation.id, role)
            made = accounts.create_api_token(acting, user, role, role)
            tokens[role], clients[role] = made.secret, APIClient(raise_request_exception=False)
            clients[role].credentials(HTTP_AUTHORIZATION=f"Bearer {made.secret}")
            browsers[role] = Client(raise_request_exception=False)
            browsers[role].force_login(user)
        spare = accounts.add_member(acting, f"spare@{organisation.slug}.example.com", "reader").membership
        machine = Machine.new(uuid=f"00000000-0000-4000-8000-0000000000{len(organisation.slug):02d}")
        MachineObservation.new(machine=machine)
        ids = {
            "members": str(spare.id),
            "api-tokens": str(accounts.create_api_token(acting, user, "spare", "reader").row.id),
            "service-accounts": service_accounts.create(acting, f"{organisation.slug}-ci", "reader").name,
            "access-keys": str(issue_certificate(acting, user, "spare")[0].id),
            "audit": str(AuditRecord.objects.first().id),
            "machines": machine.uuid,
            "clusters": Cluster.new(
                name=f"{organisation.slug}-cluster",
                kubernetes_version="1.33.0",
                talos_version="1.10.0",
                initial_talos_version="1.10.0",
                balancer_port=10000 + len(organisation.slug),
            ).name,
            "machine-classes": machines.write_machine_class(acting, f"{organisation.slug}-class", ["a = b"], {}).name,
            "join-tokens": str(machines.create_join_token(acting, "default").row.id),
            "agents": agent(f"{organisation.slug}-agent"),
            "policies": Policy.new(
                name=f"{organisation.slug}-policy", spec={"subjects": ["user:x@y"], "role": "admin"}
            ).name,
            "grant": str(grants.ask(GrantRequest.LOGIN, {"name": "omni login"}, "192.0.2.9")[0].id),
        }
    return Tenant(organisation, ids, clients, browsers, tokens)


def agent(name: str) -> str:
    """Store an agent of the organisation in scope, which found a machine; its name."""
    row = Agent.new(name=name, credential_hash=hashlib.sha256(name.encode()).digest())
    AgentObservation.new(agent=row)
    AgentTarget.new(agent=row, address=f"{name}.example.com", api_mode="maintenance", uuid=str(row.id))
    return row.name


def text_of(answer: Any) -> str:
    """The body, of a file that is written while it is read too."""
    return (b"".join(answer) if answer.streaming else answer.content).decode(errors="replace")


def may(role: str, verb: str) -> bool:
    return ROLES.index(role) >= ROLES.index(VERBS[verb])


@pytest.mark.parametrize("name", REST)
def test_rest(name: str, tenants: tuple[Tenant, Tenant]) -> None:
    own, other = tenants
    method, path = name.split(" ", 1)
    path = own.fill(path)
    anonymous = APIClient().generic(method, path, BODY, content_type="application/json")
    assert anonymous.status_code == 401
    strangers = set()
    for role in ROLES:
        stranger = other.clients[role].generic(method, path, BODY, content_type="application/json")
        nowhere = other.clients[role].generic(
            method, path.replace("/acme", "/nowhere"), BODY, content_type="application/json"
        )
        assert stranger.status_code == nowhere.status_code == 404
        strangers |= {stranger.json()["detail"], nowhere.json()["detail"].replace("nowhere", "acme")}
    assert len(strangers) == 1, "another's organisation and one that is not there must look the same"
    for role in ROLES:  # the least first: what a role may not do must not have happened when the next one tries
        answer = own.clients[role].generic(method, path, BODY, content_type="application/json")
        if may(role, REST[name]):
            assert answer.status_code not in (401, 403, 405), answer.content
            assert answer.status_code < 500, answer.content
            assert answer.status_code != 404 or "organisation" not in answer.json()["detail"]
        else:
            assert answer.status_code == 403, answer.content
            assert VERBS[REST[name]] in answer.json()["detail"]


@pytest.mark.parametrize("name", [name for name in REST if "<slug>/" in name and "<" in name.split("<slug>", 1)[1]])
def test_another_tenants_objects_by_their_id(name: str, tenants: tuple[Tenant, Tenant]) -> None:
    """The right address of the wrong object: an owner asks in their own organisation for the other's object."""
    own, other = tenants
    method, path = name.split(" ", 1)
    mine = own.clients["owner"].generic(method, own.fill(path), BODY, content_type="application/json")
    assert mine.status_code < 500
    assert b"there is no" not in mine.content
    path = fill(path, own.organisation.slug, other.ids)
    theirs = own.clients["owner"].generic(method, path, BODY, content_type="application/json")
    assert theirs.status_code == 404
    assert theirs.json()["detail"].startswith("there is no"), theirs.content


@pytest.mark.parametrize(
    "name", [name for name in REST if name.startswith("GET") and name.count("<") == 1 and "/access/" not in name]
)
def test_lists_hold_nothing_of_others(name: str, tenants: tuple[Tenant, Tenant]) -> None:
    own, other = tenants
    answer = own.clients["owner"].get(own.fill(name.split(" ", 1)[1]))
    assert answer.status_code == 200
    text = text_of(answer)
    for foreign in [*other.ids.values(), str(other.organisation.id), "umbrella"]:
        assert foreign not in text


@pytest.mark.parametrize("name", PAGE)
def test_pages(name: str, tenants: tuple[Tenant, Tenant]) -> None:
    own, other = tenants
    path = own.fill(name.split(" ", 1)[1])
    for method in ("get", "post"):
        anonymous = getattr(Client(), method)(path)
        assert anonymous.status_code in (302, 405)
        if anonymous.status_code == 302:
            assert anonymous.url.startswith("/accounts/login/")
        for role in ROLES:
            assert getattr(other.browsers[role], method)(path).status_code in (404, 405)
    answered = 0
    for method in ("get", "post"):
        for role in ROLES:
            answer = getattr(own.browsers[role], method)(path)
            answered += answer.status_code != 405
            if answer.status_code == 405:
                continue
            if may(role, PAGE[name]):
                assert answer.status_code != 403
                assert answer.status_code < 500
            else:
                assert answer.status_code == 403
            assert "umbrella" not in text_of(answer)
    assert answered


@pytest.mark.parametrize("name", [name for name, need in HTTP.items() if need == SIGNED_IN])
def test_what_every_signed_in_person_may(name: str, tenants: tuple[Tenant, Tenant]) -> None:
    own, _ = tenants
    method, path = own.fill(name).split(" ", 1)
    assert Client().get(path).status_code == (302 if method == "PAGE" else 401)
    user = User.objects.get(email="reader@acme.example.com")
    user.set_password("correct horse battery")  # some of these pages are about it, or about second factors
    user.save()
    TOTP.activate(user, "A" * 32)
    RecoveryCodes.activate(user)
    browser = Client()
    browser.force_login(user)
    answer = (browser if method == "PAGE" else own.clients["reader"]).get(path)
    assert answer.status_code in (200, 302) or (answer.status_code == 405 and method not in ("PAGE", "GET"))
    assert "umbrella" not in answer.content.decode()


@pytest.mark.parametrize("name", [name for name, need in HTTP.items() if need == ANYBODY])
def test_what_anybody_may_tells_nothing_of_tenants(name: str, tenants: tuple[Tenant, Tenant]) -> None:
    answer = Client().get(name.split(" ", 1)[1])
    assert answer.status_code < 500
    text = answer.content.decode()
    for own in tenants:
        for secret in [*own.ids.values(), *own.tokens.values(), own.organisation.slug, str(own.organisation.id)]:
            assert secret not in text


@pytest.mark.parametrize("name", [name for name, need in HTTP.items() if need == SECRET_IN_ADDRESS])
def test_a_guessed_secret_opens_nothing(name: str, tenants: tuple[Tenant, Tenant]) -> None:
    path = re.sub(r"<\w+>", "0" * 64, name.split(" ", 1)[1])
    for method in ("get", "post"):
        client = Client()
        assert getattr(client, method)(path).status_code in (404, 410)
        assert "_auth_user_id" not in client.session


@pytest.fixture
def committed(
    transactional_db: None, organisation: Organisation, other_organisation: Organisation
) -> tuple[Tenant, Tenant]:
    return tenant(organisation), tenant(other_organisation)


async def test_websockets(committed: tuple[Tenant, Tenant]) -> None:
    own, other = committed
    for name, verb in WEBSOCKETS.items():
        for role in ROLES:
            assert await opens(name, own, own, role) == may(role, verb), f"{name} for {role}"
            assert not await opens(name, own, other, role), f"{name} for a stranger who is {role}"
        assert not await opens(name, own, own, ""), f"{name} for nobody"


async def opens(name: str, place: Tenant, who: Tenant, role: str) -> bool:
    """Whether this person hears anything there."""
    path, _, kind = name.removeprefix("WS ").partition(" ")
    path = place.fill(path) + (f"?kinds={kind}" if kind else "")
    page = path.startswith("/o/")
    headers = []
    if role and page:
        cookies = who.browsers[role].cookies
        headers = [(b"cookie", f"sessionid={cookies['sessionid'].value}".encode())]
    elif role:
        headers = [(b"authorization", f"Bearer {who.tokens[role]}".encode())]
    socket = WebSocket(application, path, headers)
    await socket.connect()
    try:
        if kind or not socket.accepted:
            return socket.accepted
        first = await socket.receive_output(10)
        return first["type"] == "websocket.send" and json.loads(first["text"]).get("type") != "closed"
    finally:
        if socket.accepted:
            await socket.disconnect()
