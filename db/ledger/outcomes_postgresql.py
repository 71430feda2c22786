"""Records a batch of outcomes on PostgreSQL in one statement and one round trip.

A fleet's database is a network away; the statements that SQLite runs would go there eight times.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from db.findings import FINDINGS, column_of
from db.schema.tables import PENDING, SCORED

#: The columns of an outcome that are written, and the type in which each is sent.
_COLUMNS: Final = {
    **dict.fromkeys(
        ("state", "reason", "detail", "content", "runtime", "precision", "export_sha256", "notes"), "varchar"
    ),
    "scored_at": "timestamptz",
}
#: The fields of a `PendingScan` that are compared with the outcome's row, and their types.
IDENTITY: Final = {"scan_id": "bigint", "model_sha256": "varchar", "revision": "int", "location": "varchar"}
_SCORES: Final = tuple(column_of(finding) for finding in FINDINGS)
#: Joins to an outcome the row that is given for it, where that has the outcome's identity.
_SAME: Final = """
    JOIN given AS asked ON asked.key = outcomes.id
        AND asked.scan_id = outcomes.scan_id AND asked.revision = outcomes.revision
    JOIN models ON models.id = outcomes.model_id AND models.sha256 = asked.model_sha256
    JOIN scans ON scans.id = outcomes.scan_id AND COALESCE(outcomes.location, scans.location) = asked.location
"""


def record_outcomes(
    connection: Connection, rows: Sequence[Mapping[str, Any]], run_ids: Iterable[int], *, compare: bool
) -> tuple[int, dict[int, datetime | None]]:
    """Record what is still pending, and look which of these runs are open.

    Args:
        connection: of PostgreSQL.
        rows: values by column of `outcomes` and `scores`; `key` is the outcome's id, a missing column is NULL.
        run_ids: as for `db.ledger.runs.still_open_runs`.
        compare: record only where the row's `IDENTITY` is still the outcome's.

    Returns:
        How many outcomes this call recorded, and the runs that are still open.
    """
    values = {
        "rows": json.dumps(rows, default=datetime.isoformat),
        "ids": [row["key"] for row in rows],
        "runs": sorted(run_ids),
    }
    found = connection.execute(_statement(compare=compare), values).all()
    open_runs = {row.id: row.resumed_at for row in found if row.id is not None}
    return found[0].recorded, open_runs


@cache
def _statement(*, compare: bool) -> TextClause:
    """`mine` is locked in the order of ids: two workers on one chunk wait for each other instead of deadlocking."""
    columns = {"key": "bigint", **IDENTITY, **_COLUMNS, **dict.fromkeys(_SCORES, "float8")}
    same = _SAME if compare else ""
    changes = ", ".join(f"{name} = given.{name}" for name in _COLUMNS)
    scores = ", ".join(_SCORES)
    statement = f"""
        WITH given AS MATERIALIZED (
            SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r({", ".join(map(" ".join, columns.items()))})
        ), mine AS MATERIALIZED (
            SELECT outcomes.id FROM outcomes {same} WHERE outcomes.id = ANY(:ids) AND outcomes.state = '{PENDING}'
            ORDER BY outcomes.id FOR NO KEY UPDATE OF outcomes
        ), recorded AS (
            UPDATE outcomes SET {changes} FROM given JOIN mine ON mine.id = key WHERE outcomes.id = key
            RETURNING outcomes.id, outcomes.state
        ), written AS (
            INSERT INTO scores (outcome_id, {scores})
            SELECT id, {scores} FROM given JOIN recorded ON id = key WHERE recorded.state = '{SCORED}'
        )
        SELECT counted.recorded, runs.id, runs.resumed_at FROM (SELECT count(*) AS recorded FROM recorded) AS counted
        LEFT JOIN runs ON runs.id = ANY(:runs) AND finished_at IS NULL AND stopped_at IS NULL
    """  # noqa: S608 -- names of our own
    whole = ARRAY(BigInteger)
    return text(statement).bindparams(bindparam("ids", type_=whole), bindparam("runs", type_=whole))
