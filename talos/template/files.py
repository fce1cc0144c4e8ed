"""Files that a template refers to, read through whoever has them: a folder, a repository, an upload."""

import posixpath
from collections.abc import Callable

ReadFile = Callable[[str], bytes]
"""The content of a file by its path relative to the template. Raises OSError (FileNotFoundError and its kin) if it
cannot.

Paths that leave the template's folder by their text are refused before; links inside the folder are up to the
callable.
"""


def no_files(path: str) -> bytes:
    """For templates that arrive alone."""
    raise FileNotFoundError(path)


def read(read_file: ReadFile, path: str) -> bytes:
    """A file's content. Raises ValueError, with the reason, if it cannot be had."""
    normal = posixpath.normpath(path)
    if path.startswith("/") or "\\" in path or "\0" in path or normal == ".." or normal.startswith("../"):
        raise ValueError(f"open {path}: the path leaves the template's folder")
    try:
        return read_file(normal)
    except FileNotFoundError:
        raise ValueError(f"open {path}: no such file or directory") from None
    except OSError as error:
        raise ValueError(f"open {path}: {error.strerror or 'cannot be read'}") from None
