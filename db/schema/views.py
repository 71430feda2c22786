"""The views that people query. Their names and columns are public interface, which docs and tests pin.

Every migration recreates them (`migrations/env.py`), so a changed view needs a new revision.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.orm import aliased

from db.findings import ABNORMAL, CHEXPERT_FINDINGS, FINDINGS, NIH_FINDINGS, NO_FINDING, column_of
from db.schema.label_history import is_label_of
from db.schema.tables import Label, LabelSet

#: As SQL, with the names that the views give to both tables.
_IS_LABEL: Final = str(is_label_of(aliased(LabelSet, name="ls"), aliased(Label, name="l")))


def _label(finding: str) -> str:
    """A scan's label in the run's own label set, as SQL: 1, 0, or NULL if it is unknown.

    `db.metrics.scored_scans` has the same rule for arrays.
    """
    codes, meanings = _abnormal() if finding == ABNORMAL else _specific(finding)
    return (
        f"CASE (SELECT MAX(CASE {codes} END) FROM labels l WHERE l.scan_id = rs.scan_id AND {_IS_LABEL}) {meanings} END"
    )


def _specific(finding: str) -> tuple[str, str]:
    """A code for each of a scan's rows, and what the greatest code means.

    -2 is a row of another finding: a labelled scan without a row of this one has not got it, if it is covered.
    """
    # No finding's name is a part of another's.
    implied = f"CASE WHEN ls.covered LIKE '%{finding}%' THEN 0 END"
    return f"WHEN l.finding = '{finding}' THEN l.value ELSE -2", f"WHEN 1 THEN 1 WHEN 0 THEN 0 WHEN -2 THEN {implied}"


def _abnormal() -> tuple[str, str]:
    """The same for `Abnormal`: 3 is one of NIH's findings, 2 is `No Finding`, 1 is an uncertain finding of NIH's."""
    others = ", ".join(f"'{finding}'" for finding in CHEXPERT_FINDINGS)
    codes = (
        f"WHEN l.finding = '{NO_FINDING}' THEN CASE l.value WHEN 1 THEN 2 ELSE 0 END "
        f"WHEN l.value = 0 OR l.finding IN ({others}) THEN 0 ELSE 2 + l.value"
    )
    # All of NIH's findings are covered: a label set names what it covers in one order, in which these come first.
    implied = f"CASE WHEN ls.covered LIKE '{'|'.join(NIH_FINDINGS)}%' THEN 0 END"
    return codes, f"WHEN 3 THEN 1 WHEN 2 THEN 0 WHEN 0 THEN {implied}"


_SCAN_COLUMNS: Final = "sc.dataset, sc.image_name, sc.patient_id, sc.view, sc.sex, sc.age_years"
_ADDED_COLUMNS: Final = "rs.scan_id, sc.follow_up, ls.name AS label_set, rs.reused"
_OUTCOME_COLUMNS: Final = "m.name AS model, o.revision, o.runtime, o.precision, o.scored_at, rs.run_id"
#: Columns that came later stand at the end, so that the others keep their places.
_LAST_COLUMNS: Final = (
    # `seen` is stored: computed here, it would cost more than all other columns together, once per finding.
    "CASE WHEN r.can_tell_held_out IS NULL THEN NULL WHEN rs.seen THEN 0 WHEN r.can_tell_held_out THEN 1 END "
    "AS held_out, COALESCE(o.location, sc.location) AS location, o.notes, "
    "sc.sop_instance_uid, sc.manufacturer, sc.transfer_syntax, sc.study_date"
)
_FROM_RUNS: Final = (
    "FROM runs r JOIN run_scans rs ON rs.run_id = r.id JOIN scans sc ON sc.id = rs.scan_id "
    "JOIN outcomes o ON o.id = rs.outcome_id JOIN models m ON m.id = o.model_id "
    "LEFT JOIN label_sets ls ON ls.id = r.label_set_id"
)


def _score_columns(findings: Iterable[str]) -> str:
    return ", ".join(f"s.{column_of(finding)}" for finding in findings)


def _label_columns(findings: Iterable[str]) -> str:
    return ", ".join(f"{_label(finding)} AS {column_of(finding)}_label" for finding in findings)


def _results_of(finding: str) -> str:
    score = f"s.{column_of(finding)}"
    return (
        f"SELECT {_SCAN_COLUMNS}, '{finding}' AS finding, {score} AS score, {_label(finding)} AS label, "
        f"{_OUTCOME_COLUMNS}, {_ADDED_COLUMNS}, {_LAST_COLUMNS} {_FROM_RUNS} "
        f"JOIN scores s ON s.outcome_id = o.id WHERE {score} IS NOT NULL"
    )


_METRICS_FROM: Final = (
    "FROM {table} t JOIN runs r ON r.id = t.run_id JOIN models m ON m.id = r.model_id "
    "JOIN label_sets ls ON ls.id = t.label_set_id"
)
_METRICS_HEAD: Final = "t.run_id, m.name AS model, ls.name AS label_set, t.subset, t.finding"

_REVIEW_SCORE: Final = " ".join(f"WHEN '{finding}' THEN s.{column_of(finding)}" for finding in FINDINGS)
#: A review of a bad image has no finding, and NULL equals nothing.
_LATER_REVIEW: Final = (
    "SELECT 1 FROM scan_reviews n WHERE n.scan_id = rv.scan_id AND n.model_id = rv.model_id "
    "AND n.revision = rv.revision AND COALESCE(n.finding, '') = COALESCE(rv.finding, '') AND n.id > rv.id"
)

VIEWS: Final = {
    # One complete SELECT per finding: both databases skip the findings that a query does not ask for, and push its
    # other conditions into those that it does. With the UNION inside the join, SQLite cannot, and the example
    # of docs/results.md for the agreement of two models took minutes.
    "results": " UNION ALL ".join(map(_results_of, FINDINGS)),
    "results_wide": (
        f"SELECT {_SCAN_COLUMNS}, o.state, o.reason, o.detail, {_label_columns([ABNORMAL])}, {_OUTCOME_COLUMNS}, "
        f"{_score_columns([ABNORMAL, *NIH_FINDINGS])}, {_ADDED_COLUMNS}, {_label_columns(NIH_FINDINGS)}, "
        f"o.export_sha256, {_score_columns(CHEXPERT_FINDINGS)}, {_label_columns(CHEXPERT_FINDINGS)}, "
        f"{_LAST_COLUMNS} {_FROM_RUNS} LEFT JOIN scores s ON s.outcome_id = o.id"
    ),
    "run_progress": (
        "SELECT r.id AS run_id, COUNT(rs.scan_id) AS expected, "
        + "".join(
            f"SUM(CASE WHEN o.state = '{state}' THEN 1 ELSE 0 END) AS {state}, "
            for state in ("scored", "rejected", "quarantined", "pending")
        )
        + "SUM(CASE WHEN rs.reused THEN 1 ELSE 0 END) AS reused, r.source, r.dataset, m.name AS model, "
        "ls.name AS label_set, r.created_at, r.finished_at, r.cancelled_at, r.stopped_at, r.stop_reason "
        "FROM runs r JOIN models m ON m.id = r.model_id LEFT JOIN label_sets ls ON ls.id = r.label_set_id "
        "LEFT JOIN run_scans rs ON rs.run_id = r.id LEFT JOIN outcomes o ON o.id = rs.outcome_id "
        "GROUP BY r.id, m.id, ls.id"
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
    "reviews": (
        "SELECT sc.dataset, sc.image_name, sc.patient_id, rv.finding, rv.verdict, rv.comment, rv.reviewer, "
        f"rv.reviewed_at, rv.threshold, CASE rv.finding {_REVIEW_SCORE} END AS score, m.name AS model, rv.revision, "
        "rv.scan_id, COALESCE(o.location, sc.location) AS location, "
        f"CASE WHEN EXISTS ({_LATER_REVIEW}) THEN 0 ELSE 1 END AS is_latest "
        "FROM scan_reviews rv JOIN scans sc ON sc.id = rv.scan_id JOIN models m ON m.id = rv.model_id "
        # The outcome may have been pruned.
        "LEFT JOIN outcomes o ON o.scan_id = rv.scan_id AND o.model_id = rv.model_id AND o.revision = rv.revision "
        "LEFT JOIN scores s ON s.outcome_id = o.id"
    ),
}


def drop_views(connection: Connection) -> None:
    """Drop the views, so that the tables below them can change."""
    for name in VIEWS:
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))


def create_views(connection: Connection) -> None:
    """Create the views."""
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))
