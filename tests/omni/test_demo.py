"""The demonstration's own processes."""

import asyncio
from pathlib import Path
from typing import Any

import click
import pytest

from nodeagent.simulator import hardware
from nodeagent.simulator.__main__ import API_VARIABLE, arguments
from omni import demo
from omni.cli import main
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


def test_the_farewell_says_how_to_get_in(tmp_path: Path) -> None:
    config = Config(data=tmp_path, listen="127.0.0.1:9443")
    text = demo.farewell(config, "https://127.0.0.1:9443/in/x", "talos-abc-def")
    lines = [line.partition(">")[0].split() for line in text.splitlines()]
    assert ["kubectl", "get", "nodes"] in lines
    assert ["talosctl", "--nodes", "talos-abc-def", "dashboard"] in lines
    ours = [words[1:] for words in lines if words and Path(words[0]).name == "omni"]
    assert ["talosconfig", "--cluster", "demo", "--merge"] in ours
    assert ["kubeconfig", "--cluster", "demo", "--merge"] in ours
    for words in ours:
        parsed(words)


def parsed(words: list[str]) -> None:
    """Raises click.UsageError for a command or an option that there is not."""
    command: click.Command | None = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(context, name)
    assert command is not None, words
    command.make_context(command.name, words)


def test_the_workers_are_cut_off_from_each_other() -> None:
    uuids = sorted(hardware.build(demo.SEED, index).uuid for index in range(demo.CONTROL_PLANES + demo.WORKERS))
    numbers = [int(number) for number in demo.cut().split(",")]
    assert {hardware.build(demo.SEED, number - 1).uuid for number in numbers} == set(uuids[demo.CONTROL_PLANES :])
    _, workers = demo.template_of(uuids).rsplit("---", 1)
    assert all(uuid in workers for uuid in uuids[demo.CONTROL_PLANES :])
