"""A disk of a given size that a test fills and frees, and a limit on file sizes that needs no right to mount."""

import contextlib
import os
import resource
import subprocess

import psutil
import pytest


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Mount a file system in memory on an empty folder; skip the test if this user may not mount one."""
    options = f"size={megabytes}m,mode=755"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no disk of {megabytes} MB can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily, because processes of a failed test may still have files open.
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Fill the disk to its last byte; returns the file that does it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0
    return ballast


def limit_files(processes, size):
    """From now on no file of these processes grows beyond `size` bytes; None removes the limit."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            # The broker does not catch the signal that comes with the error; Python does.
            if "python" in process.name():
                soft = resource.RLIM_INFINITY if size is None else size
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
