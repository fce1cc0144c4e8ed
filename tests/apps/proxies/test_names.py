"""Which machine a name means, when machines say of themselves what they like."""

from uuid import uuid4

import pytest

from apps.access.facts import Facts
from apps.proxies.names import Spot


def spot(*names: str, link: str, addresses: tuple[str, ...] = ()) -> Spot:
    uuid = str(uuid4())
    return Spot(
        id=uuid4(), uuid=uuid, seen=(Facts("machine", uuid, uuid), None), names=frozenset({uuid, *names}),
        addresses=frozenset({link, *addresses}), link=link, connected=True, since=None, mode="secure",
        credentials=None, fingerprint="",
    )  # fmt: skip


@pytest.mark.parametrize("address", ["10.0.0.5", "fdae:41e4::5"])
def test_a_hostname_that_looks_like_an_address_takes_no_calls_of_it(address: str) -> None:
    honest = spot("worker-1", link="fdae:41e4::1", addresses=(address,))
    hostile = spot(address, link="fdae:41e4::2")
    assert hostile.called(address) == 0 < honest.called(address)


def test_who_reports_the_address_of_anothers_link_is_not_meant_by_it() -> None:
    honest = spot("worker-1", link="fdae:41e4::1")
    hostile = spot("worker-2", link="fdae:41e4::2", addresses=("fdae:41e4::1",))
    assert hostile.called("fdae:41e4::1") < honest.called("fdae:41e4::1")


def test_two_that_say_the_same_are_both_meant() -> None:
    """So that the call is refused and names both."""
    one, other = (spot("worker-1", link=f"fdae:41e4::{number}", addresses=("10.0.0.5",)) for number in (1, 2))
    assert one.called("worker-1") == other.called("worker-1") > 0
    assert one.called("10.0.0.5") == other.called("10.0.0.5") > 0
