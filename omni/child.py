"""Processes that must not outlive the one that started them."""

import ctypes
import os
import signal

_PARENT = "OMNI_PARENT"
_PR_SET_PDEATHSIG = 1


def environment() -> dict[str, str]:
    """This process's environment, with its pid for children that call `die_with_parent`."""
    return os.environ | {_PARENT: str(os.getpid())}


def die_with_parent() -> None:
    """If started with `environment()`: ask the kernel to kill this process when the thread that started it ends."""
    parent = os.environ.pop(_PARENT, "")
    if not parent:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before we asked
        os._exit(1)
