"""The program that runs beside machines: keeps one connection to the server, through which it reaches them.

It needs no privileges and no inbound port. What it keeps is one secret a server, by which the server knows it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from nodeagent.rpc import RpcError
from nodeagent.tunnel.lookout import Lookout
from nodeagent.tunnel.protocol import Scope
from nodeagent.tunnel.reach import Address, Way, words
from nodeagent.tunnel.session import ServerSilent, Session
from talos.gen.omni.agent_pb2 import Hello

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between attempts to connect; doubled each time, less a random part."""

REFUSED_PAUSE = 60.0
"""Seconds until a server is asked again that did not let us in: its operator has to do something."""

_REFUSALS = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.ABORTED,  # the same identity is in use elsewhere
}

log = logging.getLogger(__name__)


class StateError(OSError):
    """The folder for the agent's state cannot be used; the text says why."""


@dataclass(frozen=True)
class Options:
    """What the operator decided. `token` may be empty once the server knows the agent."""

    way: Way
    name: str
    token: str
    scope: Scope
    state: Path
    version: str


async def run(options: Options, stop: asyncio.Event) -> None:
    """Serve until `stop`. Raises StateError."""
    with credential(options.state, options.way.address) as secret:
        hello = Hello(
            name=options.name,
            credential=secret,
            token=options.token,
            version=options.version,
            nodes=options.scope.nodes,
            networks=map(str, options.scope.networks),
        )
        lookout = Lookout(options.scope)
        looking = asyncio.ensure_future(lookout.run())
        serving = asyncio.ensure_future(_serve(options, hello, lookout, stop))
        try:
            await asyncio.wait({looking, serving}, return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                looking.result()
            serving.result()
        finally:
            looking.cancel()
            serving.cancel()
            await asyncio.gather(looking, serving, return_exceptions=True)


async def _serve(options: Options, hello: Hello, lookout: Lookout, stop: asyncio.Event) -> None:
    failures = 0
    while not stop.is_set():
        session = Session(options.way, hello, options.scope, lookout)
        refused, reason = await _attempt(session, stop)
        if stop.is_set():
            log.info("stopped")
            return
        failures = 1 if session.welcomed else failures + 1
        pause = REFUSED_PAUSE if refused else _backoff(failures)
        what = "refuses this agent" if refused else "was lost" if session.welcomed else "cannot be reached"
        log.warning("%s %s: %s; trying again in %.0f s", options.way.address, what, reason, max(pause, 1))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()


async def _attempt(session: Session, stop: asyncio.Event) -> tuple[bool, str]:
    """One connection: whether the server refused us for good, and why it ended."""
    running = asyncio.ensure_future(session.run(stop))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not session.welcomed:
            running.cancel()
        await running
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    except ServerSilent as error:
        return False, str(error)
    except RpcError as error:
        if error.cause is not None:
            return False, words(error.cause)
        return error.code in _REFUSALS, error.details or error.code.name
    finally:
        running.cancel()
        stopping.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
    return False, "the server ended the connection"


def _backoff(failures: int) -> float:
    longest = min(FIRST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 (so that agents do not all come at once)


@contextlib.contextmanager
def credential(folder: Path, server: Address) -> Iterator[str]:
    """The secret by which this server knows the agent; made and kept before it is first used. No second agent uses the
    folder meanwhile. Raises StateError."""
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = held.enter_context((folder / "lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            secret = _credential(folder / "credentials.json", str(server))
        except BlockingIOError:
            raise StateError(f"another agent runs with the state in {folder}; give each its own folder") from None
        except StateError:
            raise
        except OSError as error:
            raise StateError(f"{folder} cannot keep the agent's state: {words(error)}") from None
        yield secret


def _credential(file: Path, server: str) -> str:
    try:
        known = json.loads(file.read_text())
        if not isinstance(known, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        known = {}
    except ValueError as error:
        raise StateError(f"{file} cannot be read: {error}; remove it to enrol as a new agent") from None
    if server not in known:
        known[server] = secrets.token_urlsafe(32)
        _write(file, json.dumps(known, indent=2))
    return str(known[server])


def _write(file: Path, text: str) -> None:
    """Whole or not at all, for nobody else to read."""
    half = file.with_name(f".{file.name}.new")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    half.replace(file)
