"""Logs tell what failed, never the values it failed with."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import sys, structlog, logging
from omni import logs
logs.setup(sys.argv[1], "test")

def fail(bundle):
    raise RuntimeError("it failed")

try:
    fail("hunter2-in-a-variable")
except RuntimeError as error:
    structlog.get_logger("a").error("ours", exc_info=error, join_token="hunter2-in-a-field")
    logging.getLogger("b").exception("a library's")
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_tracebacks_show_no_values(style: str) -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM, style], capture_output=True, text=True, check=True)
    assert run.stderr.count("RuntimeError: it failed") == 2
    assert "hunter2-in-a-field" not in run.stderr
    assert run.stderr.count("hunter2-in-a-variable") == run.stderr.count('fail("hunter2-in-a-variable")')
    if style == "json":
        assert [json.loads(line)["event"] for line in run.stderr.splitlines()] == ["ours", "a library's"]
