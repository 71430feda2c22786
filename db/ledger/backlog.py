"""What waits in the whole ledger, under whichever model: a few index look-ups, cheap enough for every scrape."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from db.ledger.models import ModelInfo, list_models
from db.ledger.outcomes import is_wanted
from db.schema.tables import PENDING, Outcome, Run, RunScan


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """The work that is left."""

    models: tuple[ModelInfo, ...]
    #: Scans by model id that wait to be worked on: not those of stopped runs. Every model is there.
    pending: Mapping[int, int]
    #: Seconds since the oldest open run was opened that waits for a model's next scan; only models with pending scans.
    oldest_seconds: Mapping[int, float]
    open_runs: int
    #: Of these, how many stand still until somebody resumes them.
    stopped_runs: int


def read_backlog(connection: Connection) -> Backlog:
    """Look at what waits now."""
    models = tuple(list_models(connection))
    opened = select(func.count(), func.count(Run.stopped_at)).where(Run.finished_at.is_(None))
    open_runs, stopped_runs = connection.execute(opened).one()
    waiting = _waiting(connection)
    ages = {model_id: _age(connection, first) for model_id, (_, first) in waiting.items()}
    return Backlog(
        models=models,
        pending={model.id: waiting.get(model.id, (0, 0))[0] for model in models},
        oldest_seconds={model_id: age for model_id, age in ages.items() if age is not None},
        open_runs=open_runs,
        stopped_runs=stopped_runs,
    )


def _waiting(connection: Connection) -> dict[int, tuple[int, int]]:
    """By model id, how many outcomes wait to be worked on and the lowest of their ids."""
    rows = connection.execute(
        select(Outcome.model_id, func.count(), func.min(Outcome.id))
        .where(Outcome.state == PENDING, is_wanted())
        .group_by(Outcome.model_id)
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def _age(connection: Connection, outcome_id: int) -> float | None:
    """Ids ascend with the runs that asked for them: whoever waits for the lowest waits longest."""
    opened = connection.execute(
        select(func.min(Run.created_at))
        .join(RunScan, RunScan.run_id == Run.id)
        .where(RunScan.outcome_id == outcome_id, Run.finished_at.is_(None), Run.stopped_at.is_(None))
    ).scalar()
    return max(0.0, (datetime.now(UTC) - opened).total_seconds()) if opened else None
