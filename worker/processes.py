"""Tells whether a process runs, makes a child die with its parent, and mutes what native libraries print."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def native_stderr_muted() -> Iterator[None]:
    """Mute file descriptor 2 while TensorFlow is imported: its libraries write to it at every log level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
