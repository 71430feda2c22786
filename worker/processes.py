"""Is a process alive; a child that dies with its parent."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(sig: int = signal.SIGTERM) -> Callable[[], None] | None:
    """A `preexec_fn` after which the child gets `sig` when its parent dies, however it dies (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here: between fork and exec little is allowed.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, sig)

    return ask


def is_running(pid: int) -> bool:
    """Whether a process of this machine has this number."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
