"""What waits for those who watch, and for those who do not read."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.discovery.limits import Refused
from kubespan.discovery.state import Change, State
from kubespan.discovery.watching import SMALL, Room, Watch
from talos.gen.sidero import discovery_pb2 as pb
from tests.kubespan.discovery.lab import known


async def test_events_come_in_order() -> None:
    watch = Watch()
    for id in ("b", "a", "c"):
        watch.tell(id, id.encode(), Change.CHANGED)
    assert [await watch.next() for _ in range(3)] == [b"b", b"a", b"c"]


async def test_of_each_affiliate_the_last_state_is_told() -> None:
    watch = Watch()
    watch.tell("a", b"1", Change.CHANGED)
    watch.tell("b", b"2", Change.CHANGED)
    watch.tell("a", b"3", Change.CHANGED)
    assert [await watch.next(), await watch.next()] == [b"3", b"2"]
    assert len(watch) == 0


async def test_one_who_waits_is_woken_by_an_event_and_by_the_end() -> None:
    watch = Watch()
    waiting = asyncio.create_task(watch.next())
    await asyncio.sleep(0)
    watch.tell("a", b"1", Change.ADDED)
    assert await waiting == b"1"
    waiting = asyncio.create_task(watch.next())
    await asyncio.sleep(0)
    watch.end()
    assert await waiting is None
    watch.tell("a", b"2", Change.CHANGED)
    assert await watch.next() is None


def test_who_came_and_went_unseen_leaves_nothing() -> None:
    watch = Watch()
    for number in range(100_000):
        watch.tell(str(number), b"there", Change.ADDED)
        watch.tell(str(number), b"gone", Change.DELETED)
    assert len(watch) == 0


async def test_a_deletion_of_one_who_was_seen_is_told_even_if_they_come_again_and_go() -> None:
    watch = Watch()
    watch.tell("a", b"gone", Change.DELETED)
    watch.tell("a", b"back", Change.ADDED)
    watch.tell("a", b"gone again", Change.DELETED)
    assert await watch.next() == b"gone again"


CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.sampled_from("abcd"), st.sampled_from([b"1", b"2"])),
        st.tuples(st.just("delete"), st.sampled_from("abcd"), st.just(b"")),
        st.tuples(st.just("read"), st.just(""), st.just(b"")),
    ),
    max_size=60,
)


@given(CALLS, CALLS)
def test_whoever_reads_slowly_ends_up_knowing_the_same(before: list, after: list) -> None:
    async def run() -> None:
        state, watch = State(), Watch()
        for call, id, data in before:
            apply(state, call, id, data)
        copy = known(pb.WatchResponse.FromString(state.subscribe("c", watch)))
        for call, id, data in after:
            apply(state, call, id, data)
            if call == "read" and len(watch):
                await take(watch, copy)
        while len(watch):
            await take(watch, copy)
        assert copy == known(pb.ListResponse.FromString(state.listing("c")))

    asyncio.run(run())


def apply(state: State, call: str, id: str, data: bytes) -> None:
    if call == "update":
        state.update(0, "c", id, data, [], 60)
    elif call == "delete":
        state.delete("c", id)


async def take(watch: Watch, copy: dict) -> None:
    event = await watch.next()
    assert event is not None
    message = pb.WatchResponse.FromString(event)
    if message.deleted:
        del copy[message.affiliates[0].id]  # nobody hears of the end of one whom they never knew
    else:
        copy.update(known(message))


def test_what_waits_is_bounded_by_the_size_of_a_cluster() -> None:
    """Whatever is added and deleted, and however little is read."""
    state, watch = State(), Watch()
    for number in range(1024):
        state.update(0, "c", f"first-{number}", b"", [], 60)
    state.subscribe("c", watch)
    for number in range(10_000):
        state.delete("c", f"first-{number}" if number < 1024 else f"later-{number - 1024}")
        state.update(0, "c", f"later-{number}", b"x", [], 60)
    assert len(watch) <= 2 * 1024


async def test_small_messages_need_no_room() -> None:
    room = Room(each=1, most=1)
    for _ in range(10):
        await room.enter("a", SMALL)


async def test_an_address_has_only_its_own_room() -> None:
    size = SMALL + 1
    room = Room(each=2 * size, most=100 * size)
    await room.enter("a", size)
    await room.enter("a", size)
    third = asyncio.create_task(room.enter("a", size))
    fourth = asyncio.create_task(room.enter("a", size))
    await asyncio.sleep(0)
    assert not third.done()
    await room.enter("b", size)
    room.leave("a", size)
    await third
    assert not fourth.done()
    room.leave("a", size)
    await fourth
    for who in "aab":
        room.leave(who, size)
    assert not room._shares
    assert not room._all


async def test_a_message_that_is_larger_than_all_room_of_an_address_is_sent_alone() -> None:
    room = Room(each=SMALL, most=100 * SMALL)
    await room.enter("a", 3 * SMALL)
    second = asyncio.create_task(room.enter("a", 3 * SMALL))
    await asyncio.sleep(0)
    assert not second.done()
    room.leave("a", 3 * SMALL)
    await second


async def test_who_waits_too_long_is_turned_away_and_who_gives_up_is_not_waited_for() -> None:
    size = SMALL + 1
    room = Room(each=size, most=100 * size, patience=0.01)
    await room.enter("a", size)
    with pytest.raises(Refused, match="do not read") as refused:
        await room.enter("a", size)
    assert refused.value.code == "UNAVAILABLE"
    patient = Room(each=size, most=100 * size)
    await patient.enter("a", size)
    second, third = (asyncio.create_task(patient.enter("a", size)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    patient.leave("a", size)
    await third
    patient.leave("a", size)
    assert not patient._shares


async def test_one_whose_turn_comes_as_they_give_up_leaves_it_to_the_next() -> None:
    size = SMALL + 1
    room = Room(each=size, most=100 * size)
    await room.enter("a", size)
    second, third = (asyncio.create_task(room.enter("a", size)) for _ in range(2))
    await asyncio.sleep(0)
    room.leave("a", size)  # it is the second's turn, which has not run since
    second.cancel()
    await asyncio.wait([second])
    if not second.cancelled():
        room.leave("a", size)
    await third
    room.leave("a", size)
    assert not room._shares
    assert not room._all


async def test_all_addresses_together_have_a_bound() -> None:
    size = SMALL + 1
    room = Room(each=size, most=2 * size)
    await room.enter("a", size)
    await room.enter("b", size)
    with pytest.raises(Refused, match="too many clients"):
        await room.enter("c", size)
    room.leave("a", size)
    await room.enter("c", size)
