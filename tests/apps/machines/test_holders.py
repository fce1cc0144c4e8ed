"""Which gateway holds a link, as the database decides it."""

from __future__ import annotations

from apps.machines import holders
from apps.machines.holders import Handshake
from apps.machines.models import Link
from tests.apps.machines.desk import OTHER_UUID, Desk, key


def shaken(link: Link, age: float = 0.0) -> list[Handshake]:
    return [Handshake(link.organisation_id, link.id, age)]


def holder(desk: Desk, link: Link) -> tuple[str, bool]:
    return desk.ask(lambda: Link.objects.values_list("gateway", "alive").get(id=link.id))


def test_a_new_link_is_held_where_its_machine_called(desk: Desk) -> None:
    link = desk.provision()
    assert holder(desk, link) == ("one", False)
    desk.gateway = "two"
    desk.provision()  # the same machine again, by way of another gateway
    assert holder(desk, link) == ("one", False)


def test_the_last_handshake_wins(desk: Desk) -> None:
    link = desk.provision()
    (row,) = holders.claim("one", shaken(link))
    assert (row.gateway, holder(desk, link)) == ("one", ("one", True))
    (row,) = holders.claim("two", shaken(link, age=60))  # what two saw was before
    assert (row.gateway, holder(desk, link)) == ("one", ("one", True))
    (row,) = holders.claim("two", shaken(link))
    assert (row.gateway, holder(desk, link)) == ("two", ("two", True))
    (row,) = holders.claim("one", shaken(link, age=60))
    assert row.gateway == "two"


def test_any_handshake_beats_silence(desk: Desk) -> None:
    link = desk.provision()
    holders.claim("one", shaken(link))
    holders.fell_silent("two", [(link.organisation_id, link.id)])  # not two's to say
    assert holder(desk, link) == ("one", True)
    holders.fell_silent("one", [(link.organisation_id, link.id)])
    assert holder(desk, link) == ("one", False)
    holders.claim("two", shaken(link, age=60))
    assert holder(desk, link) == ("two", True)


def test_a_gateway_that_starts_hears_nobody_yet(desk: Desk) -> None:
    one, two = desk.provision(), desk.provision(OTHER_UUID, key(2))
    holders.claim("one", shaken(one))
    holders.claim("two", shaken(two))
    holders.begin("one")
    assert (holder(desk, one), holder(desk, two)) == (("one", False), ("two", True))


def test_a_link_is_inherited_once_and_only_from_who_holds_it(desk: Desk) -> None:
    link = desk.provision()
    holders.claim("one", shaken(link))
    ids = [(link.organisation_id, link.id)]
    assert [row.id for row in holders.inherit("two", ids, "one")] == [link.id]
    assert holder(desk, link) == ("two", False)
    assert holders.inherit("three", ids, "one") == []
    assert holder(desk, link) == ("two", False)


def test_a_link_takes_the_holder_of_the_key_it_takes(desk: Desk) -> None:
    """A machine rebooted: its new key shook hands with another gateway while its link was pending."""
    link, unique = desk.joined()
    holders.claim("one", shaken(link))
    pending = desk.provision(public_key=key(9))
    holders.claim("two", shaken(pending))
    desk.provision(public_key=key(9), unique=unique)
    assert holder(desk, link) == ("two", True)
    desk.gateway = "three"
    desk.provision(public_key=key(8), unique=unique)  # a key that nobody has seen yet
    assert holder(desk, link) == ("three", False)


def test_a_link_that_is_gone_is_claimed_by_nobody(desk: Desk) -> None:
    link = desk.provision()
    desk.ask(lambda: Link.objects.all().delete())
    assert holders.claim("one", shaken(link)) == []
    assert holders.stored([(link.organisation_id, link.id)]) == []
