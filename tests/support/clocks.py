"""A machine's clock, for the processes that are started with it: it may be wrong from the start, and may jump."""

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).parent / "clock.c"


def can_be_made():
    return shutil.which("cc") is not None


class Clock:
    """Off by some seconds; `env` is for the processes that are to see it."""

    def __init__(self, folder, seconds=0):
        self._file, library = folder / "clock-shift", folder / "clock.so"
        self._file.write_bytes(struct.pack("q", seconds))
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
        self.env = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._file)}

    def set(self, seconds):
        """Let it jump to so many seconds ahead of the true time, or behind it."""
        # In place: processes have mapped it.
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))
