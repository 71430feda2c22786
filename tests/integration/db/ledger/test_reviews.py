"""What people say of the scores, on both databases: which reviews are taken, which stand, and what the view shows."""

import pytest
from sqlalchemy import func, select, text

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.outcomes import Rejected, record_outcomes
from db.ledger.reviews import (
    AGREE,
    BAD_IMAGE,
    DISAGREE,
    MAX_COMMENT,
    ReviewRow,
    add_review,
    latest_reviews,
    reviews_of_scan,
)
from db.schema.tables import Review
from tests.support.ledger import enqueue, ids_of, score_all, scored

MINE = {"finding": "Effusion", "threshold": 0.5, "verdict": DISAGREE, "comment": "film says no", "reviewer": "ada"}
SCORED, REJECTED, WAITING = 1, 2, 3
#: Invalid reviews, and the sentence that refuses each.
REFUSED = (
    ({"run_id": 99}, "run 99 has no scan 1"),
    ({"scan_id": 99}, "run 1 has no scan 99"),
    ({"scan_id": WAITING}, "scan 3 is not scored yet"),
    ({"scan_id": WAITING, "verdict": BAD_IMAGE}, "scan 3 is not scored yet"),
    ({"scan_id": REJECTED}, "the scan has no score"),
    ({"verdict": "perhaps"}, "no verdict 'perhaps'; give one of agree, disagree, bad_image"),
    ({"finding": "Cough"}, "model m does not score 'Cough'; it scores Abnormal, Effusion"),
    ({"finding": "Mass"}, "model m does not score 'Mass'"),
    ({"finding": None}, "model m does not score None"),
    ({"threshold": 1.5}, "the threshold 1.5 is not between 0 and 1"),
    ({"threshold": float("nan")}, "the threshold nan is not"),
    ({"comment": "x" * (MAX_COMMENT + 1)}, "the comment has 501 characters"),
    ({"comment": "one\ntwo"}, "line break"),
    ({"comment": "\x00"}, "control character"),
    ({"comment": "\ud800"}, "control character"),
)


@pytest.fixture
def run(engine, tmp_path):
    """Of four scans, which the model has scored, rejected, and not yet seen."""
    run, _ = enqueue(engine, tmp_path)
    one, two, *_ = ids_of(engine, run)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(one, 0.75), Rejected(outcome_id=two, reason="empty", detail="x")])
    return run


@pytest.fixture
def review(engine, run):
    """Adds a review of the scored scan in a transaction of its own; what is not said is as in `MINE`."""

    def add(**values):
        with engine.begin() as connection:
            return add_review(connection, **{"run_id": run, "scan_id": SCORED} | MINE | values)

    return add


def standing(engine, run, finding="Effusion"):
    with read_transaction(engine) as connection:
        return latest_reviews(connection, run, finding)


def shown(engine, columns, where="1 = 1"):
    with read_transaction(engine) as connection:
        return connection.execute(text(f"SELECT {columns} FROM reviews WHERE {where} ORDER BY reviewed_at")).all()


def test_a_review_is_kept_as_it_was_given(engine, run, review):
    """It names the outcome that counts in the run; blanks at the ends of the comment are dropped."""
    first, second = review(comment="  café, left base "), review(verdict=AGREE, comment=" ", threshold=None)
    assert second > first
    with read_transaction(engine) as connection:
        newest, oldest = reviews_of_scan(connection, SCORED)
    same = {"model": "m", "revision": 1, "finding": "Effusion", "reviewer": "ada"}
    when = {"reviewed_at": oldest.reviewed_at}
    assert oldest == ReviewRow(**same, **when, verdict=DISAGREE, comment="café, left base", threshold=0.5)
    assert (newest.verdict, newest.comment, newest.threshold) == (AGREE, None, None)
    assert newest.reviewed_at > oldest.reviewed_at
    assert oldest.reviewed_at.utcoffset().total_seconds() == 0


def test_a_bad_image_concerns_every_finding_whatever_was_on_the_screen(engine, run, review):
    """Also that of a rejected scan, of which there is no score to agree with."""
    review(verdict=BAD_IMAGE)
    review(verdict=BAD_IMAGE, scan_id=REJECTED)
    columns = "scan_id, finding, threshold, score, verdict, is_latest"
    bad = (None, None, None, BAD_IMAGE, 1)
    assert shown(engine, columns) == [(SCORED, *bad), (REJECTED, *bad)]


def test_what_is_not_a_review_is_refused_in_one_sentence(engine, review):
    """Nothing is written."""
    for values, sentence in REFUSED:
        with pytest.raises(UserError, match=sentence):
            review(**values)
    with read_transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(Review)).scalar() == 0


def test_the_newest_review_of_a_finding_stands_and_the_others_stay(engine, run, review):
    """Each finding has its own; a bad image is one more thing that can be said of each."""
    review(verdict=DISAGREE)
    review(verdict=DISAGREE, finding="Abnormal")
    review(verdict=AGREE)
    assert standing(engine, run) == {SCORED: AGREE}
    assert standing(engine, run, "Abnormal") == {SCORED: DISAGREE}
    history = shown(engine, "finding, verdict, is_latest")
    assert history == [("Effusion", DISAGREE, 0), ("Abnormal", DISAGREE, 1), ("Effusion", AGREE, 1)]
    review(verdict=BAD_IMAGE)
    assert standing(engine, run) == standing(engine, run, "Abnormal") == {SCORED: BAD_IMAGE}
    review(verdict=AGREE)
    assert standing(engine, run) == {SCORED: AGREE}
    review(verdict=BAD_IMAGE)
    assert [row.is_latest for row in shown(engine, "is_latest", "verdict = 'bad_image'")] == [0, 1]


def test_a_review_stands_for_its_own_outcome_and_not_for_the_next(engine, run, review, tmp_path):
    """A run that reuses the outcome shows it; one that scores the scan again has none yet."""
    score_all(engine, run)
    review()
    again, _ = enqueue(engine, tmp_path)
    rescored, _ = enqueue(engine, tmp_path, rescore=True)
    score_all(engine, rescored)
    assert (standing(engine, again), standing(engine, rescored)) == ({SCORED: DISAGREE}, {})
    review(run_id=rescored, verdict=AGREE)
    assert (standing(engine, run), standing(engine, rescored)) == ({SCORED: DISAGREE}, {SCORED: AGREE})
    assert shown(engine, "revision, verdict, is_latest") == [(1, DISAGREE, 1), (2, AGREE, 1)]


def test_the_view_has_the_scan_the_score_and_what_was_said(engine, run, review):
    """The score is that of the outcome and the finding."""
    review()
    columns = "dataset, image_name, patient_id, comment, reviewer, threshold, score, model, location"
    (row,) = shown(engine, columns, "scan_id = 1")
    name = "00000000_000.png"
    assert tuple(row) == ("sample_labels", name, "0", "film says no", "ada", 0.5, 0.75, "m", f"/x/{name}")
