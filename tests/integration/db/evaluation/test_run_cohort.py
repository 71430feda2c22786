"""A run's scored scans as a cohort: whose they are, and which groups they are in."""

import pytest
from sqlalchemy import select, update

from db.engine.session import read_transaction
from db.evaluation.run_cohort import read_cohort
from db.metrics.scored_scans import read_scored_scans
from db.schema.tables import REJECTED, Model, Outcome, Run, Scan, Scores
from tests.support.ledger import a_model, enqueue, score_all


@pytest.fixture
def run(engine, tmp_path):
    """A finished run of twelve scans."""
    with engine.begin() as connection:
        a_model(connection)
    run, _ = enqueue(engine, tmp_path, count=12)
    score_all(engine, run)
    return run


def change(engine, column, values):
    """Give the scans these values, in the order of their ids."""
    with engine.begin() as connection:
        ids = connection.execute(select(Scan.id).order_by(Scan.id)).scalars()
        for scan, value in zip(ids, values, strict=False):
            connection.execute(update(Scan).where(Scan.id == scan).values({column: value}))


def cohort_of(engine, run):
    with read_transaction(engine) as connection:
        label_set = connection.execute(select(Run.label_set_id)).scalar()
        return read_cohort(connection, run, read_scored_scans(connection, run, label_set))


def test_the_scored_scans_come_in_the_order_of_their_scores(engine, run):
    """A scan that was not scored is in no array; the findings are those that the labels judge."""
    with engine.begin() as connection:
        connection.execute(update(Outcome).where(Outcome.id == 2).values(state=REJECTED, reason="truncated"))
        connection.execute(update(Model).values(manifest={"findings": ["Fracture", "Effusion", "Abnormal"]}))
        connection.execute(update(Scores).values(fracture=0.5))
    cohort = cohort_of(engine, run)
    assert cohort.findings == ("Effusion", "Abnormal")
    assert cohort.scores[:, 0].tolist() == [number / 10 for number in (1, *range(3, 13))]
    assert cohort.labels[:, 0].tolist() == [bool(number % 2) for number in (0, *range(2, 12))]
    assert len(cohort.patients) == len(cohort.groupings["view"].places) == 11


def test_a_patient_id_is_one_patients_only_within_a_dataset(engine, run):
    """Scans without one are of patients of their own."""
    change(engine, "patient_id", ["7", "7", "7", None, None, "8"])
    change(engine, "dataset", ["sample_labels", "sample_labels", "elsewhere"])
    cohort = cohort_of(engine, run)
    first = cohort.patients[:6].tolist()
    assert first[0] == first[1]
    assert len({*first}) == 5
    assert cohort.has_patient[:6].tolist() == [True, True, True, False, False, True]


def test_every_scan_is_in_one_group_of_each_kind(engine, run):
    """Views and sexes that may be any text, even a name, are `other`, and an unknown view is never taken for PA."""
    assert set(cohort_of(engine, run).groupings) == {"view", "sex", "age"}, "nothing is known of manufacturers"
    change(engine, "view", ["pa", "PA", "AP", "LATERAL", "Mrs Doe", "LL", *[None] * 6])
    change(engine, "sex", ["F", "f", "M", "O", "Mrs Doe", *[None] * 7])
    change(engine, "age_years", [0.5, 17.9, 18, 59, 60, 100, 40, *[None] * 5])
    # The eight most frequent, in that order; the ninth is not among them.
    change(engine, "manufacturer", ["B", "A", "A", *"CDEFGHI", None, ""])
    groupings = cohort_of(engine, run).groupings
    known = {kind: [grouping.names[place] for place in grouping.places] for kind, grouping in groupings.items()}
    assert known["view"] == ["PA", "PA", "AP", "LATERAL", "other", "other", *["unknown"] * 6]
    assert known["sex"] == ["F", "F", "M", "other", "other", *["unknown"] * 7]
    assert known["age"] == ["0-17", "0-17", "18-39", "40-59", "60-79", "80+", "40-59", *["unknown"] * 5]
    assert known["manufacturer"] == ["B", "A", "A", *"CDEFGH", "other", "unknown", "unknown"]
    assert {kind: grouping.names for kind, grouping in groupings.items()} == {
        "view": ("PA", "AP", "LATERAL", "other", "unknown"),
        "sex": ("F", "M", "other", "unknown"),
        "age": ("0-17", "18-39", "40-59", "60-79", "80+", "unknown"),
        "manufacturer": ("A", "B", "C", "D", "E", "F", "G", "H", "other", "unknown"),
    }
