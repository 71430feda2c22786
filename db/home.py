"""Keeps private what the program writes: its files name patients and show their scans.

All that a command writes is its owner's alone, in `CXR_HOME` and elsewhere. Only a file that a person asked for, such
as an export, gets the permissions that this person's files have (`worker.files`).
"""

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from db.variables import describe_unknown

#: The umask with which a person started the command, in octal, for the processes that it starts.
_UMASK_VARIABLE: Final = "NIGHTREAD_UMASK"
_PRIVATE_UMASK: Final = 0o077


@contextmanager
def command_process() -> Iterator[None]:
    """Make the files of this process and its children private, and warn of variables that are not settings.

    A process that another command started does not repeat the warnings.
    """
    before = os.umask(_PRIVATE_UMASK)
    is_first = _UMASK_VARIABLE not in os.environ
    if is_first:
        os.environ[_UMASK_VARIABLE] = f"{before:o}"
        for sentence in describe_unknown(os.environ):
            _warn(sentence)
    try:
        yield
    finally:
        os.umask(before)
        if is_first:
            del os.environ[_UMASK_VARIABLE]


def persons_umask() -> int:
    """The umask with which a person started the command, or else this process's."""
    if umask := os.environ.get(_UMASK_VARIABLE):
        return int(umask, 8)
    current = os.umask(_PRIVATE_UMASK)
    os.umask(current)
    return current


@contextmanager
def persons_files() -> Iterator[None]:
    """Let files that a library writes for a person have this person's umask. No other thread may write meanwhile."""
    private = os.umask(persons_umask())
    try:
        yield
    finally:
        os.umask(private)


def open_home(home: Path) -> None:
    """Make `CXR_HOME` if it is missing, say on stderr where it is, and warn if other users can look into it."""
    # Not every command writes there: one that does says why it cannot.
    with suppress(OSError):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    print(f"home: {home}", file=sys.stderr, flush=True)
    with suppress(OSError):
        mode = stat.S_IMODE(home.stat().st_mode)
        if mode & _PRIVATE_UMASK:
            close = f"chmod 700 {shlex.quote(str(home))}"
            _warn(f"CXR_HOME names patients, and its mode {mode:04o} lets other users in; close it: {close}")


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr, flush=True)
