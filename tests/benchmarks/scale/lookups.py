"""Times the look-ups of workers and sweeps in a ledger, by the size and progress of its run."""

import statistics
import time

from sqlalchemy import text

from db.engine.session import make_engine, read_transaction
from db.ledger.models import read_demand
from db.ledger.outcomes import pending_of_model, still_pending
from db.ledger.runs import nothing_pending, open_runs_of, progress
from tests.benchmarks.scale.fleet import CHUNK
from tests.benchmarks.scale.postgres_of_scale import DurablePostgres, new_database

#: Decided shares of a run.
DECIDED = (0.01, 0.5, 0.999)
_REPEATS = 5
_SHA256 = "a" * 64

_FILL = """
INSERT INTO models (id, sha256, name, manifest, active, registered_at)
    VALUES (1, :sha256, 'm', '{"findings": []}', true, now());
INSERT INTO runs (id, identity, source, sha256, dataset, model_id, options, created_at)
    VALUES (1, '1', 'scans.csv', '1', 'scans', 1, '{}', now());
INSERT INTO scans (id, dataset, image_name, location)
    SELECT n, 'scans', n || '.png', '/films/' || n || '.png' FROM generate_series(1, :scans) AS n;
INSERT INTO outcomes (id, scan_id, model_id, revision, state, attempts)
    SELECT n, n, 1, 1, 'pending', 0 FROM generate_series(1, :scans) AS n;
INSERT INTO run_scans (run_id, scan_id, outcome_id, reused) SELECT 1, n, n, false FROM generate_series(1, :scans) AS n
"""


def time_lookups(sizes):
    """Median milliseconds of each look-up, for each size and share."""
    return [found for scans in sizes for found in _of_a_ledger(scans)]


def _of_a_ledger(scans):
    postgres = DurablePostgres()
    try:
        engine = make_engine(new_database(postgres))
        with engine.begin() as connection:
            for statement in _FILL.split(";"):
                connection.execute(text(statement), {"sha256": _SHA256, "scans": scans})
        for share in DECIDED:
            _vacuum(postgres)
            decided = int(scans * share)
            # The planner's statistics until autovacuum runs again, after a tenth has changed.
            with engine.begin() as connection:
                values = {"decided": decided}
                connection.execute(text("UPDATE outcomes SET state = 'scored' WHERE id <= :decided"), values)
            yield {"scans": scans, "decided": share, "statistics": "of before", **_times(engine, scans, decided)}
            _vacuum(postgres)
            yield {"scans": scans, "decided": share, "statistics": "fresh", **_times(engine, scans, decided)}
        engine.dispose()
    finally:
        postgres.close()


def _vacuum(postgres):
    postgres.ask("VACUUM ANALYZE", "nightread")


def _times(engine, scans, decided):
    first = min(decided, scans - CHUNK) + 1
    waiting, done = list(range(first, first + CHUNK)), list(range(max(1, first - CHUNK), first))
    asked = {
        "which of a chunk wait": lambda connection: still_pending(connection, waiting, _SHA256),
        "whose runs they are": lambda connection: open_runs_of(connection, waiting),
        "is a chunk's run over": lambda connection: nothing_pending(connection, done),
        "sweep: is any run over": nothing_pending,
        "sweep: does anything wait": lambda connection: pending_of_model(connection, 1, limit=1),
        "sweep: which models are wanted": read_demand,
        "status: how far is the run": lambda connection: progress(connection, 1),
    }
    with read_transaction(engine) as connection:
        return {f"{name}, ms": _median_ms(connection, ask) for name, ask in asked.items()}


def _median_ms(connection, ask):
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        ask(connection)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)
