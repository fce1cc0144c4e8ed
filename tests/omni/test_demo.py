"""The demonstration's own processes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nodeagent.simulator.__main__ import API_VARIABLE, arguments
from omni import demo
from omni.cli.api import Away
from omni.config import Config

URL = "grpc://127.0.0.1:8443?jointoken=hunter2"


async def test_the_join_token_is_not_in_the_list_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[tuple[str, ...], dict[str, str]]] = []

    class Process:
        returncode = 0

    async def start(*command: str, env: dict[str, str], **_: Any) -> Process:
        started.append((command, env))
        return Process()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    async with demo._machines(Config(data=tmp_path), URL):
        pass
    ((command, environment),) = started
    assert not any("hunter2" in word for word in command)
    monkeypatch.setattr("sys.argv", ["omni simulator", *command[4:]])
    monkeypatch.setenv(API_VARIABLE, environment[API_VARIABLE])
    assert arguments().api == URL


async def test_a_server_that_starts_again_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "POLL", 0.0)
    answers = iter([Away("starting"), Away("starting"), {"ready": True}])

    def ask() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await demo._answer(ask) == {"ready": True}
    monkeypatch.setattr(demo, "AWAY_SECONDS", -1.0)
    answers = iter([Away("starting")])
    with pytest.raises(Away):
        await demo._answer(ask)
