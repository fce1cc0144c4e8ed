"""Runs the programs and counts what they checked."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

BIN = Path(__file__).parent / "bin"

CHECK_TIMEOUT = 60.0
"""Seconds that one check of a program may take."""


class Report:
    """All checks so far. Each is printed as it comes."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def add(self, name: str, problem: str | None = None) -> None:
        """One check: passed, or failed with what was wrong."""
        if problem is None:
            self.passed += 1
            print(f"ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {name}: {problem}", flush=True)

    def equal(self, name: str, got: object, want: object) -> None:
        """One check of a value."""
        self.add(name, None if got == want else f"is {got!r}, want {want!r}")

    async def program(self, name: str, *arguments: str | os.PathLike[str]) -> None:
        """Run one program to its end and take in its checks. A wrong exit status is a failed one of its own."""
        async with self.started(name, name, *arguments) as program:
            while await program.check():
                pass

    @contextlib.asynccontextmanager
    async def started(
        self, title: str, name: str, *arguments: str | os.PathLike[str], told: Callable[[str], None] | None = None
    ) -> AsyncIterator["Program"]:
        """A running program; `title` goes before the names of its checks. It is ended and its status looked at.

        `told` gets each line that it writes to its user, in a thread.
        """
        process = await asyncio.create_subprocess_exec(
            BIN / name,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE if told else None,
            env={**os.environ, "BROWSER": "echo"},
        )
        listening = asyncio.create_task(_listen(process.stderr, told)) if process.stderr and told else None
        try:
            program = Program(self, title, process)
            yield program
            await program.end()
            if process.returncode and not program.failed:
                self.add(title, f"ended with status {process.returncode}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if listening:
                await listening


class Program:
    """A program that does one step for each line it reads and answers each with a check: `ok` or `fail`, a name and
    what was wrong, between tabs."""

    def __init__(self, report: Report, title: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.failed = 0
        self._report, self._title, self._process = report, title, process
        self._input, self._output = process.stdin, process.stdout

    async def step(self, name: str, argument: str = "") -> None:
        """Do one step. RuntimeError if it fails: those that follow build on it."""
        self._input.write(f"{name} {argument}".rstrip().encode() + b"\n")
        failed = self.failed
        if not await self.check():
            raise RuntimeError(f"the program ended at the step {name}")
        if self.failed > failed:
            raise RuntimeError(f"the step {name} failed; those after it were not tried")

    async def check(self) -> bool:
        """Wait for the next check; False when the program has ended. Raises TimeoutError."""
        async with asyncio.timeout(CHECK_TIMEOUT):
            line = (await self._output.readline()).decode().rstrip("\n")
        if not line:
            return False
        verdict, _, rest = line.partition("\t")
        name, _, reason = rest.partition("\t")
        self.failed += verdict != "ok"
        self._report.add(f"{self._title}: {name}", None if verdict == "ok" else reason)
        return True

    async def end(self) -> None:
        """Nothing more is to be done: wait until the program has ended. Raises TimeoutError."""
        self._input.close()
        async with asyncio.timeout(CHECK_TIMEOUT):
            await self._process.wait()


async def _listen(lines: asyncio.StreamReader, told: Callable[[str], None]) -> None:
    while line := await lines.readline():
        await asyncio.to_thread(told, line.decode().strip())
