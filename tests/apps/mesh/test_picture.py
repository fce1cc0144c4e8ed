"""The picture of a mesh: everything that is wrong is drawn, nothing twice, and never more than can be looked at."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.mesh import picture
from apps.mesh.picture import EDGES, RIM, SITES, Picture, draw
from kubespan.mesh import Mesh, Side, look
from kubespan.reasons import problems
from tests.kubespan.meshes import AT, World, mesh_of, troubled


def drawn(world: World, selected: int | None = None) -> tuple[Mesh, Picture]:
    mesh = look(world.read(), AT)
    return mesh, draw(mesh, problems(mesh), selected)


def apart(world: World, one: str, other: str) -> None:
    world.both(one, other, state=Side.DOWN, handshake=0, endpoint_changed=AT - 30)


def test_sites_are_circles_and_whole_sites_are_joined() -> None:
    mesh, found = drawn(mesh_of({"osl2": 40, "osl1": 8, "ber": 4}))
    assert [(zone.name, zone.size, zone.up) for zone in found.zones] == [
        ("osl2", 40, 780),
        ("osl1", 8, 28),
        ("ber", 4, 6),
    ]
    assert sorted(line.total for line in found.lines) == [32, 160, 320]
    assert len(found.dots) == mesh.size
    assert found.edges == []
    assert sum(dot.control_plane for dot in found.dots) == 3


def test_only_pairs_in_trouble_are_drawn_singly() -> None:
    mesh, found = drawn(troubled())
    assert sorted(edge.kind for edge in found.edges) == ["none", "none", "one", "one"]
    assert {dot.name for dot in found.dots if dot.noted} == {
        "osl2-w-07", "osl1-w-03", "osl1-w-04", "osl2-w-28", "osl2-w-31", "ber-w-03", "ber-w-04",
    }  # fmt: skip
    assert {label.text for label in found.labels} == {dot.name for dot in found.dots if dot.noted}
    names = [node.name for node in mesh.nodes]
    _, chosen = drawn(troubled(), names.index("osl2-w-12"))
    assert [dot.name for dot in chosen.dots if dot.selected] == ["osl2-w-12"]


def test_the_arrow_points_to_who_still_hears() -> None:
    world = mesh_of({"west": 1, "east": 1})
    world.hears("east-cp-01", "west-cp-01", state=Side.DOWN, handshake=AT - 600, endpoint_changed=AT - 30)
    _, found = drawn(world)
    spots = {dot.name: dot for dot in found.dots}
    [edge] = found.edges
    assert edge.tip is not None
    to_the_west = spots["west-cp-01"].x < spots["east-cp-01"].x
    assert abs(abs(edge.tip[2]) - (180 if to_the_west else 0)) < 1


def test_a_node_that_hears_nobody_is_a_line_to_each_site_not_to_each_node() -> None:
    world = mesh_of({"osl": 30, "ber": 20, "fra": 10})
    for node in world.nodes:
        if node.name != "ber-w-05":
            apart(world, "ber-w-05", node.name)
    _, found = drawn(world)
    assert len(found.edges) == 3
    assert found.edges_left == 0


def test_a_large_mesh_is_a_few_shapes() -> None:
    world = mesh_of({f"site-{number:02d}": 25 for number in range(40)})
    for number in range(200):
        one, other = world.nodes[number], world.nodes[999 - number]
        apart(world, one.name, other.name)
    mesh, found = drawn(world)
    assert mesh.size == 1000
    assert len(found.zones) == SITES
    assert found.sites_left == 30
    assert len(found.edges) <= EDGES
    assert found.edges_left > 0
    assert len(found.dots) <= SITES * RIM
    assert len(found.labels) <= picture.LABELS


def test_the_sites_of_a_problem_are_drawn_however_small_they_are() -> None:
    world = mesh_of({f"big-{number:02d}": 30 for number in range(14)} | {"tiny": 1, "small": 2})
    apart(world, "tiny-w-01", "small-w-02")
    _, found = drawn(world)
    assert {"tiny", "small"} <= {zone.name for zone in found.zones}
    assert len(found.edges) == 1


def test_the_members_of_a_large_site_are_not_drawn_but_those_in_trouble() -> None:
    world = mesh_of({"osl": 100, "ber": 3})
    apart(world, "osl-w-50", "ber-w-02")
    _, found = drawn(world)
    assert {dot.name for dot in found.dots} == {"osl-w-50", "ber-w-01", "ber-w-02", "ber-w-03"}
    assert next(zone for zone in found.zones if zone.name == "osl").many


def test_in_a_small_mesh_each_node_has_its_name_and_each_pair_its_line() -> None:
    _, found = drawn(mesh_of({"osl": 4}))
    assert len(found.labels) == 4
    assert len(found.inner) == 6


def test_a_mesh_without_nodes() -> None:
    _, found = drawn(World())
    assert (found.zones, found.dots) == ([], [])


def test_long_names_lose_their_middle() -> None:
    assert picture.shortened("osl2-w-07") == "osl2-w-07"
    long = "a-very-long-name-of-a-node-that-ends-in-07"
    assert picture.shortened(long).startswith("a-very-long-n")
    assert picture.shortened(long).endswith("in-07")
    assert len(picture.shortened(long)) == picture.LONGEST


@pytest.mark.parametrize("selected", [None, 0])
@given(
    sizes=st.dictionaries(st.text("abcdef.:/0123456789", min_size=1, max_size=40), st.integers(1, 70), max_size=14),
    cut=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), max_size=40),
)
def test_whatever_the_mesh_circles_are_apart_and_all_is_in_the_frame(
    selected: int | None, sizes: Mapping[str, int], cut: list[tuple[int, int]]
) -> None:
    world = mesh_of(sizes)
    if not world.nodes:
        return
    for i, j in cut:
        one, other = world.nodes[i % len(world.nodes)], world.nodes[j % len(world.nodes)]
        if one.name != other.name:
            apart(world, one.name, other.name)
    _, found = drawn(world, selected)
    left, top, width, height = found.view
    for zone in found.zones:
        assert left <= zone.x - zone.r <= zone.x + zone.r <= left + width
        assert top <= zone.y - zone.r <= zone.y + zone.r <= top + height
    for number, one in enumerate(found.zones):
        for other in found.zones[:number]:
            assert (one.x - other.x) ** 2 + (one.y - other.y) ** 2 > (one.r + other.r) ** 2
    for label in found.labels:
        assert left <= label.box[0] <= label.box[2] <= left + width
