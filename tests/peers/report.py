"""Runs the programs and counts what they checked."""

import asyncio
import os
from pathlib import Path

BIN = Path(__file__).parent / "bin"


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

    async def program(self, name: str, *arguments: str | Path, timeout: float = 120) -> None:
        """Run one program and take in its checks, lines of `ok` or `fail`, name and reason between tabs.

        Whatever else goes wrong (another exit status, no end in `timeout` seconds) is a failed check of its own.
        """
        process = await asyncio.create_subprocess_exec(
            BIN / name, *map(os.fspath, arguments), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        failed = self.failed
        try:
            async with asyncio.timeout(timeout):
                async for line in process.stdout:
                    verdict, _, rest = line.decode().rstrip("\n").partition("\t")
                    check, _, reason = rest.partition("\t")
                    self.add(f"{name}: {check}", None if verdict == "ok" else reason)
                status = await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            self.add(name, f"did not end within {timeout:g} s")
        else:
            if status and self.failed == failed:
                self.add(name, f"ended with status {status}")
