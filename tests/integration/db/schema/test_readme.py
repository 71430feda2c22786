"""The SQL examples and tables of columns in the documents hold on both databases."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, inspect, text, update

from db.findings import FINDINGS, column_of
from db.ledger.outcomes import REASONS
from db.ledger.reviews import AGREE, DISAGREE, add_review
from db.metrics.aggregate import aggregate
from db.schema.tables import Label, LabelSet, Model, ModelScan, Outcome, Run, RunScan, Scan, Scores
from db.schema.views import VIEWS
from tests.support.documents import all_text, example_after

EVENING = datetime(2026, 11, 23, 19, 50, tzinfo=UTC)
AFTERNOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
#: Patient, follow-up, view, label, and the scores in runs 1 to 3 or the reason of the rejection.
SCANS = (
    ("7", 0, "PA", "No Finding", (0.1, 0.2, 0.1)),
    ("7", 1, "PA", "Effusion", (0.9, 0.8, 0.9)),
    ("8", 0, "AP", "Effusion", (0.3, 0.7, 0.3)),
    ("8", 1, "AP", "Effusion", (0.4, 0.45, 0.55)),
    ("9", 0, "PA", "Mass", (0.45, 0.3, 0.45)),
    ("9", 1, "PA", None, (0.8, 0.9, 0.8)),
    ("9", 2, "AP", None, (0.6, 0.1, 0.6)),
    ("10", 0, "PA", None, "truncated"),
    ("10", 1, "PA", "Mass", "missing"),
    ("10", 2, "PA", None, "missing"),
    ("11", 0, "PA", "No Finding", (0.55, 0.25, 0.55)),
)
#: The scan that was scored before the night, and that run 1 reuses.
EARLY = 7
#: Model and revision of each run.
RUNS = {1: (1, 1), 2: (2, 1), 3: (1, 2)}


@pytest.fixture
def ledger(engine):
    """A ledger with two models that were fitted on patient 7, and three runs over the same eleven scans."""
    with engine.begin() as connection:
        put = Put(connection)
        put.models_and_labels()
        for number, (patient, follow_up, view, label, _) in enumerate(SCANS, start=1):
            scan = {"id": number, "dataset": "nights", "image_name": image(number), "patient_id": patient}
            put.row(Scan, **scan, follow_up=follow_up, view=view)
            if label:
                put.row(Label, series_id=1, scan_id=number, finding=label, since_id=1)
        for run in RUNS:
            put.run(run)
            aggregate(connection, run)
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TIME ZONE 'UTC'"))
        yield connection


class Put:
    """Inserts rows into the tables."""

    def __init__(self, connection):
        self.connection = connection

    def row(self, table, **values):
        self.connection.execute(insert(table), [values])

    def models_and_labels(self):
        self.row(LabelSet, id=1, series_id=1, name="nights", sha256="0" * 64, imported_at=AFTERNOON)
        manifest = {"findings": ["Abnormal", "Effusion"]}
        for model, name in ((1, "first"), (2, "second")):
            values = {"sha256": str(model) * 64, "name": name, "active": model == 1}
            self.row(Model, id=model, manifest=manifest, registered_at=AFTERNOON, **values)
            fitted = {"dataset": "nights", "image_name": image(1), "patient_id": "7", "subset": "train"}
            self.row(ModelScan, model_id=model, **fitted)

    def run(self, run):
        model, _ = RUNS[run]
        source = {"source": "nights.csv", "sha256": "0" * 64, "dataset": "nights", "options": {}}
        moments = {"created_at": EVENING, "finished_at": EVENING + timedelta(hours=1)}
        self.row(Run, id=run, identity=str(run), model_id=model, label_set_id=1, **source, **moments)
        for number, (*_, scores) in enumerate(SCANS, start=1):
            self.outcome(run, number, scores)

    def outcome(self, run, number, scores):
        outcome, (model, revision) = run * 100 + number, RUNS[run]
        at = AFTERNOON if number == EARLY and run == 1 else EVENING + timedelta(minutes=4 * number)
        rejected = isinstance(scores, str)
        how = {"state": "rejected", "reason": scores, "detail": "x"} if rejected else {"state": "scored"}
        values = {"scan_id": number, "model_id": model, "revision": revision, "attempts": 0, "scored_at": at}
        self.row(Outcome, id=outcome, **values, **how)
        self.row(RunScan, run_id=run, scan_id=number, outcome_id=outcome, reused=at == AFTERNOON)
        if not rejected:
            self.row(Scores, outcome_id=outcome, abnormal=scores[run - 1], effusion=scores[run - 1])


def image(number):
    return f"{number:08d}_000.png"


def rows(connection, query):
    """The rows of a query as floats and texts: PostgreSQL's averages of integers are Decimal."""
    return [
        tuple(value if isinstance(value, str | int | None) else float(value) for value in row)
        for row in connection.execute(text(query))
    ]


def test_the_highest_scoring_scans_of_last_night(ledger):
    """The scan of the afternoon is not last night's; a scan without a label row is unlabelled, not normal."""
    query = example_after("The scans since an evening")
    assert rows(ledger, query)[:3] == [(image(2), "7", 0.9), (image(6), "9", 0.8), (image(11), "11", 0.55)]
    unlabelled = query.replace("ORDER BY", "AND label IS NULL ORDER BY")
    assert rows(ledger, unlabelled) == [(image(6), "9", 0.8)]


def test_the_worst_disagreements(ledger):
    """Scans of patient 7, on which both models were fitted, are not among them."""
    found = rows(ledger, example_after("Held-out scans on which"))
    assert set(found[:2]) == {(image(3), finding, 1, 0.3, None) for finding in ("Abnormal", "Effusion")}
    assert {row[0] for row in found} == {image(number) for number in (3, 4, 5, 11)}


def test_false_negatives_by_view(ledger):
    """Any finding makes a scan abnormal; the model has seen patient 7."""
    assert rows(ledger, example_after("False negatives at 0.5")) == [("AP", 2, 2), ("PA", 1, 1)]


def test_the_agreement_of_runs(ledger):
    """Scans 7 and 11 are positive only in run 1, scan 3 only in run 2, and scan 4 only in run 3."""
    assert rows(ledger, example_after("How far run 1 agrees")) == [
        (1, "first", 8, 0, 0, 0),
        (2, "second", 8, 2, 1, pytest.approx(1.7 / 8)),
        (3, "first", 8, 0, 1, pytest.approx(0.15 / 8)),
    ]


def test_scans_per_hour(ledger):
    """Scans that an earlier run scored do not count."""
    assert rows(ledger, example_after("Scans per hour")) == [("2026-11-23 19", 2), ("2026-11-23 20", 5)]


def test_the_outcomes_by_reason(ledger):
    """Every scan without a score has a reason."""
    found = rows(ledger, example_after("What became of the scans"))
    assert found == [("scored", None, 8), ("rejected", "missing", 2), ("rejected", "truncated", 1)]


def test_the_metrics_across_thresholds(ledger):
    """The counts include labelled, scored scans of all patients but 7."""
    found = rows(ledger, example_after("How good the scores are"))
    assert [row[:2] for row in found] == [(f, t) for f in ("Abnormal", "Effusion") for t in (0.3, 0.4, 0.5, 0.6, 0.7)]
    assert found[1] == ("Abnormal", 0.4, 2, 1, 1, 0, *map(pytest.approx, (2 / 3, 2 / 3, 2 / 3, 0.5)))
    assert found[4] == ("Abnormal", 0.7, 0, 0, 3, 1, None, 0.0, 0.0, 0.25)


def test_the_models_by_area(ledger):
    """The first model orders each pair of scans wrongly, the second rightly."""
    best = rows(ledger, example_after("Which model ranks best"))[0]
    assert (best[:2], best[3:]) == (("Abnormal", 1.0), (3, 1, "second", 2))


def test_the_scans_whose_score_moved(ledger):
    """The score of scan 7 moved most, from 0.6 to 0.1 and back."""
    found = rows(ledger, example_after("Scans whose score changed most"))
    assert (found[0], len(found)) == ((image(7), 3, 0.1, 0.6), 8)


def test_the_greatest_changes_between_visits(ledger):
    """The score rises or falls between two successive visits."""
    changes = [("7", 1, 0.9, 0.8), ("9", 1, 0.8, 0.35), ("9", 2, 0.6, -0.2), ("8", 1, 0.4, 0.1)]
    found = rows(ledger, example_after("Patients whose score changed most"))
    assert found == [(*visit, pytest.approx(change)) for *visit, change in changes]


def test_the_calibration_by_tenths(ledger):
    """Four labelled scans of unseen patients, ordered by score, fall into four tenths."""
    by_score = [(0.3, 1), (0.4, 1), (0.45, 1), (0.55, 0)]
    found = rows(ledger, example_after("Calibration on held-out scans"))
    assert found == [(n, 1, *pair) for n, pair in enumerate(by_score, start=1)]


def test_the_disagreements_of_readers(ledger):
    """The newest review counts: of scan 3 the reader thought better of it."""
    about = {"run_id": 1, "finding": "Effusion", "threshold": 0.5, "comment": "see the lateral", "reviewer": "ada"}
    for scan, verdict in ((3, DISAGREE), (2, DISAGREE), (11, DISAGREE), (3, AGREE)):
        add_review(ledger, scan_id=scan, verdict=verdict, **about)
    query = example_after("The scans on which readers disagree").replace("'demo'", "'first'")
    assert [row[:6] for row in rows(ledger, query)] == [
        (image(2), "Effusion", 0.9, 0.5, "see the lateral", "ada"),
        (image(11), "Effusion", 0.55, 0.5, "see the lateral", "ada"),
    ]


@pytest.fixture
def films(ledger):
    """The scans 6 to 8 are DICOM films in run 3; the last is rejected."""
    for number in (6, 7, 8):
        header = {"sop_instance_uid": f"1.2.{number}", "manufacturer": "Agfa"}
        ledger.execute(update(Scan).where(Scan.id == number).values(header))
    ledger.execute(update(Outcome).where(Outcome.scan_id == 7).values(notes="colour,view_unknown"))
    return ledger


def test_the_films_of_a_night_by_uid(films):
    """Those of the latest run alone, scored or not; run 3 has other scans too, which have no UID."""
    found = rows(films, example_after("What became of the films"))
    assert [row for row in found if row[0]] == [
        ("1.2.6", "scored", None, None, 0.8),
        ("1.2.7", "scored", None, "colour,view_unknown", 0.6),
        ("1.2.8", "rejected", "truncated", None, None),
    ]
    assert len(found) == 11


def test_the_rejected_films_by_device(films):
    """Each run that has the film counts it."""
    assert rows(films, example_after("DICOM films that were rejected")) == [("truncated", "Agfa", 3)]


def test_a_run_without_a_label_set_labels_nothing(ledger):
    """Every label column is NULL, and the run has progress like any other."""
    ledger.execute(update(Run).where(Run.id == 1).values(label_set_id=None))
    assert rows(ledger, "SELECT DISTINCT label, label_set FROM results WHERE run_id = 1") == [(None, None)]
    labels = ", ".join(f"COUNT({column_of(finding)}_label)" for finding in FINDINGS)
    assert rows(ledger, f"SELECT {labels} FROM results_wide WHERE run_id = 1") == [(0,) * 21]
    assert rows(ledger, "SELECT expected, label_set FROM run_progress WHERE run_id = 1") == [(11, None)]


def test_labels_are_those_of_the_runs_own_label_set(ledger):
    """Another label set with other labels for the same scans changes no row."""
    before = rows(ledger, "SELECT scan_id, finding, label FROM results ORDER BY run_id, scan_id, finding")
    put = Put(ledger)
    put.row(LabelSet, id=2, series_id=2, name="later", sha256="1" * 64, imported_at=EVENING)
    for scan in range(1, 12):
        put.row(Label, series_id=2, scan_id=scan, finding="Hernia", since_id=2)
    assert rows(ledger, "SELECT scan_id, finding, label FROM results ORDER BY run_id, scan_id, finding") == before


def test_the_wide_view_has_the_labels_of_the_long_one(ledger):
    """It has them for every finding, scored by the model or not."""
    wide = "SELECT scan_id, abnormal_label, effusion_label, mass_label FROM results_wide WHERE run_id = 1 ORDER BY 1"
    kinds = {None: (None,) * 3, "No Finding": (0, 0, 0), "Effusion": (1, 1, 0), "Mass": (1, 0, 1)}
    assert rows(ledger, wide) == [(n, *kinds[label]) for n, (*_, label, _) in enumerate(SCANS, start=1)]
    long = "SELECT scan_id, label FROM results WHERE run_id = 1 AND finding = 'Effusion' ORDER BY 1"
    assert rows(ledger, long) == [(n, kinds[SCANS[n - 1][3]][1]) for n in (1, 2, 3, 4, 5, 6, 7, 11)]


def test_a_run_whose_scans_are_all_gone_still_has_progress(ledger):
    """All counts are zero, and the time of its cancellation is there."""
    ledger.execute(delete(RunScan).where(RunScan.run_id == 3))
    ledger.execute(update(Run).where(Run.id == 3).values(cancelled_at=EVENING))
    counts = "expected, scored, rejected, quarantined, pending, reused"
    assert rows(ledger, f"SELECT run_id, {counts} FROM run_progress WHERE cancelled_at IS NOT NULL") == [(3, *(0,) * 6)]


@pytest.mark.parametrize("view", VIEWS)
def test_the_documents_name_exactly_the_columns_of_a_view(engine, view):
    """Each column is in the table of that view once."""
    table = re.search(rf"\| column of `{view}` \|.*?\n\n", all_text(), re.DOTALL).group(0)
    cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    real = [column["name"] for column in inspect(engine).get_columns(view)]
    assert sorted(documented) == sorted(real)


def test_every_reason_is_documented():
    """The documents name every reason code that SQL can hold."""
    text = all_text()
    assert [reason for reason in REASONS if f"`{reason}`" not in text] == []
