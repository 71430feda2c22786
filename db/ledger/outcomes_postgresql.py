"""PostgreSQL's way to write a batch's outcomes: one statement, one round trip.

A fleet's database is a network away, and a batch as rows and statements of their own would go there eight times.
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

#: What is written of an outcome, and of which type it travels.
_COLUMNS: Final = {
    **dict.fromkeys(("state", "reason", "detail", "content", "runtime", "precision"), "varchar"),
    "scored_at": "timestamptz",
}
_SCORES: Final = tuple(column_of(finding) for finding in FINDINGS)


def decide_in_one(
    connection: Connection, rows: Sequence[Mapping[str, Any]], run_ids: Iterable[int]
) -> tuple[int, dict[int, datetime | None]]:
    """Write what is still pending, and look which of these runs go on.

    Args:
        connection: of PostgreSQL.
        rows: by column of `outcomes` and `scores`; `key` is the outcome's id, what is not there is NULL.
        run_ids: as for `db.ledger.runs.going_on`.

    Returns:
        How many outcomes this call decided, and what `going_on` gives.
    """
    values = {
        "rows": json.dumps(rows, default=datetime.isoformat),
        "ids": [row["key"] for row in rows],
        "runs": sorted(run_ids),
    }
    found = connection.execute(_statement(), values).all()
    return found[0].decided, {row.id: row.resumed_at for row in found if row.id is not None}


@cache
def _statement() -> TextClause:
    """`mine` is locked in the order of ids, as SQLite's way does: two workers on one chunk do not deadlock."""
    columns = {"key": "bigint", **_COLUMNS, **dict.fromkeys(_SCORES, "float8")}
    changes = ", ".join(f"{name} = given.{name}" for name in _COLUMNS)
    scores = ", ".join(_SCORES)
    statement = f"""
        WITH given AS MATERIALIZED (
            SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r({", ".join(map(" ".join, columns.items()))})
        ), mine AS MATERIALIZED (
            SELECT id FROM outcomes WHERE id = ANY(:ids) AND state = '{PENDING}' ORDER BY id FOR NO KEY UPDATE
        ), decided AS (
            UPDATE outcomes SET {changes} FROM given JOIN mine ON mine.id = key WHERE outcomes.id = key
            RETURNING outcomes.id, outcomes.state
        ), written AS (
            INSERT INTO scores (outcome_id, {scores})
            SELECT id, {scores} FROM given JOIN decided ON id = key WHERE decided.state = '{SCORED}'
        )
        SELECT counted.decided, runs.id, runs.resumed_at FROM (SELECT count(*) AS decided FROM decided) AS counted
        LEFT JOIN runs ON runs.id = ANY(:runs) AND finished_at IS NULL AND stopped_at IS NULL
    """  # noqa: S608 -- names of our own
    whole = ARRAY(BigInteger)
    return text(statement).bindparams(bindparam("ids", type_=whole), bindparam("runs", type_=whole))
