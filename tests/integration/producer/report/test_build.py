"""A report on real databases computes what it shows, and writes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select, text, update

from db.engine.session import read_transaction
from db.evaluation.cohort import Cohort, Grouping
from db.evaluation.evaluate import evaluate
from db.ledger.models import UsedScan
from db.ledger.outcomes import record_outcomes
from db.ledger.runs import note_left_out
from db.metrics.aggregate import aggregate
from db.metrics.run_metrics import DEFAULT_THRESHOLDS
from db.metrics.scored_scans import ALL, SUBSETS
from db.schema.tables import Base, Model, Outcome, Run, RunScan, Scan, Scores
from producer.report.build import build_report
from producer.report.write import write_report
from tests.support.ledger import a_model, enqueue, ids_of, score_all, scored

OWN_THRESHOLDS = {"Effusion": {"best_f1": 0.42, "youden": 0.37}}


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
        pytest.param({"thresholds": (0.15, 0.95), "prevalence": {"effusion": 0.05}}, id="thresholds"),
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


@pytest.fixture
def varied(engine, tmp_path):
    """A run of ninety scans of thirty patients whose views, sexes, ages, labels and fitted scans vary."""
    used = [UsedScan(image_name=f"{n:08d}_000.png", patient_id=str(n // 3), subset="train") for n in (0, 3, 4)]
    with engine.begin() as connection:
        a_model(connection, used=used)
    run, _ = enqueue(engine, tmp_path, count=90)
    score_all(engine, run)
    rng = np.random.default_rng(0)
    with engine.begin() as connection:
        manifest = connection.execute(select(Model.manifest)).scalar_one()
        connection.execute(update(Model).values(manifest=manifest | {"thresholds": OWN_THRESHOLDS}))
        for scan in connection.execute(select(Scan.id).order_by(Scan.id)).scalars().all():
            row = {
                "patient_id": None if scan % 20 == 0 else str((scan - 1) // 3),
                "view": ("PA", "AP", None)[rng.integers(3)],
                "sex": "FM"[rng.integers(2)],
                "age_years": float(rng.integers(1, 95)),
                "manufacturer": ("GE", None)[rng.integers(2)],
            }
            connection.execute(update(Scan).where(Scan.id == scan).values(row))
            scores = {"abnormal": rng.random(), "effusion": rng.random()}
            outcome = select(RunScan.outcome_id).where(RunScan.scan_id == scan).scalar_subquery()
            connection.execute(update(Scores).where(Scores.outcome_id == outcome).values(scores))
        connection.execute(text("DELETE FROM labels WHERE scan_id IN (7, 8)"))
        aggregate(connection, run)
    return run


def recounted(connection, run, subset):
    """The run's cohort, read from the public view row by row."""
    query = "SELECT * FROM results_wide WHERE run_id = :run AND state = 'scored' ORDER BY scan_id"
    rows = [
        row for row in connection.execute(text(query), {"run": run}).mappings() if row["abnormal_label"] is not None
    ]
    if subset == "held_out":
        rows = [row for row in rows if row["held_out"] in (1, None) and not seen(row)]
    numbers = {}
    patients = [numbers.setdefault(row["patient_id"] or f"scan {row['scan_id']}", len(numbers)) for row in rows]
    findings = ("Abnormal", "Effusion")
    labels = [[row["abnormal_label"] == 1, row["effusion_label"] == 1] for row in rows]
    bands = ["0-17", "18-39", "40-59", "60-79", "80+"]
    groups = {
        "view": (["PA", "AP", "unknown"], [row["view"] or "unknown" for row in rows]),
        "sex": (["F", "M"], [row["sex"] for row in rows]),
        "age": (bands, [bands[sum(row["age_years"] >= end for end in (18, 40, 60, 80))] for row in rows]),
        "manufacturer": (["GE", "unknown"], [row["manufacturer"] or "unknown" for row in rows]),
    }
    return Cohort(
        findings=findings,
        scores=np.array([[row["abnormal"], row["effusion"]] for row in rows]),
        labels=np.array(labels),
        known=np.ones_like(labels),
        patients=np.array(patients),
        has_patient=np.array([row["patient_id"] is not None for row in rows]),
        groupings={
            kind: Grouping(names=tuple(names), places=np.array([names.index(name) for name in of_scans]))
            for kind, (names, of_scans) in groups.items()
        },
    )


def seen(row):
    """Whether the model was fitted on the scan or on its patient."""
    return row["image_name"][:8] in {"00000000", "00000003", "00000004"} or row["patient_id"] in {"0", "1"}


@pytest.mark.parametrize("subset", SUBSETS)
def test_a_reports_figures_equal_a_recount_of_the_rows(engine, varied, subset):
    """Of the scans, patients, groups, labels and thresholds of the model that stand in SQL, to the last digit."""
    with read_transaction(engine) as connection:
        report, cohort = build_report(
            connection, varied, partial=False, label_set=None, subset=subset, prevalence={"effusion": 0.05}
        )
        expected = recounted(connection, varied, subset)
    assert cohort.findings == expected.findings
    same = np.equal.outer(cohort.patients, cohort.patients)
    assert (same == np.equal.outer(expected.patients, expected.patients)).all()
    assert report.coverage.used == len(expected.scores)
    assert report.evaluation == evaluate(
        expected,
        thresholds=DEFAULT_THRESHOLDS,
        own_thresholds=OWN_THRESHOLDS,
        prevalence={"Effusion": 0.05},
    )
    assert report.evaluation.scans_without_patient > 0
    named = [row.chosen_by for row in report.evaluation.findings["Effusion"].thresholds]
    assert named == ["given"] * 5 + ["best_f1", "youden"]


def test_a_report_shows_the_figures_that_closing_stored(engine, varied):
    """The same counts and rates at the given thresholds, and the same areas, of both subsets."""
    for subset in SUBSETS:
        asked = {"run": varied, "subset": subset}
        where = "WHERE run_id = :run AND subset = :subset"
        with read_transaction(engine) as connection:
            report, _ = build_report(connection, varied, partial=False, label_set=None, subset=subset)
            counts = connection.execute(
                text(f"SELECT * FROM threshold_metrics {where} AND chosen_by = 'given'"), asked
            ).all()
            areas = connection.execute(text(f"SELECT * FROM finding_metrics {where}"), asked).all()
        shown = {
            (finding, row.rates.threshold): row.rates
            for finding, result in report.evaluation.findings.items()
            for row in result.thresholds
            if row.chosen_by == "given"
        }
        assert len(shown) == len(counts) == 10
        for stored in counts:
            rates = shown[stored.finding, stored.threshold]
            assert (rates.tp, rates.fp, rates.fn, rates.tn) == (stored.tp, stored.fp, stored.fn, stored.tn)
            for name in ("precision", "recall", "specificity", "f1", "accuracy", "balanced_accuracy"):
                assert getattr(rates, name).value == pytest.approx(getattr(stored, name), abs=1e-12)
        for stored in areas:
            figures = report.evaluation.findings[stored.finding].figures
            assert (figures.positives, figures.negatives) == (stored.positives, stored.negatives)
            assert (figures.auroc.value, figures.average_precision.value) == (stored.auroc, stored.average_precision)


def test_a_report_by_another_label_set_counts_its_labels(engine, tmp_path, run):
    """At the thresholds that were asked for; labels that come later are counted in the next report."""
    enqueue(engine, tmp_path, sha256="b" * 64)
    with engine.begin() as connection:
        connection.execute(text("UPDATE labels SET until_id = 2 WHERE scan_id > 2"))
    scans = []
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
        scans.append({finding: result.figures.scans for finding, result in report.evaluation.findings.items()})
        assert [row.rates.threshold for row in report.main.thresholds] == [0.15, 0.25]
    assert scans == [{"Abnormal": 2, "Effusion": 2}, {"Abnormal": 4, "Effusion": 4}]


def test_a_report_leads_with_the_finding_that_was_asked_for(engine, run):
    """Its distribution is that finding's, and the others have figures too."""
    with engine.begin() as connection:
        connection.execute(update(Scores).values(effusion=Scores.abnormal / 2))
    with read_transaction(engine) as connection:
        report, cohort = build_report(connection, run, partial=False, label_set=None, subset=ALL, finding="effusion")
    assert report.finding == "Effusion"
    assert report.main is report.evaluation.findings["Effusion"]
    assert report.spread.maximum == cohort.sample("Effusion").scores.max() == 0.2
    assert set(report.evaluation.findings) == {"Abnormal", "Effusion"}


@pytest.mark.parametrize(
    ("runtime", "precision", "note"),
    [
        ("keras 3.15 on tensorflow", "float32", "as 'trainer evaluate' computes them."),
        (
            "keras 3.15 on tensorflow",
            "bfloat16",
            "'trainer evaluate' computes float32 scores by Keras: AUROC may differ",
        ),
        ("openvino 2026", "float32", "'trainer evaluate' computes float32 scores by Keras: AUROC may differ"),
    ],
)
def test_a_note_says_what_computed_the_scores_and_whether_the_model_cards(engine, run, runtime, precision, note):
    """Only Keras in float32 computes what the trainer evaluates, so only then are figures the same."""
    with engine.begin() as connection:
        connection.execute(update(Outcome).values(runtime=runtime, precision=precision))
    with read_transaction(engine) as connection:
        report, _ = build_report(connection, run, partial=False, label_set=None, subset=ALL)
    assert report.precision_note.startswith(f"Scores were computed by {runtime} {precision}")
    assert note in report.precision_note


def test_a_run_without_labels_has_a_worklist(engine, tmp_path):
    """The twenty highest scores of the main finding, ties in the order of registration, with the images' names."""
    with engine.begin() as connection:
        a_model(connection)
    run, _ = enqueue(engine, tmp_path, count=25)
    score_all(engine, run)
    with engine.begin() as connection:
        connection.execute(update(Run).values(label_set_id=None))
        connection.execute(update(Scores).values(effusion=0.5))

    def worklist(**asked):
        with read_transaction(engine) as connection:
            return build_report(connection, run, partial=False, label_set=None, subset=ALL, **asked)[0].worklist

    by_score = worklist()
    assert [row.image_name for row in by_score] == [f"{n:08d}_000.png" for n in range(24, 4, -1)]
    assert [row.score for row in by_score][:2] == [2.5, 2.4]
    assert [row.image_name for row in worklist(finding="Effusion")] == [f"{n:08d}_000.png" for n in range(20)]


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


def test_a_report_counts_all_scored_scans_by_view_and_never_takes_an_unknown_one_for_pa(engine, tmp_path):
    """Its figures by view are of the scans that are used."""
    run, _ = enqueue(engine, tmp_path, count=6)
    with engine.begin() as connection:
        for number, view in enumerate(("pa", "PA", None, None, "Mrs Doe", "LATERAL")):
            image = f"{number:08d}_000.png"
            connection.execute(update(Scan).where(Scan.image_name == image).values(view=view))
    score_all(engine, run)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM labels WHERE scan_id IN (SELECT id FROM scans WHERE view = 'LATERAL')"))
    with read_transaction(engine) as connection:
        report, _ = build_report(connection, run, partial=False, label_set=None, subset=ALL)
    assert report.views == {"PA": 2, "LATERAL": 1, "other": 1, "unknown": 2}
    views = report.main.groups["view"].items()
    assert [(name, one.positives, one.negatives, one.auroc.value) for name, one in views] == [
        ("PA", 1, 1, 1.0),
        ("other", 0, 1, None),
        ("unknown", 1, 1, 1.0),
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
