"""Files that only their owner reads."""

import os
from pathlib import Path


def write(file: Path, content: str) -> None:
    """Put a private file in place, whole or not at all; where a link stands, in the place of what it leads to."""
    file = file.resolve()
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(content)
    fresh.rename(file)
