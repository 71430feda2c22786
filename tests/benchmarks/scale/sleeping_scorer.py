"""A scorer of a fixed cost that only sleeps, and a count of what its process asks of the database.

Worker processes load it by CXR_RUNTIME=tests.benchmarks.scale.sleeping_scorer:SleepingScorer. SLEEPING_SCORER_MS is
the cost of one scan. The counts lie in a file of the folder SLEEPING_SCORER_COUNTS, named by the process: six numbers
that are mapped into memory, so that counting costs next to nothing and the numbers survive a kill.
"""

import os
import time
from pathlib import Path

import numpy as np
import psycopg
from sqlalchemy import Engine, event

#: What is counted. An exchange is one wait for the server's answer; where it opens a transaction that is two.
COUNTS = ("statements", "rows", "transactions", "exchanges", "seconds")


class SleepingScorer:
    """Scores are made up: the aggregator sorts them, so they must differ."""

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
    """From now on, count this process's use of the database into the file."""
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
    """By name, summed over the processes that have counted into the folder."""
    files = [np.fromfile(file, np.float64) for file in Path(folder).iterdir()]
    total = np.sum(files, axis=0) if files else np.zeros(len(COUNTS))
    return dict(zip(COUNTS, total.tolist(), strict=True))
