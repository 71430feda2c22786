"""Fills an empty ledger with any number of outcomes by bulk copy, in seconds instead of hours.

Each source of scans is scored by model 1, by model 2, and by model 1 again (revision 2), in one run each. Four in five
scans are labelled, one in fifty is rejected, and one in ten of the first source was used to fit model 1.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, product
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, text

from db.findings import ABNORMAL, NIH_FINDINGS, NO_FINDING, column_of

MODELS_AND_REVISIONS = ((1, 1), (2, 1), (1, 2))
SCANS_PER_PATIENT = 4
EVENING = datetime(2026, 11, 23, 18, 0)  # noqa: DTZ001 - stored in UTC, written without a zone as SQLite has it
LONG_AGO = "2026-01-01 00:00:00.000000"


@dataclass(frozen=True, kw_only=True)
class BigLedger:
    """The size of a ledger: `runs` runs of `scans` scans each under models that score `findings`."""

    runs: int
    scans: int
    findings: Sequence[str] = (ABNORMAL, *NIH_FINDINGS)

    @property
    def plan(self) -> list[tuple[int, int, int]]:
        """Source (from 0), model and revision of each run."""
        plan = ((source, *how) for source, how in product(range(self.runs), MODELS_AND_REVISIONS))
        return list(islice(plan, self.runs))

    @property
    def sources(self) -> range:
        """The numbers of the sources, which are also those of datasets and label sets (from 1)."""
        return range(1 + max(source for source, _, _ in self.plan))


def fill_ledger(engine: Engine, ledger: BigLedger) -> None:
    """Fill the tables. PostgreSQL then analyses them, as autovacuum would; SQLite stays as producers leave it."""
    with engine.begin() as connection:
        _models(connection, ledger)
        for source in ledger.sources:
            _source(connection, ledger, source)
        for number, (source, model, revision) in enumerate(ledger.plan):
            _run(connection, ledger, number, source=source, model=model, revision=revision)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _models(connection: Connection, ledger: BigLedger) -> None:
    manifest = json.dumps({"findings": list(ledger.findings)})
    models = [(n, str(n) * 64, f"model {n}", manifest, n == 1, LONG_AGO) for n in (1, 2)]
    _fill(connection, "models", "id, sha256, name, manifest, active, registered_at", models)
    fitted = ((1, _dataset(0), _name(0, n), str(n // SCANS_PER_PATIENT), "train") for n in range(ledger.scans // 10))
    _fill(connection, "model_scans", "model_id, dataset, image_name, patient_id, subset", fitted)


def _source(connection: Connection, ledger: BigLedger, source: int) -> None:
    first = source * ledger.scans + 1
    scans = ((first + n, _dataset(source), _name(source, n), f"/{n}.png", *_about(n)) for n in range(ledger.scans))
    columns = "id, dataset, image_name, location, patient_id, view, sex, age_years, follow_up"
    _fill(connection, "scans", columns, scans)
    label_set = (source + 1, source + 1, _dataset(source), f"{source:064}", LONG_AGO)
    _fill(connection, "label_sets", "id, series_id, name, sha256, imported_at", [label_set])
    _fill(connection, "labels", "series_id, scan_id, finding, since_id", _labels(source, first, ledger.scans))


def _about(number: int) -> tuple[str, str, str, float, int]:
    """Patient, view, sex, age and follow-up."""
    return str(number // SCANS_PER_PATIENT), "PA" if number % 2 else "AP", "F", 60.0, number % SCANS_PER_PATIENT


def _labels(source: int, first: int, scans: int) -> Iterator[tuple[int, int, str, int]]:
    """Half of the labelled scans are normal; the others have one finding, or two."""
    draws = np.random.default_rng(source).integers(0, 10, (scans, 3)).tolist()
    for n, (kind, one, other) in enumerate(draws):
        if kind < 4:
            yield source + 1, first + n, NO_FINDING, source + 1
        elif kind < 8:
            for finding in sorted({NIH_FINDINGS[one], NIH_FINDINGS[one + other % 5]}):
                yield source + 1, first + n, finding, source + 1


def _run(connection: Connection, ledger: BigLedger, number: int, *, source: int, model: int, revision: int) -> None:
    run, outcome, scan = number + 1, number * ledger.scans + 1, source * ledger.scans + 1
    ended = _moment(ledger.scans - 1)
    row = (run, f"{run:064}", f"nights_{source}.csv", f"{source:064}", _dataset(source), model, source + 1, "{}")
    columns = "id, identity, source, sha256, dataset, model_id, label_set_id, options, created_at, finished_at"
    _fill(connection, "runs", columns, [(*row, _moment(0), ended)])
    columns = "id, scan_id, model_id, revision, state, reason, detail, attempts, content, runtime, precision, scored_at"
    outcomes = (
        (outcome + n, scan + n, model, revision, *_how(n), 0, f"sha256:{n:064x}", "tf", "float32", _moment(n))
        for n in range(ledger.scans)
    )
    _fill(connection, "outcomes", columns, outcomes)
    links = ((run, scan + n, outcome + n, False) for n in range(ledger.scans))
    _fill(connection, "run_scans", "run_id, scan_id, outcome_id, reused", links)
    scores = np.random.default_rng(number).random((ledger.scans, len(ledger.findings)), np.float32).tolist()
    rows = ((outcome + n, *values) for n, values in enumerate(scores) if _how(n)[0] == "scored")
    _fill(connection, "scores", ", ".join(["outcome_id", *map(column_of, ledger.findings)]), rows)


def _how(number: int) -> tuple[str, str | None, str | None]:
    """State, reason and detail."""
    if number % 50:
        return "scored", None, None
    return "rejected", ("truncated", "missing", "dicom")[number // 50 % 3], "the image ends early"


def _dataset(source: int) -> str:
    return f"nights{source or ''}"


def _name(source: int, number: int) -> str:
    return f"{source}_{number // SCANS_PER_PATIENT:08d}_{number % SCANS_PER_PATIENT:03d}.png"


def _moment(number: int) -> str:
    return f"{EVENING + timedelta(seconds=number / 4):%Y-%m-%d %H:%M:%S.%f}"


def _fill(connection: Connection, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TIME ZONE 'UTC'"))
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * (columns.count(",") + 1))
    driver.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
