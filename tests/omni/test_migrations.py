"""The database that migrations make is the one that models describe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command


def test_no_migration_is_missing(db: None) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("command", [["migrate"], ["admin", "token"]])
def test_a_database_that_is_away_is_said_to_be(command: list[str], tmp_path: Path) -> None:
    nobody = "postgresql://somebody@127.0.0.1:1/omni"
    environment = {**os.environ, "OMNI_DATABASE_URL": nobody, "OMNI_OWNER_DATABASE_URL": nobody}
    keys = [sys.executable, "-m", "omni", "keys", "--data", str(tmp_path)]
    subprocess.run(keys, env=environment, capture_output=True, check=True, timeout=60)
    line = [sys.executable, "-m", "omni", *command, "--data", str(tmp_path)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the database does not answer")
    assert "refused" in done.stderr
