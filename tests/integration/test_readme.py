"""What the README promises in SQL holds on both databases."""

import re
from pathlib import Path

import pytest
from ledger import enqueue, ids_of, scored
from sqlalchemy import delete, text

from db.aggregate import aggregate
from db.outcomes import REASONS, Rejected, decide
from db.runs import close_finished
from db.schema import Label

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def finished(engine, tmp_path):
    """Run 1 over scans 0 to 3: 0 is normal at 0.2, 1 an effusion at 0.9, 2 was rejected, 3 is unlabelled at 0.6."""
    run, _ = enqueue(engine, tmp_path)
    zero, one, two, three = ids_of(engine, run)
    with engine.begin() as connection:
        connection.execute(delete(Label).where(Label.scan_id == 4))
        decide(connection, [scored(zero, 0.2), scored(one, 0.9), scored(three, 0.6)])
        decide(connection, [Rejected(outcome_id=two, reason="truncated", detail="x")])
    assert close_finished(engine) == [run] == [1]
    with engine.begin() as connection:
        aggregate(connection, run)
        yield connection


def answer(connection, example):
    return [tuple(row) for row in connection.execute(text(EXAMPLES[example].rstrip().rstrip(";")))]


def test_the_highest_scoring_unlabelled_scans(finished):
    """A scan without a label row is unlabelled, which is not normal."""
    assert answer(finished, 0) == [("00000003_000.png", 0.6)]


def test_the_metrics_across_thresholds(finished):
    """Counts are of labelled, scored scans alone; undefined is NULL."""
    rows = answer(finished, 1)
    assert len(rows) == 2 * 5
    assert rows[2] == ("Abnormal", 0.5, 1, 0, 0, 1, 1.0, 1.0, 1.0, 1.0)


def test_the_rejects_by_reason(finished):
    """Every scan that has no score has a reason."""
    assert answer(finished, 2) == [("truncated", 1)]


def test_every_reason_is_documented():
    """The README names every code that SQL can hold."""
    assert [reason for reason in REASONS if f"`{reason}`" not in README] == []
