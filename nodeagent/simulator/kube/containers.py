"""What runs in pods: a few programs, files and a log, all in memory."""

from __future__ import annotations

import asyncio
import io
import posixpath
import shlex
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

NOT_FOUND = 127
PIECE = 64 * 1024


class Stream(Protocol):
    """One stream between a client and a program."""

    async def read(self) -> bytes:
        """Some bytes, none at the end."""

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client is slow."""


class Nothing:
    """What is read or written when a stream was not asked for."""

    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        pass


@dataclass
class Log:
    """Lines with their times, and news of more."""

    lines: list[tuple[str, bytes]] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        """Raises nothing; a program's output becomes lines."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
        self.lines += [(now, line) for line in data.splitlines()]
        self._more.set()
        self._more = asyncio.Event()

    async def follow(self, begin: int) -> AsyncIterator[tuple[str, bytes]]:
        """Lines from a number on, without end."""
        while True:
            for line in self.lines[begin:]:
                yield line
            begin = max(begin, len(self.lines))
            await self._more.wait()


@dataclass
class Container:
    """One container of a pod. `command` is what it was started with; it stays up whatever that was."""

    command: list[str]
    log: Log = field(default_factory=Log)
    files: dict[str, bytes] = field(default_factory=dict)
    _started: bool = False

    async def start(self) -> None:
        """Let its command write its log, if that has not been."""
        if not self._started:
            self._started = True
            await self.run(self.command or ["echo", "started"], Nothing(), self.log, self.log)

    async def run(self, command: list[str], stdin: Stream, stdout: Stream, stderr: Stream) -> int:
        """Run a program to its end; its exit code."""
        name, *arguments = command or [""]
        match posixpath.basename(name), arguments:
            case "true", _:
                return 0
            case "false", _:
                return 1
            case "echo", words:
                await stdout.write(" ".join(words).encode() + b"\n")
                return 0
            case "cat", []:
                while data := await stdin.read():
                    await stdout.write(data)
                return 0
            case "cat", paths:
                return await self._cat(paths, stdout, stderr)
            case "seq", [last]:
                for begin in range(1, int(last) + 1, 1000):
                    lines = (str(number) for number in range(begin, min(begin + 1000, int(last) + 1)))
                    await stdout.write("\n".join(lines).encode() + b"\n")
                return 0
            case "sleep", [seconds]:
                await asyncio.sleep(0 if stdout is self.log else float(seconds))
                return 0
            case "test", ["-d", path]:
                return 0 if path in ("/", "/tmp", "/root") or self._below(path) else 1  # noqa: S108
            case "tar", arguments:
                return await self._tar(arguments, stdin, stdout, stderr)
            case (("sh" | "bash"), ["-c", script, *_]):
                return await self._script(script, stdin, stdout, stderr)
            case (("sh" | "bash"), []):
                return await self._shell(stdin, stdout, stderr)
        await stderr.write(f"{name}: not found\n".encode())
        return NOT_FOUND

    async def _cat(self, paths: list[str], stdout: Stream, stderr: Stream) -> int:
        for path in paths:
            if path not in self.files:
                await stderr.write(f"cat: {path}: No such file or directory\n".encode())
                return 1
            await stdout.write(self.files[path])
        return 0

    async def _script(self, script: str, stdin: Stream, stdout: Stream, stderr: Stream) -> int:
        """Commands between semicolons; `exit` and `>&2` are understood."""
        code = 0
        for words in (shlex.split(command) for command in script.split(";")):
            if words and words[0] == "exit":
                return int(words[1]) if words[1:] else code
            if words:
                to_stderr = ">&2" in words
                kept = [word for word in words if word != ">&2"]
                code = await self.run(kept, stdin, stderr if to_stderr else stdout, stderr)
        return code

    async def _shell(self, stdin: Stream, stdout: Stream, stderr: Stream) -> int:
        """Commands line by line, until the end or `exit`."""
        code, waiting = 0, b""
        while data := await stdin.read():
            *lines, waiting = (waiting + data).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                code = await self._script(line.decode(), Nothing(), stdout, stderr)
                if line.strip().startswith(b"exit"):
                    return code
        return code

    async def _tar(self, arguments: list[str], stdin: Stream, stdout: Stream, stderr: Stream) -> int:
        """`cf - PATH` and `-xmf - [-C FOLDER]`, which is how files are copied."""
        words = [word for word in arguments if not word.startswith("--")]
        folder = words[words.index("-C") + 1] if "-C" in words else "/"
        if "x" in words[0]:
            data = bytearray()
            while piece := await stdin.read():
                data += piece
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    if (file := archive.extractfile(member)) is not None:
                        self.files[posixpath.normpath(posixpath.join("/", folder, member.name))] = file.read()
            return 0
        path = words[-1]
        found = {path: self.files[path]} if path in self.files else self._below(path)
        if not found:
            await stderr.write(f"tar: {path}: Cannot stat: No such file or directory\n".encode())
            return 2
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for name, content in found.items():
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        for begin in range(0, len(made.getvalue()), PIECE):
            await stdout.write(made.getvalue()[begin : begin + PIECE])
        return 0

    def _below(self, folder: str) -> dict[str, bytes]:
        return {path: data for path, data in self.files.items() if path.startswith(folder.rstrip("/") + "/")}
