"""Pages of meshes as the server makes them: what is on them, how much of it, and who sees what."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from apps.access.models import Policy
from apps.accounts.models import User
from apps.mesh import meshes
from apps.mesh.collector import Reading
from apps.mesh.models import MeshNode
from apps.reconcile.models import Outbox
from kubespan.mesh import Side
from tests.apps.mesh.house import House
from tests.kubespan.meshes import AT, mesh_of, troubled

PAGE = "/o/acme/clusters/prod/mesh"

Browser = Callable[..., Client]


@pytest.fixture
def browser(member: Callable[..., User]) -> Browser:
    """`browser("reader")`: signed in as somebody with that role."""

    def make(role: str = "owner") -> Client:
        client = Client()
        client.force_login(member(role))
        return client

    return make


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def rows(html: str) -> list[str]:
    """Ids of the rows of the list."""
    return re.findall(r'<tr role="row" id="([^"]+)"', html)


def test_what_is_wrong_is_on_it_with_its_reason(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    html = text(browser("reader"), PAGE)
    assert "2 pairs one-sided, 2 apart" in html
    assert "<b>1,322</b> of 1,326 pairs up" in html
    assert len(rows(html)) == 4
    assert "NAT: osl2-w-07 is seen from :61004, osl1-w-03 was told :51820." in html
    chosen = text(browser("operator"), f"{PAGE}?node=osl2-w-07")
    assert "185.4.12.9:61004" in chosen
    assert "Allow UDP 51820 from osl2-w-07 into osl1-w-03." in chosen


def test_lists_of_nodes_pairs_and_sites(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    client = browser()
    nodes = text(client, f"{PAGE}?view=nodes")
    assert len(rows(nodes)) == 50
    assert 'data-more="/o/acme/clusters/prod/mesh?view=nodes&amp;from=50"' in nodes
    further = text(client, f"{PAGE}?view=nodes&from=50")
    assert len(rows(further)) == 2
    assert "<html" not in further
    assert len(rows(text(client, f"{PAGE}?view=nodes&state=trouble"))) == 7
    assert len(rows(text(client, f"{PAGE}?view=nodes&q=ber-w-0"))) == 4
    first = text(client, f"{PAGE}?view=pairs")
    seen = rows(first)
    address = re.search(r'data-more="([^"]+)"', first)
    while address:
        part = text(client, address[1].replace("&amp;", "&"))
        seen += rows(part)
        address = re.search(r'data-more="([^"]+)"', part)
    assert len(seen) == len(set(seen)) == 1326
    assert len(rows(text(client, f"{PAGE}?view=pairs&reason=nat"))) == 2
    assert "the mesh has no node" in text(client, f"{PAGE}?view=pairs&q=nobody").lower()
    sites = text(client, f"{PAGE}?view=sites")
    assert len(rows(sites)) == 3
    assert "158 of 160" in sites


def test_a_list_is_fetched_anew_with_all_rows_that_were_scrolled_to(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    client = browser()
    assert len(rows(text(client, f"{PAGE}/list?view=pairs&rows=120"))) == 120
    assert len(rows(text(client, f"{PAGE}/list?view=pairs&rows=9999"))) == 500
    assert len(rows(text(client, f"{PAGE}/list?view=pairs&rows=x"))) == 50


def test_a_thousand_nodes_are_some_hundred_shapes_and_rows(mesh_house: House, browser: Browser) -> None:
    world = mesh_of({f"site-{number}": 100 for number in range(10)})
    for node in world.nodes[:400]:
        for other in world.nodes[500:520]:
            world.both(node.name, other.name, state=Side.DOWN, handshake=0, received=0, endpoint_changed=AT - 30)
    mesh_house.build(world)
    mesh_house.reconcile()
    client = browser()
    for view in ("", "nodes", "pairs", "sites"):
        html = text(client, f"{PAGE}?view={view}")
        assert "<b>1,000</b> nodes" in html
        assert html.count("<") < 4000
        assert len(html) < 400_000


def test_showing_the_head_is_a_look_and_other_parts_are_not(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(mesh_of({"osl": 3}))
    mesh_house.reconcile()
    client = browser("reader")
    for part, looked in (("picture", False), ("node", False), ("list", False), ("head", True)):
        Outbox.objects.all().delete()
        text(client, f"{PAGE}/{part}")
        assert Outbox.objects.filter(kind="mesh").exists() is looked
    assert client.get(f"{PAGE}/feet").status_code == 404


def test_kubespan_off(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(mesh_of({"osl": 2}))
    mesh_house.answers = {uuid: Reading(at=1.0) for uuid in mesh_house.answers}
    mesh_house.reconcile()
    reader = text(browser("reader"), PAGE)
    assert "KubeSpan is off in prod" in reader
    assert "Turn KubeSpan on" not in reader
    assert "Turn KubeSpan on" in text(browser("operator"), PAGE)


def test_nothing_read_yet_and_nothing_that_could_be(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(mesh_of({"osl": 2}))
    client = browser("reader")
    assert "Waiting for the nodes of prod to say whom they hear" in text(client, PAGE)
    assert Outbox.objects.filter(kind="mesh").exists()
    mesh_house.answers = {uuid: Reading(problem="did not answer in time") for uuid in mesh_house.answers}
    mesh_house.reconcile()
    html = text(client, PAGE)
    assert "No node of prod could be read" in html
    assert "did not answer in time" in html


def test_nodes_that_policies_hide_are_on_no_page(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    spec = {"subjects": ["user:*"], "effect": "limit", "role": "none", "machine_labels": "zone = osl2"}
    mesh_house.ask(lambda: Policy.new(name="not osl2", spec=spec))
    client = browser("operator")
    pages = [PAGE, *(f"{PAGE}?view={view}" for view in ("nodes", "pairs", "sites")), "/o/acme/mesh",
             "/o/acme/clusters/prod", f"/o/acme/machines/{mesh_house.uuids['osl1-w-03']}"]  # fmt: skip
    for page in pages:
        assert "osl2" not in text(client, page), page
    assert "osl2-w-07 is no node of this mesh" in text(client, f"{PAGE}?node=osl2-w-07")
    assert "66 of 66" in text(client, "/o/acme/mesh")
    assert client.get(f"/o/acme/machines/{mesh_house.uuids['osl2-w-07']}/mesh").status_code == 404


def test_a_machines_part(mesh_house: House, browser: Browser) -> None:
    mesh_house.build(troubled())
    client = browser("reader")
    machine = f"/o/acme/machines/{mesh_house.uuids['osl2-w-07']}"
    assert 'id="mesh-part"' not in text(client, machine)
    mesh_house.reconcile()
    assert "49 of 51" in text(client, machine)
    part = text(client, f"{machine}/mesh")
    assert "185.4.12.9:61004" in part
    assert f"{PAGE}?node=osl2-w-07" in part


def test_a_process_keeps_few_meshes_and_of_each_the_last(
    mesh_house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    meshes._kept.clear()
    mesh_house.build(mesh_of({"osl": 4}))
    mesh_house.reconcile()
    client = browser()
    text(client, PAGE)
    made = next(iter(meshes._kept.values()))
    text(client, f"{PAGE}?view=pairs")
    assert next(iter(meshes._kept.values())) is made
    mesh_house.reconcile()
    text(client, PAGE)
    assert len(meshes._kept) == 1
    assert next(iter(meshes._kept.values())) is not made
    monkeypatch.setattr(meshes, "KEPT", 1)
    text(client, PAGE)
    assert len(meshes._kept) == 1  # the one that is looked at


def test_a_page_asks_the_database_as_often_for_many_nodes_as_for_few(
    mesh_house: House, browser: Browser, django_assert_max_num_queries: Callable[..., object]
) -> None:
    mesh_house.build(troubled())
    mesh_house.reconcile()
    client = browser()
    text(client, PAGE)
    meshes._kept.clear()
    assert mesh_house.ask(MeshNode.objects.count) == 52
    with django_assert_max_num_queries(40):  # type: ignore[attr-defined]
        text(client, PAGE)
