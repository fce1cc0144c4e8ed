"""Tasks end, however they take it."""

import asyncio

import pytest

from nodeagent import ending


async def test_a_task_that_loses_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = []

    async def stubborn() -> None:
        while len(lost) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost.append(True)
        await asyncio.Event().wait()

    async def over() -> None:
        pass

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(over())]
    await asyncio.sleep(0)
    monkeypatch.setattr(ending, "AGAIN", 0.01)
    await ending.end(tasks)
    assert [task.cancelled() for task in tasks] == [True, False]
    assert len(lost) == 2
    await ending.end([])
