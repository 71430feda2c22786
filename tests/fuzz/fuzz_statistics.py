"""Runs an oracle on one mutation after another, and records results, times, memory and findings."""

import hashlib
import json
import os
import re
import time
import traceback
from collections import Counter
from pathlib import Path

#: How long one call may take. CPU time is counted, so that a busy machine is not a finding.
MAX_CPU_SECONDS = 2.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Statistics:
    """Checks inputs and counts the results. A finding is written to a file and does not end the work."""

    def __init__(self, oracle, out):
        self.oracle, self.out = oracle, Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.calls, self.slowest = 0, 0.0
        self.results, self.findings, self.memory = Counter(), Counter(), []

    def __call__(self, content):
        """Check one input."""
        started = time.process_time()
        try:
            self.results[self.oracle(content)] += 1
        except (Exception, RecursionError) as error:  # noqa: BLE001 - any other exception is a finding
            self._keep(content, error)
        seconds = time.process_time() - started
        self.slowest = max(self.slowest, seconds)
        if seconds > MAX_CPU_SECONDS:
            self._keep(content, TimeoutError(f"took {seconds:.1f} s"))
        self.calls += 1
        if self.calls % 1000 == 0:
            self.memory.append(resident_mb())

    def figures(self):
        """A summary that JSON can hold: memory in MB, seconds of CPU time."""
        settled = self.memory[len(self.memory) // 5 :] or [resident_mb()]
        return {
            "mutations": self.calls,
            "findings": dict(self.findings),
            "slowest_s": round(self.slowest, 3),
            "memory_mb": {"settled": settled[0], "end": settled[-1], "most": max(settled)},
            "results": dict(self.results.most_common()),
        }

    def save(self):
        """Write the summary beside the findings."""
        (self.out / "figures.json").write_text(json.dumps(self.figures(), indent=2) + "\n")

    def _keep(self, content, error):
        place = traceback.extract_tb(error.__traceback__)[-1:] or [None]
        what = re.sub(r"\d[\da-f]*", "#", f"{type(error).__name__}: {str(error)[:80]}")
        self.findings[what] += 1
        if self.findings[what] <= 3:
            name = f"{type(error).__name__}-{hashlib.sha256(content).hexdigest()[:12]}"
            (self.out / name).write_bytes(content)
            (self.out / f"{name}.txt").write_text(f"{what}\n{place[0]}\n{''.join(traceback.format_exception(error))}")


def resident_mb():
    """The resident memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE >> 20
