"""Reviews: what people say of the scores. They are only added; a later one supersedes an earlier one, and both stay.

A review is of one outcome. Agreement and disagreement are on one finding; a bad image concerns every finding.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Row, insert, or_, select

from db.errors import UserError
from db.schema.tables import PENDING, SCORED, Model, Outcome, Review, Run, RunScan

AGREE: Final = "agree"
DISAGREE: Final = "disagree"
BAD_IMAGE: Final = "bad_image"
VERDICTS: Final = (AGREE, DISAGREE, BAD_IMAGE)
#: Characters.
MAX_COMMENT: Final = 500


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """A review of a scan."""

    model: str
    #: Of the outcome.
    revision: int
    #: None for `BAD_IMAGE`.
    finding: str | None
    #: One of `VERDICTS`.
    verdict: str
    comment: str | None
    #: Login name.
    reviewer: str
    reviewed_at: datetime
    #: In [0, 1]; None where the verdict is on no prediction.
    threshold: float | None


def add_review(
    connection: Connection,
    *,
    run_id: int,
    scan_id: int,
    finding: str | None,
    threshold: float | None,
    verdict: str,
    comment: str | None,
    reviewer: str,
) -> int:
    """Add a review of the outcome that counts for a scan in a run.

    Args:
        connection: its transaction is the caller's.
        run_id: the run.
        scan_id: the scan.
        finding: one that the run's model scores. Left out with `BAD_IMAGE`, which may be of a rejected scan too.
        threshold: in [0, 1], at which the reviewer saw the prediction; None if at none. Left out with `BAD_IMAGE`.
        verdict: one of `VERDICTS`.
        comment: one line of at most `MAX_COMMENT` characters; blanks at its ends are dropped, and nothing is None.
        reviewer: login name.

    Returns:
        The review's id.

    Raises:
        UserError: the run has no such scan, its outcome is pending or does not fit the verdict, the model does not
            score the finding, or another argument is invalid. Nothing was written.
    """
    _check_verdict(verdict, threshold)
    text = _check_comment(comment)
    outcome = _find_outcome(connection, run_id, scan_id)
    if verdict == BAD_IMAGE:
        finding = threshold = None
    else:
        _check_finding(outcome, finding, verdict)
    values = {
        "scan_id": scan_id,
        "model_id": outcome.model_id,
        "revision": outcome.revision,
        "finding": finding,
        "threshold": threshold,
        "verdict": verdict,
        "comment": text,
        "reviewer": reviewer,
        "reviewed_at": datetime.now(UTC),
    }
    return connection.execute(insert(Review).returning(Review.id), values).scalar_one()


def reviews_of_scan(connection: Connection, scan_id: int) -> list[ReviewRow]:
    """All reviews of a scan, under any model and of any finding, the newest first."""
    columns = (Review.revision, Review.finding, Review.verdict, Review.comment, Review.reviewer, Review.reviewed_at)
    query = (
        select(Model.name.label("model"), *columns, Review.threshold)
        .join(Model, Model.id == Review.model_id)
        .where(Review.scan_id == scan_id)
        .order_by(Review.id.desc())
    )
    return [ReviewRow(**row) for row in connection.execute(query).mappings()]


def latest_reviews(connection: Connection, run_id: int, finding: str) -> dict[int, str]:
    """The verdicts that stand for the outcomes of a run, by scan id; scans without any are left out.

    Of the reviews of this finding and those that call the image bad, the newest counts. It takes time for each review
    of the ledger, and none for the other scans of the run.
    """
    # A subquery for each review: SQLite would begin a join with all scans of the run.
    counts = (
        select(Outcome.revision)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, RunScan.scan_id == Review.scan_id)
        .correlate(Review)
        .scalar_subquery()
    )
    model = select(Run.model_id).where(Run.id == run_id).scalar_subquery()
    query = (
        select(Review.scan_id, Review.verdict)
        .where(Review.model_id == model, or_(Review.finding == finding, Review.finding.is_(None)))
        .where(Review.revision == counts)
        # Later ones overwrite earlier ones.
        .order_by(Review.id)
    )
    return dict(connection.execute(query).all())


def _check_verdict(verdict: str, threshold: float | None) -> None:
    if verdict not in VERDICTS:
        raise UserError(f"no verdict {verdict!r}; give one of {', '.join(VERDICTS)}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"the threshold {threshold} is not between 0 and 1")


def _check_comment(comment: str | None) -> str | None:
    text = (comment or "").strip()
    if len(text) > MAX_COMMENT:
        raise UserError(f"the comment has {len(text):,} characters; shorten it to {MAX_COMMENT}")
    if not text.isprintable():
        raise UserError(
            "the comment holds a line break or another control character; write it in one line of plain text"
        )
    return text or None


def _find_outcome(connection: Connection, run_id: int, scan_id: int) -> Row[int, int, str, str, dict[str, list[str]]]:
    query = (
        select(Outcome.model_id, Outcome.revision, Outcome.state, Model.name, Model.manifest)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .join(Model, Model.id == Outcome.model_id)
        .where(RunScan.run_id == run_id, RunScan.scan_id == scan_id)
        # `forget` waits for this review and then deletes it, or is waited for.
        .with_for_update(read=True, key_share=True, of=Outcome)
    )
    outcome = connection.execute(query).first()
    if outcome is None:
        raise UserError(f"run {run_id} has no scan {scan_id}")
    if outcome.state == PENDING:
        raise UserError(f"scan {scan_id} is not scored yet; review it when its outcome is there")
    return outcome


def _check_finding(outcome: Row[int, int, str, str, dict[str, list[str]]], finding: str | None, verdict: str) -> None:
    if outcome.state != SCORED:
        raise UserError(f"the scan has no score, so nobody can {verdict}; it can only be called a {BAD_IMAGE}")
    findings = outcome.manifest["findings"]
    if finding not in findings:
        raise UserError(f"model {outcome.name} does not score {finding!r}; it scores {', '.join(findings)}")
