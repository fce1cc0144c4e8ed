"""REST: a mesh as it was read last, its nodes and its pairs; to ask is to have it read again."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.access.models import Policy
from apps.clusters.credentials import bundle_of
from apps.reconcile.models import Outbox
from apps.tenants.models import Organisation
from tests.apps.mesh.house import House
from tests.kubespan.meshes import mesh_of, troubled

ACME = "/api/v1/organisations/acme/clusters/prod/mesh"

Api = Callable[..., APIClient]


def get(client: APIClient, path: str = "", **query: Any) -> Any:
    answer = client.get(f"{ACME}{path}", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def all_of(client: APIClient, path: str, limit: int, **query: Any) -> list[Any]:
    """All pages of a list."""
    items: list[Any] = []
    cursor = None
    while True:
        page = get(client, path, limit=limit, **query, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= limit
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


def test_the_first_look_has_it_read(mesh_house: House, api: Api) -> None:
    mesh_house.build(mesh_of({"osl": 3}))
    client = api("reader")
    answer = get(client)
    assert (answer["kubespan"], answer["read_at"], answer["nodes"]) == ("unknown", None, 0)
    assert answer["state"]["word"] == "Not read yet"
    assert Outbox.objects.filter(kind="mesh", object_id=mesh_house.cluster.id).exists()
    mesh_house.reconcile()
    answer = get(client)
    assert (answer["kubespan"], answer["nodes"], answer["complete"]) == ("on", 3, True)
    assert answer["pairs"] == {
        "total": 3, "up": 3, "one_sided": 0, "connecting": 0, "down": 0, "missing": 0, "unread": 0,
    }  # fmt: skip
    assert answer["sites"] == [{"name": "osl", "nodes": 3, "up": 3, "pairs": 3}]
    assert answer["problems"] == []


def test_what_is_wrong_comes_with_its_reason(mesh_house: House, api: Api) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    answer = get(api("reader"))
    assert answer["state"] == {
        "shape": "warn", "word": "2 pairs one-sided, 2 apart", "sentence": answer["problems"][0]["sentence"],
    }  # fmt: skip
    assert answer["reasons"] == {"nat": 2, "no-common": 1, "clock": 1}
    assert [site["name"] for site in answer["sites"]] == ["ber", "osl1", "osl2"]
    assert {"sites": ["ber", "osl2"], "up": 158, "pairs": 160} in answer["between"]
    problem = next(item for item in answer["problems"] if item["reason"] == "nat")
    assert (problem["one"], problem["other"], problem["others"]) == ("osl2-w-07", "osl1-w-03", ["osl1-w-03"])
    assert (problem["there"]["state"]["word"], problem["back"]["state"]["word"]) == ("Up", "Down")
    assert problem["sentence"] == "NAT: osl2-w-07 is seen from :61004, osl1-w-03 was told :51820."
    assert problem["advice"][0] == "Allow UDP 51820 from osl2-w-07 into osl1-w-03."
    assert problem["since"] is not None


def test_pairs_are_narrowed_and_come_a_page_at_a_time(mesh_house: House, api: Api) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    client = api("reader")
    everything = all_of(client, "/pairs", 500)
    assert len(everything) == 52 * 51 // 2
    assert len({frozenset((row["one"], row["other"])) for row in everything}) == len(everything)
    broken = all_of(client, "/pairs", 3, state="trouble")
    assert broken == [row for row in everything if row["state"] in ("one-sided", "down")]
    assert len(broken) == 4
    assert all_of(client, "/pairs", 50, state="one-sided") == [row for row in everything if row["state"] == "one-sided"]
    assert [row["reason"] for row in all_of(client, "/pairs", 1, reason="nat")] == ["nat", "nat"]
    of_one = all_of(client, "/pairs", 20, node="osl2-w-07")
    assert of_one == [row for row in everything if "osl2-w-07" in (row["one"], row["other"])]
    assert len(all_of(client, "/pairs", 500, site="ber")) == 6 + 4 * 48
    up = next(row for row in everything if row["state"] == "up")
    assert up["reason"] == up["sentence"] == ""
    assert up["there"]["handshake"] is not None
    assert up["there"]["received"] > 4_000_000


def test_nodes(mesh_house: House, api: Api) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    client = api("reader")
    everything = all_of(client, "/nodes", 7)
    assert len(everything) == 52
    node = next(row for row in everything if row["name"] == "osl2-w-07")
    assert node["machine"] == mesh_house.uuids["osl2-w-07"]
    assert (node["up"], node["others"], node["state"]["word"]) == (51 - 2, 51, "49 of 51")
    assert node["seen_as"] == "185.4.12.9:61004"
    assert node["endpoints"] == ["185.4.12.9:51820", "10.40.2.17:51820"]
    assert {row["name"] for row in all_of(client, "/nodes", 3, troubled="yes")} == {
        "osl2-w-07", "osl1-w-03", "osl1-w-04", "osl2-w-28", "osl2-w-31", "ber-w-03", "ber-w-04",
    }  # fmt: skip
    assert {row["site"] for row in all_of(client, "/nodes", 500, site="osl1")} == {"osl1"}
    assert [row["name"] for row in get(client, "/nodes", q="185.4.12.9:51")["items"]] == ["osl2-w-07"]


@pytest.mark.parametrize(
    ("path", "query", "word"),
    [
        ("/pairs", "state=broken", "broken"),
        ("/pairs", "reason=bad-luck", "bad-luck"),
        ("/pairs", "node=nobody", "nobody"),
        ("/pairs", "site=moon", "moon"),
        ("/pairs", "cursor=-1", "cursor"),
        ("/pairs", "limit=0", "limit"),
        ("/nodes", "limit=many", "many"),
        ("/nodes", "cursor=x", "cursor"),
    ],
)
def test_wrong_words_are_named(mesh_house: House, api: Api, path: str, query: str, word: str) -> None:
    mesh_house.build(mesh_of({"osl": 2}))
    mesh_house.reconcile()
    answer = api("reader").get(f"{ACME}{path}?{query}")
    assert answer.status_code == 400
    assert word in answer.content.decode()


def test_cursors_beyond_the_end_end(mesh_house: House, api: Api) -> None:
    mesh_house.build(mesh_of({"osl": 2}))
    mesh_house.reconcile()
    client = api("reader")
    for path in ("/pairs", "/nodes"):
        assert get(client, path, cursor="999999999999") == {"items": [], "next": None}


def test_machines_that_policies_hide_are_not_in_it(mesh_house: House, api: Api, organisation: Organisation) -> None:
    world = troubled()
    mesh_house.build(world)
    mesh_house.reconcile()
    spec = {"subjects": ["user:*"], "effect": "limit", "role": "none", "machine_labels": "zone = osl2"}
    mesh_house.ask(lambda: Policy.new(name="not osl2", spec=spec))
    client = api("operator")
    answer = client.get(ACME)
    assert "osl2" not in answer.content.decode()
    assert answer.json()["nodes"] == 12
    assert answer.json()["pairs"]["up"] == answer.json()["pairs"]["total"] == 66
    assert answer.json()["state"]["word"] == "All 66 pairs up"
    for path in ("/nodes", "/pairs"):
        assert "osl2" not in client.get(f"{ACME}{path}?limit=500").content.decode()
    assert client.get(f"{ACME}/pairs?node=osl2-w-07").status_code == 400
    assert get(api("owner"))["nodes"] == 52


def test_no_secret_of_the_cluster_is_in_it(mesh_house: House, api: Api) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    bundle = mesh_house.ask(lambda: bundle_of(mesh_house.cluster.secrets))
    client = api("owner")
    for path in ("", "/nodes", "/pairs"):
        text = client.get(f"{ACME}{path}?limit=500").content.decode()
        assert bundle.cluster_id not in text
        assert bundle.cluster_secret not in text
