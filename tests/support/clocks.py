"""A wrong system clock for the processes that are started with it; a test can let it jump."""

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).parent / "clock.c"


def can_be_made():
    return shutil.which("cc") is not None


class Clock:
    """A clock that is off by `seconds`; processes that are started with `env` see it."""

    def __init__(self, folder, seconds=0):
        self._file, library = folder / "clock-shift", folder / "clock.so"
        self._file.write_bytes(struct.pack("q", seconds))
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
        self.env = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._file)}

    def set(self, seconds):
        """Let the clock jump to this many seconds ahead of the true time (negative: behind it)."""
        # In place, because processes have mapped the file into memory.
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))
