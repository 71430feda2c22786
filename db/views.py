"""The views: what people query. Names and columns are public interface; docs and tests hold them still.

They are laid anew after every migration (`migrations/env.py`), so a changed view needs a revision of its own.
"""

from typing import Final

from sqlalchemy import Connection, text

from db.findings import ABNORMAL, FINDINGS, NO_FINDING, column_of

_SCORE_COLUMNS: Final = ", ".join(f"s.{column_of(finding)}" for finding in FINDINGS)

# One branch a finding: a query for one finding never reads the other columns' rows.
_LONG: Final = " UNION ALL ".join(
    f"SELECT outcome_id, '{finding}' AS finding, {column_of(finding)} AS score "
    f"FROM scores WHERE {column_of(finding)} IS NOT NULL"
    for finding in FINDINGS
)

_IN_SET: Final = "SELECT 1 FROM labels l WHERE l.label_set_id = r.label_set_id AND l.scan_id = rs.scan_id"
_ABNORMAL_LABEL: Final = (
    f"CASE WHEN NOT EXISTS ({_IN_SET}) THEN NULL "
    f"WHEN EXISTS ({_IN_SET} AND l.finding <> '{NO_FINDING}') THEN 1 ELSE 0 END"
)
_LABEL: Final = (
    f"CASE WHEN long.finding = '{ABNORMAL}' THEN {_ABNORMAL_LABEL} "
    f"WHEN NOT EXISTS ({_IN_SET}) THEN NULL "
    f"WHEN EXISTS ({_IN_SET} AND l.finding = long.finding) THEN 1 ELSE 0 END"
)
_SCAN_COLUMNS: Final = "sc.dataset, sc.image_name, sc.patient_id, sc.view, sc.sex, sc.age_years"
_FROM_RUNS: Final = (
    "FROM runs r JOIN run_scans rs ON rs.run_id = r.id JOIN scans sc ON sc.id = rs.scan_id "
    "JOIN outcomes o ON o.id = rs.outcome_id JOIN models m ON m.id = o.model_id"
)
_METRICS_FROM: Final = (
    "FROM {table} t JOIN runs r ON r.id = t.run_id JOIN models m ON m.id = r.model_id "
    "JOIN label_sets ls ON ls.id = t.label_set_id"
)
_METRICS_HEAD: Final = "t.run_id, m.name AS model, ls.name AS label_set, t.subset, t.finding"

VIEWS: Final = {
    "results": (
        f"SELECT {_SCAN_COLUMNS}, long.finding, long.score, {_LABEL} AS label, m.name AS model, o.revision, "
        f"o.runtime, o.precision, o.scored_at, rs.run_id {_FROM_RUNS} JOIN ({_LONG}) long ON long.outcome_id = o.id"
    ),
    "results_wide": (
        f"SELECT {_SCAN_COLUMNS}, o.state, o.reason, o.detail, {_ABNORMAL_LABEL} AS abnormal_label, m.name AS model, "
        f"o.revision, o.runtime, o.precision, o.scored_at, rs.run_id, {_SCORE_COLUMNS} "
        f"{_FROM_RUNS} LEFT JOIN scores s ON s.outcome_id = o.id"
    ),
    "run_progress": (
        "SELECT rs.run_id, COUNT(*) AS expected, "
        + "".join(
            f"SUM(CASE WHEN o.state = '{state}' THEN 1 ELSE 0 END) AS {state}, "
            for state in ("scored", "rejected", "quarantined", "pending")
        )
        + "SUM(CASE WHEN rs.reused THEN 1 ELSE 0 END) AS reused "
        "FROM run_scans rs JOIN outcomes o ON o.id = rs.outcome_id GROUP BY rs.run_id"
    ),
    "threshold_metrics": (
        f"SELECT {_METRICS_HEAD}, t.chosen_by, t.threshold, t.tp, t.fp, t.fn, t.tn, t.precision, t.recall, "
        "t.specificity, t.f1, t.accuracy, t.balanced_accuracy, t.computed_at, t.is_partial "
        + _METRICS_FROM.format(table="run_threshold_metrics")
    ),
    "finding_metrics": (
        f"SELECT {_METRICS_HEAD}, t.auroc, t.average_precision, t.positives, t.negatives, t.computed_at, t.is_partial "
        + _METRICS_FROM.format(table="run_finding_metrics")
    ),
}


def drop_views(connection: Connection) -> None:
    """Take the views away, so that the tables beneath can change."""
    for name in VIEWS:
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))


def create_views(connection: Connection) -> None:
    """Lay the views over the tables."""
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))
