"""Reads the backlog of all models: a few index look-ups, cheap enough for every Prometheus scrape."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from db.ledger.models import ModelInfo, list_models
from db.ledger.outcomes import is_wanted
from db.schema.tables import PENDING, Outcome, Run, RunScan


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """The work that is left in the whole ledger."""

    models: tuple[ModelInfo, ...]
    #: Pending scans by model id, without those of stopped runs. Every model has an entry.
    pending: Mapping[int, int]
    #: Age in seconds of the oldest open run that waits for a model's next scan. Only models with pending scans have an
    #: entry.
    oldest_seconds: Mapping[int, float]
    open_runs: int
    #: Those open runs that are stopped until somebody resumes them.
    stopped_runs: int


def read_backlog(connection: Connection) -> Backlog:
    """Read the present backlog."""
    models = tuple(list_models(connection))
    opened = select(func.count(), func.count(Run.stopped_at)).where(Run.finished_at.is_(None))
    open_runs, stopped_runs = connection.execute(opened).one()
    pending = _pending_by_model(connection)
    ages = {model_id: _age_seconds(connection, first) for model_id, (_, first) in pending.items()}
    return Backlog(
        models=models,
        pending={model.id: pending.get(model.id, (0, 0))[0] for model in models},
        oldest_seconds={model_id: age for model_id, age in ages.items() if age is not None},
        open_runs=open_runs,
        stopped_runs=stopped_runs,
    )


def _pending_by_model(connection: Connection) -> dict[int, tuple[int, int]]:
    """By model id, the number of pending outcomes and the lowest of their ids, without those of stopped runs."""
    rows = connection.execute(
        select(Outcome.model_id, func.count(), func.min(Outcome.id))
        .where(Outcome.state == PENDING, is_wanted())
        .group_by(Outcome.model_id)
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def _age_seconds(connection: Connection, outcome_id: int) -> float | None:
    """The age of the oldest open run that waits for this outcome; None if no run does any more.

    Outcome ids ascend with the runs that opened them: the run that waits for a model's lowest id has waited longest.
    """
    opened = connection.execute(
        select(func.min(Run.created_at))
        .join(RunScan, RunScan.run_id == Run.id)
        .where(RunScan.outcome_id == outcome_id, Run.finished_at.is_(None), Run.stopped_at.is_(None))
    ).scalar()
    return max(0.0, (datetime.now(UTC) - opened).total_seconds()) if opened else None
