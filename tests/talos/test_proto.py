"""The committed protobuf code is what the sources compile to."""

import subprocess
import sys
from pathlib import Path

from talos.proto import generate


def test_generated_code_is_current() -> None:
    done = subprocess.run([sys.executable, "-m", "talos.proto.generate", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_differences_names_changed_missing_and_surplus_files(tmp_path: Path) -> None:
    left, right = tmp_path / "left", tmp_path / "right"
    for folder, files in (
        (left, {"same.py": "1", "changed.py": "1", "new.pyi": ""}),
        (right, {"same.py": "1", "changed.py": "2", "old.py": ""}),
    ):
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    assert generate.differences(left, right) == ["changed.py", "new.pyi", "old.py"]
