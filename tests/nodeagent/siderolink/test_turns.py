"""Turns: how many at once, and who is next."""

import asyncio

import pytest

from nodeagent.siderolink.turns import Turns, origin


async def served(turns: Turns, order: list[str], source: str, leave: asyncio.Event) -> None:
    async with turns.of(source):
        order.append(source)
        await leave.wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_than_so_many_at_once() -> None:
    turns, order, leave = Turns(2), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(served(turns, order, "a", leave)) for _ in range(5)]
    await settle()
    assert order == ["a"] * 2
    leave.set()
    await asyncio.gather(*tasks)
    assert order == ["a"] * 5


async def test_a_crowd_does_not_hold_up_another_source() -> None:
    turns, order, leave = Turns(1), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(served(turns, order, source, leave)) for source in "aaaaabb"]
    await settle()
    leave.set()
    await asyncio.gather(*tasks)
    assert "".join(order) == "aababaa"


async def test_who_gives_up_holds_up_nobody() -> None:
    turns, order, leave = Turns(1), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(served(turns, order, source, leave)) for source in "abc"]
    await settle()
    tasks[1].cancel()
    leave.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["a", "c"]
    async with asyncio.timeout(1), turns.of("d"):
        pass


async def test_a_turn_that_comes_too_late_goes_on() -> None:
    turns, order, leave = Turns(1), list[str](), asyncio.Event()
    leave.set()
    async with turns.of("a"):
        late = asyncio.create_task(served(turns, order, "b", leave))
        await settle()
    late.cancel()  # in the same step in which its turn came
    await asyncio.gather(late, return_exceptions=True)
    async with asyncio.timeout(1), turns.of("c"):
        assert order == []


@pytest.mark.parametrize(
    ("source", "counts_as"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8::1:2:3:4", "2001:db8::/64"), ("", ""), ("somebody", "somebody")],
)
def test_what_counts_as_one_source(source: str, counts_as: str) -> None:
    assert origin(source) == counts_as
