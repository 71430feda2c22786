"""A report on real databases computes what it shows, and writes nothing."""

from dataclasses import replace

import pytest
from sqlalchemy import select, text, update

from db.engine.session import read_transaction
from db.ledger.models import UsedScan
from db.ledger.outcomes import record_outcomes
from db.ledger.runs import note_left_out
from db.metrics.scored_scans import ALL, SUBSETS
from db.schema.tables import Base, Model, Scan
from producer.report.build import build_report
from producer.report.write import write_report
from tests.support.ledger import a_model, enqueue, ids_of, score_all, scored


@pytest.fixture
def run(engine, tmp_path):
    """A finished run of four scans; its model was fitted on the first."""
    with engine.begin() as connection:
        a_model(connection, used=[UsedScan(image_name="00000000_000.png", patient_id="0", subset="train")])
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    return run


def every_row(engine):
    """All rows of all tables."""
    with read_transaction(engine) as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in Base.metadata.sorted_tables
        }


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({}, id="default"),
        pytest.param({"thresholds": (0.15, 0.95)}, id="thresholds"),
        pytest.param({"label_set": "other"}, id="labels"),
        pytest.param({"partial": True, "subset": ALL}, id="partial"),
    ],
)
def test_a_report_leaves_every_table_as_it_is(engine, tmp_path, run, asked):
    """Neither thresholds nor a label set of the reader's own, nor a missing figure, changes what others see."""
    with engine.begin() as connection:
        columns = "SELECT 9, 9, 'other', 'x', imported_at FROM label_sets"
        connection.execute(text(f"INSERT INTO label_sets (id, series_id, name, sha256, imported_at) {columns}"))
        connection.execute(
            text("INSERT INTO labels (series_id, scan_id, finding, since_id) SELECT 9, scan_id, 'Mass', 9 FROM labels")
        )
        connection.execute(text("DELETE FROM run_finding_metrics WHERE finding = 'Effusion'"))
    before = every_row(engine)
    with read_transaction(engine) as connection:
        write_report(connection, run, tmp_path / "out", **asked)
    assert every_row(engine) == before


def test_a_report_shows_the_figures_that_closing_stored(engine, run):
    """The same rows in the same numbers, of both subsets."""
    for subset in SUBSETS:
        with read_transaction(engine) as connection:
            report, _ = build_report(connection, run, partial=False, label_set=None, subset=subset)
            stored = connection.execute(
                text("SELECT * FROM threshold_metrics WHERE run_id = :run AND subset = :subset"),
                {"run": run, "subset": subset},
            ).all()
        names = ("finding", "chosen_by", "threshold", "tp", "fp", "fn", "tn", "precision", "recall", "f1", "accuracy")
        shown = {tuple(getattr(row, name) for name in names) for row in report.thresholds}
        assert shown == {tuple(getattr(row, name) for name in names) for row in stored}


def test_a_report_by_another_label_set_counts_its_labels(engine, tmp_path, run):
    """At the thresholds that were asked for; labels that come later are counted in the next report."""
    enqueue(engine, tmp_path, sha256="b" * 64)
    with engine.begin() as connection:
        connection.execute(text("UPDATE labels SET until_id = 2 WHERE scan_id > 2"))
    positives = []
    for more in (False, True):
        if more:
            enqueue(engine, tmp_path, sha256="b" * 64)
        with read_transaction(engine) as connection:
            report, _ = build_report(
                connection,
                run,
                partial=False,
                label_set="sample_labels@bbbbbbbb",
                subset=ALL,
                thresholds=(0.25, 0.25, 0.15),
            )
        positives.append({row.finding: row.positives + row.negatives for row in report.findings})
        given = [row.threshold for row in report.main_thresholds if row.chosen_by == "given"]
        assert given == [0.15, 0.25]
    assert positives == [{"Abnormal": 2, "Effusion": 2}, {"Abnormal": 4, "Effusion": 4}]


def test_a_report_shows_the_finding_that_was_asked_for(engine, run):
    """Its distribution, baselines and thresholds; each printed threshold gives the counts beside it."""
    with read_transaction(engine) as connection:
        report, used = build_report(connection, run, partial=False, label_set=None, subset=ALL, finding="effusion")
    labels, scores = used.labels_and_scores("Effusion")
    assert report.finding == "Effusion"
    assert {row.finding for row in report.main_thresholds} == {"Effusion"}
    assert report.spread.maximum == scores.max()
    chosen = [row for row in report.main_thresholds if row.chosen_by in report.rounded_thresholds]
    assert len(chosen) == 2
    for row in chosen:
        positive = scores >= report.rounded_thresholds[row.chosen_by]
        assert ((positive & labels).sum(), (positive & ~labels).sum()) == (row.tp, row.fp)


def test_a_report_says_if_the_stored_manifest_is_of_synthetic_scans(engine, run):
    """Manifests of older programs do not say it."""

    def is_synthetic():
        with read_transaction(engine) as connection:
            return build_report(connection, run, partial=False, label_set=None, subset=ALL)[0].synthetic

    assert not is_synthetic()
    with engine.begin() as connection:
        manifest = connection.execute(select(Model.manifest)).scalar_one()
        connection.execute(update(Model).values(manifest=manifest | {"about": {"synthetic": 1}}))
    assert is_synthetic()


def test_a_report_has_figures_by_view_and_never_takes_an_unknown_one_for_pa(engine, tmp_path):
    """Whatever else stands in a column of views is one group: it might be a name."""
    run, _ = enqueue(engine, tmp_path, count=6)
    with engine.begin() as connection:
        for number, view in enumerate(("pa", "PA", None, None, "Mrs Doe", "LATERAL")):
            image = f"{number:08d}_000.png"
            connection.execute(update(Scan).where(Scan.image_name == image).values(view=view))
    score_all(engine, run)
    with read_transaction(engine) as connection:
        report, _ = build_report(connection, run, partial=False, label_set=None, subset=ALL)
    assert [(row.view, row.scored, row.positives, row.negatives, row.auroc) for row in report.views] == [
        ("PA", 2, 1, 1, 1.0),
        ("LATERAL", 1, 1, 0, None),
        ("other", 1, 0, 1, None),
        ("unknown", 2, 1, 1, 1.0),
    ]


def test_a_report_counts_notes_and_what_the_source_left_out(engine, tmp_path):
    """A scan with two notes counts for both; a run whose source was not listed has no count."""
    run, _ = enqueue(engine, tmp_path)
    first, second, *others = ids_of(engine, run)
    noted = [replace(scored(first), notes=("view_unknown", "colour")), replace(scored(second), notes=("view_unknown",))]

    def built():
        with read_transaction(engine) as connection:
            return build_report(connection, run, partial=True, label_set=None, subset=ALL)[0]

    assert (built().notes, built().left_out) == ({}, None)
    with engine.begin() as connection:
        record_outcomes(connection, [*noted, *map(scored, others)])
        note_left_out(connection, run, {"other_name": 3})
    assert (built().notes, built().left_out) == ({"colour": 1, "view_unknown": 2}, {"other_name": 3})
