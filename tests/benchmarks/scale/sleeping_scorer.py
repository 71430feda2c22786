"""A scorer that sleeps for a fixed time per scan, and counters of its process's use of the database.

CXR_RUNTIME=tests.benchmarks.scale.sleeping_scorer:SleepingScorer loads it. SLEEPING_SCORER_MS is the cost of one scan.
The counts lie in a file in the folder SLEEPING_SCORER_COUNTS, named by the process id: five numbers that are mapped
into memory, so that counting costs almost nothing and the numbers survive a kill.
"""

import os
import time
from pathlib import Path

import numpy as np
import psycopg
from sqlalchemy import Engine, event

#: The counters. An exchange is one wait for the server's answer; one that opens a transaction counts as two.
COUNTS = ("statements", "rows", "transactions", "exchanges", "seconds")


class SleepingScorer:
    """Returns random scores, because the aggregator sorts them and they must differ."""

    runtime = "sleep"
    precision = "float32"

    def __init__(self, artifact):
        self.findings = artifact.manifest.findings
        self.batch_size = artifact.manifest.batch_size
        self._seconds = float(os.environ["SLEEPING_SCORER_MS"]) / 1000
        self._rng = np.random.default_rng(os.getpid())
        count_sql(Path(os.environ["SLEEPING_SCORER_COUNTS"], str(os.getpid())))

    def score(self, pixels):
        time.sleep(self._seconds * len(pixels))
        return self._rng.random((len(pixels), len(self.findings)), np.float32)


def count_sql(file):
    """Count this process's use of the database in the file from now on."""
    counts = np.memmap(file, np.float64, mode="w+", shape=len(COUNTS))

    @event.listens_for(Engine, "before_cursor_execute")
    def _statement(_connection, _cursor, _statement, parameters, _context, executemany):
        counts[0] += 1
        counts[1] += len(parameters) if executemany else 1

    @event.listens_for(Engine, "begin")
    def _transaction(_connection):
        counts[2] += 1

    wait = psycopg.Connection.wait

    def timed(*arguments, **options):
        started = time.perf_counter()
        try:
            return wait(*arguments, **options)
        finally:
            counts[3] += 1
            counts[4] += time.perf_counter() - started

    psycopg.Connection.wait = timed


def read_counts(folder):
    """The counts by name, summed over the processes that have counted in the folder."""
    files = [np.fromfile(file, np.float64) for file in Path(folder).iterdir()]
    total = np.sum(files, axis=0) if files else np.zeros(len(COUNTS))
    return dict(zip(COUNTS, total.tolist(), strict=True))
