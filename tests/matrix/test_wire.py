"""A sample of the matrix over the wire, under each policy: requests of REST and pages, calls as talosctl makes them."""

import contextlib
import json
import re
from collections.abc import Iterator

import grpc
from django.db import transaction
from django.test import Client
from rest_framework.test import APIClient

from apps.access.explain import explain
from apps.access.models import Policy
from apps.access.verbs import VERBS
from apps.accounts.identity import actors_with
from apps.machines.queries import listed
from tests.apps.gateways.conftest import lab
from tests.apps.gateways.lab import Lab
from tests.apps.proxies.site import VERSION, Caller
from tests.apps.proxies.test_talos import one_cluster
from tests.matrix.cells import ALLOW, HIDE, OWN, POLICIES, REFUSE, WHO, Way, Who, expected, policies, transports, ways
from tests.matrix.test_cells import House, houses, under

__all__ = ["houses", "lab"]

SENDERS = [who for who in WHO if who.name in ("reader", "admin", "owner", "ci", "lesser admin")]
BODY = '{"labels": {}}'
ABSENT = "00000000-0000-4000-8000-00000000dead"


class Undone(Exception):
    """Ends a request's transaction, so that the next one finds everything as it was."""


@contextlib.contextmanager
def undone() -> Iterator[None]:
    with contextlib.suppress(Undone), transaction.atomic():
        yield
        raise Undone


def client(house: House, who: Who, transport: str) -> APIClient | Client:
    """Somebody with a token, or with a browser."""
    if transport == "session":
        browser = Client(raise_request_exception=False)
        browser.force_login(house.users[who.name])
        return browser
    api = APIClient(raise_request_exception=False)
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {house.tokens[who.name]}")
    return api


def address(house: House, way: Way, there: bool = True) -> tuple[str, str]:
    """Method and path of a way, to what it is about or to what is not there."""
    method, path = way.name.split(" ", 1)
    name = house.cluster.name if there else "no-such-cluster"
    uuid = house.machine.uuid if there or way.on == "cluster" else ABSENT
    known = {"slug": house.organisation.slug, "name": name, "uuid": uuid, "form": "reveal", "part": "head"}
    return ("POST" if "/template/" in path else "GET") if method == "PAGE" else method, re.sub(
        r"<(\w+)>", lambda match: known[match[1]], path
    )


def came(sender: APIClient | Client, method: str, path: str) -> tuple[int, str]:
    """Status, and the sentence of a refusal without names."""
    with undone():
        answer = sender.generic(method, path, BODY, content_type="application/json")
        text = answer.content.decode() if answer.status_code in (403, 404) else ""
        if answer.headers.get("Content-Type") == "application/problem+json" and text:
            text = json.loads(text)["detail"]
        return answer.status_code, text
    raise AssertionError("no answer")


def test_requests_under_policies(houses: tuple[House, House]) -> None:
    house, _ = houses
    governed = [way for way in ways(VERBS) if way.governed and way.kind in ("rest", "page")]
    senders = [(who, by, client(house, who, by)) for who in SENDERS for by in ("token", "session")
               if by == "token" or who.name in house.users]  # fmt: skip
    wrong = []
    for policy in ("lift", "limit", "out"):
        under(house, policy)
        for way in (way for way in governed if policy in policies(way)):
            for who, by, sender in senders:
                if by not in transports(way, who):
                    continue
                wanted = expected(way, who, OWN, policy, VERBS)
                status, text = came(sender, *address(house, way))
                if status == 404 and "there is no" not in text and way.kind == "rest":
                    status = 200  # of something else that was asked for
                missing = came(sender, *address(house, way, there=False))[0] if way.on else 0
                same = status == missing
                right = {REFUSE: status == 403, HIDE: same and status != 403, ALLOW: status not in (401, 403, 404)}
                if status >= 500 or not right[wanted]:
                    wrong.append(
                        f"{way.name} for {who.name} by {by}, policy {policy}: {status}, not {wanted}: {text[:99]}"
                    )
    assert not wrong, f"{len(wrong)} are wrong:\n" + "\n".join(wrong[:40])


METHODS = (
    VERSION,
    "/machine.MachineService/EtcdAlarmDisarm",
    "/machine.MachineService/GenerateClientConfiguration",
)
"""One for readers, operators, admins; none hurts the machine."""

REFUSED = {grpc.StatusCode.PERMISSION_DENIED: REFUSE, grpc.StatusCode.NOT_FOUND: HIDE}


async def test_calls_under_policies(lab: Lab) -> None:
    """Signed and by certificate, with real keys through a real gateway to a machine; `explain` says the same."""
    async with one_cluster(lab) as (tenant, (machine,)):
        callers: list[Caller] = []
        for role in ("reader", "operator", "admin", "owner"):
            callers.append(await tenant.person(role))
            callers.append(await tenant.holder(role))
        for name, spec in POLICIES.items():

            def write() -> None:
                Policy.objects.all().delete()
                if spec:  # noqa: B023 (called at once)
                    Policy.new(name=name, spec={"subjects": ["*"], "clusters": ["prod"], **spec})  # noqa: B023

            await lab.ask(write)
            await tenant.heard("policy")
            actors = await lab.ask(lambda: actors_with([caller.row.id for caller in callers]))
            facts = (await lab.ask(lambda: listed().get(id=machine.id))).facts
            for caller in callers:
                actor = actors[caller.row.id]
                assert not isinstance(actor, str)
                for method in METHODS:
                    told = explain(actor, f"talos:{method.lstrip('/')}", facts)
                    wanted = ALLOW if told.allowed else HIDE if told.hidden else REFUSE
                    outcome, said = await called(caller, method, machine.uuid)
                    assert outcome == wanted, f"{method} for {actor.name}, policy {name}: {said}; {told.sentence}"
                    assert outcome != REFUSE or told.sentence == f"{said}."


async def called(caller: Caller, method: str, uuid: str) -> tuple[str, str]:
    """What came of a call, and what was said."""
    try:
        await caller.call(method, node=uuid, context="prod")
    except grpc.aio.AioRpcError as error:
        return REFUSED.get(error.code(), ALLOW), error.details() or ""
    return ALLOW, ""
