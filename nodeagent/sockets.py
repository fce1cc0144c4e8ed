"""Unix sockets between parts of a process, where nobody else can reach them."""

import atexit
import itertools
import shutil
import tempfile
from functools import cache
from pathlib import Path

_numbers = itertools.count()


@cache
def private_folder() -> Path:
    """A folder for unix sockets that only this user can enter; removed when the process ends."""
    path = Path(tempfile.mkdtemp(prefix="node-"))  # mkdtemp makes it with mode 0700
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def new_socket_path() -> Path:
    """A path for one more unix socket in the private folder."""
    return private_folder() / str(next(_numbers))
