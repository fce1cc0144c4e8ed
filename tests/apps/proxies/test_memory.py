"""What is remembered, and for how long."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from apps.proxies.memory import Memory


class Source:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.value, self.reads = 0, 0
        self.gate: Callable[[], object] = lambda: None

    def read(self, key: str) -> str:
        self.reads += 1
        value = f"{key}{self.value}"
        self.gate()
        if key == "bad":
            raise LookupError(key)
        return value


async def test_those_who_ask_at_once_share_one_reading() -> None:
    source = Source()
    memory = Memory(source.read)
    assert await asyncio.gather(*(memory.get("a") for _ in range(10))) == ["a0"] * 10
    assert await memory.get("a") == "a0"
    assert source.reads == 1


async def test_what_changed_is_read_again() -> None:
    source = Source()
    memory = Memory(source.read)
    await memory.get("a")
    await memory.get("b")
    source.value = 1
    assert await memory.get("a") == "a0"
    memory.forget("a")
    assert (await memory.get("a"), await memory.get("b")) == ("a1", "b0")
    memory.forget_all(lambda key: key == "b")
    assert await memory.get("b") == "b1"
    source.value = 2
    memory.clear()
    assert await memory.get("b") == "b2"


async def test_it_is_read_again_after_its_time() -> None:
    source = Source()
    memory = Memory(source.read, seconds=0)
    assert [await memory.get("a") for _ in range(3)] == ["a0"] * 3
    assert source.reads == 3


async def test_a_change_in_mid_reading_is_not_forgotten() -> None:
    """Who asked before may see what was; who asks after must not."""
    source, reading, go_on = Source(), threading.Event(), threading.Event()

    def wait() -> None:
        reading.set()
        go_on.wait(10)

    source.gate = wait
    memory = Memory(source.read)
    before = asyncio.ensure_future(memory.get("a"))
    await asyncio.get_running_loop().run_in_executor(None, reading.wait)
    source.value = 1
    memory.forget("a")
    source.gate = lambda: None
    assert await memory.get("a") == "a1"
    go_on.set()
    assert await before == "a0"
    assert await memory.get("a") == "a1"


async def test_a_failure_is_not_remembered() -> None:
    source = Source()
    memory = Memory(source.read)
    for _ in range(2):
        with pytest.raises(LookupError):
            await memory.get("bad")
    assert source.reads == 2


async def test_who_leaves_takes_nobody_along() -> None:
    source, reading, go_on = Source(), threading.Event(), threading.Event()

    def wait() -> None:
        reading.set()
        go_on.wait(10)

    source.gate = wait
    memory = Memory(source.read)
    first, second = asyncio.ensure_future(memory.get("a")), asyncio.ensure_future(memory.get("a"))
    await asyncio.get_running_loop().run_in_executor(None, reading.wait)
    first.cancel()
    go_on.set()
    assert await second == "a0"
    assert source.reads == 1


async def test_there_is_a_limit() -> None:
    source = Source()
    memory = Memory(source.read, most=2)
    for key in ("a", "b", "c", "a"):
        await memory.get(key)
    assert source.reads == 4
    await memory.get("c")
    assert source.reads == 4
