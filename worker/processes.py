"""Tells whether a process runs, and makes a child die with its parent."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(sig: int = signal.SIGTERM) -> Callable[[], None] | None:
    """A `preexec_fn` that makes the child get `sig` when its parent dies, however that dies; None except on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here, because little is allowed between fork and exec.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, sig)

    return set_death_signal


def is_running(pid: int) -> bool:
    """Whether a process of this machine has this number, also one of another user."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
