"""The same scores and labels have the same figures in a run's report and in `trainer evaluate`, digit for digit."""

import json

import numpy as np
import pytest

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.labels.csv_file import read_labels_csv
from db.labels.label_sets import import_labels
from db.ledger.models import UsedScan, register_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Scored, pending_of_run, record_outcomes
from db.ledger.scans import FoundImage, ImageHeader, register_scans
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import build_report
from producer.report.files import to_json
from trainer.data.labels import label_matrix, labelled_rows
from trainer.data.training_data import LabelledImages
from trainer.evaluation.evaluate_artifact import EvaluationContext, evaluation_json
from trainer.evaluation.evaluator import MEAN_PIXEL, evaluate_scores, make_cohort

FINDINGS = ("Effusion", "Mass")
MANIFEST = {
    "name": "m",
    "dataset": "other",
    "findings": list(FINDINGS),
    "thresholds": {"Effusion": {"youden": 0.4217, "best_f1": 0.35}},
}
SCANS = 240
#: The model was fitted on this scan, so its patient is in no figure.
SEEN = "003.png"
SEEN_PATIENT = "7"


@pytest.fixture
def scans(tmp_path):
    """A CSV with known and unknown labels, scans without a patient or view, and some DICOM headers."""
    rng = np.random.default_rng(0)
    # In the order of their names, in which a producer registers them: sums have the same last digits only in one order.
    lines = ["Image Index,Patient ID,View Position,Patient Gender,Patient Age,Effusion,Mass"]
    for number in range(SCANS):
        patient = "" if rng.random() < 0.1 else rng.integers(1, 80)
        patient = SEEN_PATIENT if f"{number:03}.png" == SEEN else patient
        view, sex = rng.choice(["PA", "ap", "Smith", ""]), rng.choice(["F", "Female", "M", "O", ""])
        effusion, mass = rng.choice(["1", "0", "-1", ""], p=[0.3, 0.5, 0.1, 0.1]), rng.choice(["1", "0", ""])
        lines.append(f"{number:03}.png,{patient},{view},{sex},{rng.integers(1, 95)},{effusion},{mass}")
    csv = tmp_path / "films.csv"
    csv.write_text("\n".join(lines))
    file = read_labels_csv(csv)
    found = {
        row.image_name: FoundImage(
            location=f"/x/{row.image_name}", header=ImageHeader(manufacturer="Acme") if number % 3 else None
        )
        for number, row in enumerate(file.rows)
    }
    return LabelledImages(file=file, found=found, image_names={})


@pytest.fixture
def scores(scans):
    """float32, as a model gives them."""
    rng = np.random.default_rng(1)
    labels = label_matrix(scans.file.rows, FINDINGS, covered=scans.file.covered)
    return (0.2 * np.nan_to_num(labels) + 0.8 * rng.random((SCANS, 2))).astype(np.float32)


def score_in_a_run(engine, scans, scores):
    """Register, label and score the scans as a producer and a worker do; returns the run."""
    file = scans.file
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        used = [UsedScan(image_name=SEEN, patient_id=SEEN_PATIENT, subset="train")]
        model = register_model(connection, sha256="m" * 64, manifest=MANIFEST | {"dataset": file.dataset}, used=used)
        ids = register_scans(connection, file.dataset, file.rows, scans.found)
        request = RunRequest(
            source="films.csv",
            sha256=file.sha256,
            dataset=file.dataset,
            model_id=model.id,
            label_set_id=import_labels(connection, file, file.rows, ids, file.dataset),
            options={},
        )
        run, _ = open_run(connection, request, list(ids.values()))
        by_scan = {ids[row.image_name]: of_row for row, of_row in zip(file.rows, scores, strict=True)}
        outcomes = [
            Scored(
                outcome_id=scan.outcome_id,
                scores={finding: float(score) for finding, score in zip(FINDINGS, by_scan[scan.scan_id], strict=True)},
                content="sha256:x",
                runtime="keras",
                precision="float32",
            )
            for scan in pending_of_run(connection, run)
        ]
        record_outcomes(connection, outcomes)
    close_finished_runs(engine)
    return run


def evaluation_of_run(engine, run):
    with read_transaction(engine) as connection:
        report, _ = build_report(connection, run, partial=False, label_set=None, subset=HELD_OUT)
    return json.loads(to_json(report))["evaluation"]


def evaluation_of_trainer(scans, scores):
    """What `evaluation.json` has, apart from the baseline of pixels, which SQL does not hold."""
    file = scans.file
    score_of = {row.image_name: of_row for row, of_row in zip(file.rows, scores, strict=True)}
    rows = [row for row in labelled_rows(file.rows) if row.patient_id != SEEN_PATIENT]
    cohort = make_cohort(
        rows,
        label_matrix(rows, FINDINGS, covered=file.covered),
        np.array([score_of[row.image_name] for row in rows]),
        findings=FINDINGS,
        manufacturers=scans.manufacturers,
    )
    evaluation = evaluate_scores(cohort, MANIFEST["thresholds"], np.zeros(len(rows)))
    context = EvaluationContext(
        model="m",
        model_sha256="m" * 64,
        dataset=file.dataset,
        labels_sha256=file.sha256,
        subset="unseen",
        seen=0,
        held_out_note=None,
        unreadable={},
    )
    written = json.loads(evaluation_json(context, evaluation))["evaluation"]
    for finding in written["findings"].values():
        del finding["baselines"][MEAN_PIXEL]
    return written


def test_a_run_and_the_trainer_have_the_same_figures(engine, scans, scores):
    """Of all findings, thresholds, groups and baselines, on the scans that the model has not seen."""
    of_run = evaluation_of_run(engine, score_in_a_run(engine, scans, scores))
    assert of_run == evaluation_of_trainer(scans, scores)
    effusion = of_run["findings"]["Effusion"]
    assert effusion["figures"]["auroc"]["low"] is not None
    assert [at["chosen_by"] for at in effusion["thresholds"][-2:]] == ["youden", "best_f1"]
    assert set(effusion["groups"]) == {"view", "sex", "age", "manufacturer"}
    assert list(effusion["groups"]["view"]) == ["PA", "AP", "other", "unknown"]
    assert list(effusion["groups"]["sex"]) == ["F", "M", "other", "unknown"]
    assert set(effusion["baselines"]) == {"always_positive", "majority", "view_only", "metadata_only"}


def test_one_other_score_gives_other_figures(engine, scans, scores):
    """The comparison sees the least change of one scan."""
    run = score_in_a_run(engine, scans, scores)
    moved = scores.copy()
    at = next(number for number, row in enumerate(scans.file.rows) if "Effusion" in row.findings)
    moved[at, 0] = np.nextafter(moved[at, 0], np.float32(1))
    assert evaluation_of_run(engine, run) != evaluation_of_trainer(scans, moved)
