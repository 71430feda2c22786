"""`producer labels` fills in patients that were unknown, on both databases, and never replaces a known one."""

from dataclasses import replace

import pytest
from sqlalchemy import insert, select, update

from db.engine.session import read_transaction
from db.errors import UserError
from db.schema.tables import Label, LabelSet, ModelScan, RunFindingMetric, RunThresholdMetric, Scan
from producer.ingest.label_import import import_label_set
from tests.support.ledger import enqueue, labels_file, score_all


@pytest.fixture
def ledger(engine, tmp_path):
    """A finished run of four scans with figures, by a model with a split; the first two scans have no patient."""
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    with engine.begin() as connection:
        fitted = {"model_id": 1, "dataset": "sample_labels", "image_name": "fitted.png", "subset": "train"}
        connection.execute(insert(ModelScan).values(fitted))
        connection.execute(update(Scan).where(Scan.image_name < "00000002").values(patient_id=None))
    return engine


def relabelled(tmp_path, **patients):
    """A second labels CSV of the four scans, with these patients by number."""
    file = labels_file(tmp_path, sha256="b" * 64)
    rows = (replace(row, patient_id=patients.get(f"_{number}")) for number, row in enumerate(file.rows))
    return replace(file, rows=tuple(rows))


def patients_in(engine):
    with read_transaction(engine) as connection:
        return list(connection.execute(select(Scan.patient_id).order_by(Scan.image_name)).scalars())


def rows_of(engine, *tables):
    with read_transaction(engine) as connection:
        return [connection.execute(select(table.__table__)).fetchall() for table in tables]


def test_an_unknown_patient_is_filled_in_and_a_known_one_stays(ledger, tmp_path):
    """A scan that the file names no patient of stays as it was."""
    imported = import_label_set(ledger, relabelled(tmp_path, _0="7", _2="2"), "second")
    assert patients_in(ledger) == ["7", None, "2", "3"]
    assert (imported.patients_added, imported.labelled) == (1, 4)


def test_another_patient_than_the_known_one_is_refused_and_nothing_is_written(ledger, tmp_path):
    """One sentence names the file, an image and both patients; neither labels nor other patients are written."""
    tables = (Scan, LabelSet, Label, RunFindingMetric)
    before = rows_of(ledger, *tables)
    with pytest.raises(UserError) as caught:
        import_label_set(ledger, relabelled(tmp_path, _0="7", _2="9"), "second")
    for words in (
        str(tmp_path),
        "1 images are of other patients",
        "'00000002_000.png'",
        "patient '9' here",
        "'2' there",
    ):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert rows_of(ledger, *tables) == before


def test_figures_that_rest_on_unknown_patients_go_when_patients_are_added(ledger, tmp_path):
    """Another scan may be held out now. Labels without a new patient leave the figures of other label sets alone."""
    figures = (RunThresholdMetric, RunFindingMetric)
    assert all(rows_of(ledger, *figures))
    import_label_set(ledger, relabelled(tmp_path, _2="2", _3="3"), "second")
    assert all(rows_of(ledger, *figures))
    import_label_set(ledger, replace(relabelled(tmp_path, _1="1"), sha256="c" * 64), "third")
    assert rows_of(ledger, *figures) == [[], []]


def test_a_name_takes_a_file_that_adds_and_refuses_one_that_contradicts(ledger, tmp_path):
    """The same name goes on for a CSV that grows; labels that a report was made of are never edited."""
    grown = relabelled(tmp_path)
    import_label_set(ledger, replace(grown, rows=grown.rows[:2], sha256="c" * 64), "second")
    assert import_label_set(ledger, grown, "second").exact_name == "second@bbbbbbbb"
    before = rows_of(ledger, LabelSet, Label)
    with pytest.raises(UserError, match=r"never edited, .*; choose another --name"):
        import_label_set(ledger, replace(grown, rows=grown.rows[1:], sha256="d" * 64), "second")
    assert rows_of(ledger, LabelSet, Label) == before


def test_a_name_that_ends_in_a_hash_is_refused(ledger, tmp_path):
    """`NAME@HASH` means one file of a name."""
    with pytest.raises(UserError, match=r"leave the hash out"):
        import_label_set(ledger, relabelled(tmp_path), "second@bbbbbbbb")
