"""The aggregator and the report on real databases: which scans count, and what is said about the others."""

import csv
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update

from db.errors import UserError
from db.findings import column_of
from db.ledger.runs import nothing_pending
from db.metrics.aggregate import aggregate
from db.metrics.report_queries import read_coverage
from db.metrics.scored_scans import ALL, HELD_OUT, SUBSETS, read_scored_scans
from db.schema.tables import (
    PENDING,
    REJECTED,
    SCORED,
    UNCERTAIN,
    Label,
    LabelSet,
    Model,
    ModelScan,
    Outcome,
    Run,
    RunFindingMetric,
    RunScan,
    RunThresholdMetric,
    Scan,
    Scores,
)
from producer.report.sentences import headline
from producer.report.table import print_report
from producer.report.write import write_report
from producer.results_export import export_run

RUN = MODEL = LABELS = 1
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scan of the run, with its labels and its score."""

    #: None means unlabelled.
    findings: Sequence[str] | None = ("No Finding",)
    #: The score of `Abnormal` and of `Mass`; None means not scored.
    score: float | None = 0.1
    state: str = SCORED
    reason: str | None = None
    image: str | None = None
    patient: str | None = None
    dataset: str = "renamed"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A scan that the model was fitted on."""

    image: str
    patient: str | None = None
    subset: str = "train"


def fill(connection: Connection, cases: Sequence[Case], fitted: Sequence[Fitted] = (), **run: Any) -> None:
    """Insert one run of these scans, with ascending ids from 1; the model was fitted on dataset `nih`."""
    manifest = {"findings": ["Abnormal", "Mass"]}
    model = {"id": MODEL, "sha256": "ab" * 32, "name": "first", "manifest": manifest, "active": True}
    connection.execute(insert(Model), [model | {"registered_at": LONG_AGO}])
    connection.execute(insert(LabelSet), [_label_set(LABELS, "2017")])
    row = {"id": RUN, "identity": "1", "source": "s.csv", "sha256": "0" * 64, "dataset": "renamed", "options": {}}
    connection.execute(insert(Run), [row | {"model_id": MODEL, "label_set_id": LABELS, "created_at": LONG_AGO, **run}])
    for number, case in enumerate(cases, start=1):
        add(connection, number, case)
    for one in fitted:
        values = {"dataset": "nih", "image_name": one.image, "patient_id": one.patient, "subset": one.subset}
        connection.execute(insert(ModelScan), [values | {"model_id": MODEL}])


def add(connection: Connection, number: int, case: Case, *, in_run: bool = True) -> None:
    """Insert one scan, and add it to the run."""
    image = case.image or f"scan{number}.png"
    scan = {"id": number, "dataset": case.dataset, "image_name": image, "patient_id": case.patient}
    connection.execute(insert(Scan), [scan])
    if not in_run:
        return
    done = None if case.state == PENDING else LONG_AGO
    outcome = {"id": number, "scan_id": number, "model_id": MODEL, "revision": 1, "attempts": 0, "scored_at": done}
    connection.execute(insert(Outcome), [outcome | {"state": case.state, "reason": case.reason}])
    connection.execute(insert(RunScan), [{"run_id": RUN, "scan_id": number, "outcome_id": number, "reused": False}])
    if case.state == SCORED:
        scores = {column_of(finding): case.score for finding in ("Abnormal", "Mass")}
        connection.execute(insert(Scores), [{"outcome_id": number, **scores}])
    for finding in case.findings or ():
        label = {"series_id": LABELS, "scan_id": number, "finding": finding, "since_id": LABELS}
        connection.execute(insert(Label), [label])


def _label_set(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "series_id": number, "name": name, "sha256": str(number) * 64, "imported_at": LONG_AGO}


def stored(connection: Connection, finding: str = "Abnormal", subset: str = ALL) -> dict[tuple[str, float], Any]:
    """The run's rows by (chosen by, threshold)."""
    table = RunThresholdMetric.__table__
    rows = connection.execute(select(table).where(table.c.finding == finding, table.c.subset == subset))
    return {(row.chosen_by, row.threshold): row for row in rows}


def counts(row: Any) -> tuple[int, int, int, int]:
    """TP, FP, FN, TN."""
    return row.tp, row.fp, row.fn, row.tn


MIXED = (
    Case(findings=("Mass", "Edema"), score=0.9),
    Case(findings=("Edema",), score=0.5),
    Case(findings=("Hernia",), score=0.2),
    Case(score=0.7),
    Case(score=0.1),
    Case(findings=None, score=0.99),
    Case(findings=("Mass",), score=None, state=REJECTED, reason="truncated"),
)


def test_abnormal_is_any_of_the_fourteen_and_mass_only_mass(engine: Engine) -> None:
    """Edema makes a scan abnormal, but is not a mass; a score at the threshold counts as positive."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        aggregate(connection, RUN)
        assert counts(stored(connection)["given", 0.5]) == (2, 1, 1, 1)
        assert counts(stored(connection, "Mass")["given", 0.5]) == (1, 2, 0, 2)


def test_a_scan_without_a_label_row_is_in_no_metric_and_is_counted_separately(engine: Engine) -> None:
    """Unlabelled is not normal."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        aggregate(connection, RUN)
        assert sum(counts(stored(connection)["given", 0.3])) == 5
        coverage = read_coverage(connection, RUN, read_scored_scans(connection, RUN, LABELS), LABELS, HELD_OUT)
    assert (coverage.scored, coverage.unlabelled, coverage.used) == (6, 1, 5)
    assert coverage.rejected == {"truncated": 1}
    assert coverage.expected == coverage.scored + coverage.rejections + coverage.quarantined + coverage.pending


def test_scored_scans_are_counted_by_runtime_and_precision(engine: Engine) -> None:
    """One runtime may have two precisions; the rejected scan has neither."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        connection.execute(update(Outcome).where(Outcome.state == SCORED).values(runtime="r 1", precision="int8"))
        connection.execute(update(Outcome).where(Outcome.id == 1).values(precision="float32"))
        coverage = read_coverage(connection, RUN, read_scored_scans(connection, RUN, LABELS), LABELS, HELD_OUT)
    assert coverage.runtimes == {"r 1 float32": 1, "r 1 int8": 5}


def test_scored_scans_that_share_their_bytes_are_counted(engine: Engine) -> None:
    """Each scan of a pair counts; the rejected scan, and those whose bytes are not known, do not."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        for content, scans in (("sha256:a", (1, 2, 7)), ("sha256:b", (3,)), ("sha256:c", (4, 5))):
            connection.execute(update(Outcome).where(Outcome.id.in_(scans)).values(content=content))
        coverage = read_coverage(connection, RUN, read_scored_scans(connection, RUN, LABELS), LABELS, HELD_OUT)
    assert coverage.duplicates == 4


def test_thresholds_are_the_given_and_the_two_chosen_ones(engine: Engine) -> None:
    """At 0.2 F1 is 6/7; Youden's index is 1/2 there too, and nowhere more."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        aggregate(connection, RUN, thresholds=(0.25, 0.25, 0.8))
        rows = stored(connection)
    assert set(rows) == {("given", 0.25), ("given", 0.8), ("best_f1", 0.2), ("youden", 0.2)}
    assert rows["best_f1", 0.2].f1 == pytest.approx(6 / 7)


def test_undefined_is_null_in_sql(engine: Engine) -> None:
    """Without a positive label, recall and AUROC are undefined, and no threshold is chosen."""
    with engine.begin() as connection:
        fill(connection, [Case(score=0.1), Case(score=0.2)])
        aggregate(connection, RUN)
        row = stored(connection)["given", 0.5]
        assert (row.precision, row.recall, row.f1, row.specificity) == (None, None, None, 1.0)
        assert {chosen_by for chosen_by, _ in stored(connection)} == {"given"}
        assert set(connection.execute(select(RunFindingMetric.auroc)).scalars()) == {None}


def test_the_stored_metrics_equal_scikit_learns_on_the_same_scans(engine: Engine) -> None:
    """The areas of both subsets are compared on a hundred scans with ties, some of them seen or unlabelled."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    draws = np.random.default_rng(0).integers(0, 10, (100, 3)).tolist()
    kinds = {0: None, 1: ("Mass",), 2: ("Mass", "Edema"), 3: ("Hernia",)}
    cases = [Case(findings=kinds.get(kind, ("No Finding",)), score=score / 10) for kind, score, _ in draws]
    fitted = [Fitted(image=f"scan{n}.png") for n, (_, _, use) in enumerate(draws, start=1) if use < 3]
    seen = {one.image for one in fitted}
    with engine.begin() as connection:
        fill(connection, cases, fitted)
        aggregate(connection, RUN)
        for subset in SUBSETS:
            used = [
                case
                for number, case in enumerate(cases, start=1)
                if case.findings and (subset == ALL or f"scan{number}.png" not in seen)
            ]
            labels, scores = ["Mass" in (case.findings or ()) for case in used], [case.score for case in used]
            row = connection.execute(
                select(RunFindingMetric.auroc, RunFindingMetric.average_precision, RunFindingMetric.positives).where(
                    RunFindingMetric.finding == "Mass", RunFindingMetric.subset == subset
                )
            ).one()
            oracle = (roc_auc_score(labels, scores), average_precision_score(labels, scores), sum(labels))
            assert tuple(row) == pytest.approx(oracle)


def test_a_finding_counts_only_the_scans_of_which_its_label_is_known(engine: Engine, tmp_path: Path) -> None:
    """An uncertain label is neither positive nor negative; what is known of the same scan's other findings counts."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        for scan, finding in ((1, "Mass"), (2, "Edema")):
            unsure = update(Label).where(Label.scan_id == scan, Label.finding == finding).values(value=UNCERTAIN)
            connection.execute(unsure)
        aggregate(connection, RUN)
        assert counts(stored(connection, "Mass")["given", 0.5]) == (0, 2, 0, 2)
        assert counts(stored(connection)["given", 0.5]) == (1, 1, 1, 1)
        report = write_report(connection, RUN, tmp_path)
    assert " for Abnormal on 4 " in headline(report)


def test_a_finding_of_which_the_label_set_says_nothing_has_no_metrics(engine: Engine, tmp_path: Path) -> None:
    """Zeros would look like a measurement; the run is closed once all the same, and has a report."""
    with engine.begin() as connection:
        fill(connection, [Case(findings=("Fracture",), score=0.9)], finished_at=LONG_AGO)
        connection.execute(update(LabelSet).values(covered="Fracture"))
        assert nothing_pending(connection) == [RUN]
        aggregate(connection, RUN)
        assert nothing_pending(connection) == []
        assert connection.execute(select(RunFindingMetric.finding)).all() == []
        report = write_report(connection, RUN, tmp_path)
    assert (report.evaluation.findings, report.main, report.finding) == ({}, None, "Abnormal")
    assert "says of no scan" in headline(report)
    print_report(report)


def test_the_main_finding_is_one_that_the_label_set_judges(engine: Engine, tmp_path: Path) -> None:
    """Labels of masses alone do not tell whether a scan is abnormal in any way, and the report is about masses."""
    with engine.begin() as connection:
        fill(connection, [Case(findings=()), Case(findings=(), score=0.9)])
        connection.execute(update(LabelSet).values(covered=""))
        rows = [{"scan_id": n, "finding": "Mass", "series_id": LABELS, "since_id": LABELS, "value": 0} for n in (1, 2)]
        connection.execute(insert(Label), rows)
        aggregate(connection, RUN)
        report = write_report(connection, RUN, tmp_path)
        assert [(name, one.figures.negatives) for name, one in report.evaluation.findings.items()] == [("Mass", 2)]
        assert report.finding == "Mass"
        assert set(connection.execute(select(RunFindingMetric.finding)).scalars()) == {"Mass"}


def test_the_exports_held_out_scans_give_the_reports_auroc(engine: Engine, tmp_path: Path) -> None:
    """The export holds the scans that the model was fitted on too; a column tells them apart by the report's rule."""
    from sklearn.metrics import roc_auc_score

    cases, fitted = [Case(findings=None, score=0.5, patient="77")], []
    for n, (score, use) in enumerate(np.random.default_rng(1).integers(0, 10, (60, 2)).tolist()):
        has_mass, is_fitted, patient = n % 3 > 0, use < 4, str(n // 2)
        # The model knows by heart what it was fitted on.
        shown = float(has_mass) if is_fitted else score / 10
        cases.append(Case(findings=("Mass",) if has_mass else ("No Finding",), score=shown, patient=patient))
        fitted += [Fitted(image=f"scan{len(cases)}.png", patient=patient)] if is_fitted else []
    with engine.begin() as connection:
        fill(connection, cases, fitted)
        aggregate(connection, RUN)
        export_run(connection, RUN, tmp_path / "run.csv", export_format="csv", wide=False)
        report = write_report(connection, RUN, tmp_path / "report")
    with (tmp_path / "run.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["finding"] == "Mass" and row["label"]]
    held_out = [row for row in rows if row["held_out"] == "1"]
    areas = [
        roc_auc_score([int(r["label"]) for r in some], [float(r["score"]) for r in some]) for some in (rows, held_out)
    ]
    assert areas[1] == pytest.approx(report.evaluation.findings["Mass"].figures.auroc.value)
    assert areas[0] > areas[1] + 0.05
    assert len(held_out) == report.coverage.used


def test_held_out_is_null_where_it_cannot_be_told(engine: Engine) -> None:
    """Without a patient id, or before the run is closed; a scan that the model was fitted on is never held out."""

    def shown() -> list[int | None]:
        query = text("SELECT DISTINCT image_name, held_out FROM results ORDER BY image_name")
        return [held_out for _, held_out in connection.execute(query)]

    with engine.begin() as connection:
        fill(connection, [Case(image="a.png"), Case(image="b.png")], [Fitted(image="a.png", patient="7")])
        assert shown() == [None, None]
        aggregate(connection, RUN)
        assert shown() == [0, None]
        connection.execute(update(Scan).where(Scan.id == 2).values(patient_id="8"))
        aggregate(connection, RUN)
        assert shown() == [0, 1]


def test_aggregating_twice_leaves_one_set_of_rows_and_other_runs_alone(engine: Engine) -> None:
    """Only the rows of this run are replaced."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        aggregate(connection, RUN)
        other = {"id": 2, "identity": "2", "source": "s", "sha256": "1" * 64, "dataset": "s", "options": {}}
        other |= {"model_id": MODEL, "label_set_id": LABELS, "created_at": LONG_AGO}
        connection.execute(insert(Run), [other])
        aggregate(connection, 2)
        keys = (RunThresholdMetric.run_id, RunThresholdMetric.subset, RunThresholdMetric.finding)
        query = select(*keys, RunThresholdMetric.threshold, RunThresholdMetric.tp)
        once = sorted(connection.execute(query).all())
        aggregate(connection, RUN)
        assert sorted(connection.execute(query).all()) == once
        assert {row.run_id for row in once} == {RUN, 2}


def test_a_run_that_was_pruned_meanwhile_has_no_metrics(engine: Engine) -> None:
    """A caller that is about to compute them, for a run that closed or lost a patient, finds the run gone."""
    with engine.begin() as connection:
        assert not aggregate(connection, 4711)


def test_two_aggregators_at_once_wait_for_each_other(engine: Engine) -> None:
    """The last two workers may both close a run; neither fails, and the rows exist once."""
    with engine.begin() as connection:
        fill(connection, MIXED)

    def once(_: int) -> None:
        with engine.begin() as connection:
            aggregate(connection, RUN)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(once, range(8)))
    with engine.begin() as connection:
        assert len(stored(connection)) == 7


def test_a_seen_scan_takes_its_patient_along_in_a_renamed_dataset(engine: Engine) -> None:
    """A fitted scan, in the run or not, makes the other scans of its patient seen; both kinds are counted."""
    with engine.begin() as connection:
        cases = [
            Case(image="a.png", patient="7"),
            Case(image="b.png", patient="7"),
            Case(image="c.png", patient="8"),
            Case(image="d.png", patient="9"),
        ]
        fill(connection, cases, [Fitted(image="a.png", patient="7"), Fitted(image="e.png", patient="8")])
        add(connection, 5, Case(image="e.png", patient="8"), in_run=False)
        scored = read_scored_scans(connection, RUN, LABELS)
        coverage = read_coverage(connection, RUN, scored, LABELS, HELD_OUT)
    assert scored.seen_itself.tolist() == [True, False, False, False]
    assert scored.seen_patient.tolist() == [False, True, True, False]
    assert (coverage.seen_itself, coverage.seen_patient, coverage.used) == (1, 2, 1)


def test_held_out_metrics_exclude_seen_scans_and_all_include_them(engine: Engine) -> None:
    """A run has the metrics of both subsets, each under its name."""
    with engine.begin() as connection:
        fill(connection, MIXED, [Fitted(image="scan1.png")])
        aggregate(connection, RUN)
        assert counts(stored(connection, subset=HELD_OUT)["given", 0.5]) == (1, 1, 1, 1)
        assert counts(stored(connection, subset=ALL)["given", 0.5]) == (2, 1, 1, 1)


def test_a_run_without_a_label_set_has_no_metrics_but_a_report(engine: Engine, tmp_path: Path) -> None:
    """The report still has scores, coverage, a worklist, and what to do next; its JSON names no image."""
    with engine.begin() as connection:
        fill(connection, MIXED, label_set_id=None)
        assert not aggregate(connection, RUN)
        report = write_report(connection, RUN, tmp_path / "out")
    assert (report.label_set, report.evaluation, report.main, report.clusters) == (None, None, None, None)
    assert report.coverage.used == 6
    assert report.spread is not None
    assert [row.scan_id for row in report.worklist] == [6, 1, 4, 2, 3, 5]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "report.json", "thresholds.csv"}
    assert "scan6.png" not in (tmp_path / "out" / "report.json").read_text()


def test_a_missing_score_raises(engine: Engine) -> None:
    """The model scores Mass, so an outcome without that score is a bug, not one scan fewer."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        connection.execute(update(Scores).where(Scores.outcome_id == 2).values(mass=None))
        with pytest.raises(ValueError, match="scan 2 has no score for Mass"):
            aggregate(connection, RUN)


def test_a_report_says_what_it_is_of_and_names_no_scan_or_patient(engine: Engine, tmp_path: Path) -> None:
    """It names run, model, label set and subset, but no image and no patient."""
    cases = [Case(findings=case.findings, score=case.score, image=f"0000471{n}_000.png", patient=f"9471{n}",
                  state=case.state, reason=case.reason) for n, case in enumerate(MIXED)]  # fmt: skip
    with engine.begin() as connection:
        fill(connection, cases, [Fitted(image="another.png", patient="1")])
        write_report(connection, RUN, tmp_path)
    page, report = (tmp_path / "index.html").read_text(), json.loads((tmp_path / "report.json").read_text())
    for words in ("Run 1", "first", "abababababab", "2017", "held-out", "Not a medical device"):
        assert words in page
    assert (report["run_id"], report["model_sha256"], report["label_set"]) == (1, "ab" * 32, "2017")
    with (tmp_path / "thresholds.csv").open(newline="") as file:
        assert {row["subset"] for row in csv.DictReader(file)} == {"held_out"}
    everything = page + json.dumps(report) + (tmp_path / "thresholds.csv").read_text()
    assert "0000471" not in everything
    assert "9471" not in everything


def test_an_unfinished_run_is_refused_unless_partial_and_then_marked(engine: Engine, tmp_path: Path) -> None:
    """The refusal is one sentence with a remedy; each file of a partial report says that it is partial."""
    with engine.begin() as connection:
        fill(connection, [*MIXED, Case(state=PENDING)])
        with pytest.raises(UserError, match="1 of 8 scans are pending; wait for it with 'producer status --watch'"):
            write_report(connection, RUN, tmp_path)
        assert list(tmp_path.glob("*.html")) == []
        assert write_report(connection, RUN, tmp_path, partial=True).is_partial
    assert "PARTIAL" in (tmp_path / "index.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["is_partial"] is True


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [({"label_set": "2031"}, "no label set '2031'; there are: 2017"), ({"subset": "test"}, "no subset 'test'")],
)
def test_an_unknown_label_set_or_subset_is_refused_in_one_sentence(
    engine: Engine, tmp_path: Path, asked: dict[str, Any], sentence: str
) -> None:
    """The sentence names the ones that exist."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        with pytest.raises(UserError, match=sentence):
            write_report(connection, RUN, tmp_path, **asked)


def test_labels_of_other_scans_make_no_report(engine: Engine, tmp_path: Path) -> None:
    """A label set that labels no scored scan of the run is refused; a table of zeros would look like metrics."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        connection.execute(insert(LabelSet), [_label_set(LABELS + 1, "elsewhere")])
        with pytest.raises(UserError, match="'elsewhere' labels none of the"):
            write_report(connection, RUN, tmp_path, label_set="elsewhere")


def test_names_are_text_not_markup(engine: Engine, tmp_path: Path) -> None:
    """A model's name may hold text that HTML would read as markup."""
    with engine.begin() as connection:
        fill(connection, MIXED)
        connection.execute(update(Model).values(name=r"<b>$\frac$[red]"))
        write_report(connection, RUN, tmp_path)
    assert r"&lt;b&gt;$\frac$[red]" in (tmp_path / "index.html").read_text()
