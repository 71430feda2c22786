"""The ledger of `make demo` without its radiographs and its model: the same names, labels and split, other scores."""

import inspect

import numpy as np

from db.addresses import sqlite_address
from db.close_run import close_finished_runs
from db.engine.session import open_database
from db.labels.csv_file import read_labels_csv
from db.labels.label_row import LabelRow
from db.labels.label_sets import import_labels
from db.ledger.models import UsedScan, register_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Rejected, Scored, pending_of_run, record_outcomes
from db.ledger.reviews import DISAGREE, add_review
from db.ledger.scans import FoundImage, ImageHeader, register_scans
from trainer import cli
from trainer.data.labels import label_matrix, learnable_findings
from trainer.data.split import split_by_patient
from trainer.phantoms.generate import CSV_NAME
from trainer.phantoms.plan import labels_csv, plan_phantoms
from trainer.recipe import make_recipe


def make_demo_ledger(demo):
    """Write the folders `scans` and `home` of a demo, with a finished run; returns the home.

    The ledger also has the demo's night of DICOM, which has a ledger of its own there, and a review, as of a person who
    has looked at a scan.

    Scores are drawn so that they tell findings apart about as well as the demo's model does.
    """
    home, csv = demo / "home", demo / "scans" / CSV_NAME
    home.mkdir(parents=True, mode=0o700)
    csv.parent.mkdir()
    csv.write_bytes(labels_csv(plan_phantoms(patients=_default("patients"), seed=_default("seed"))))
    engine = open_database(sqlite_address(home / "nightread.sqlite"))
    file = read_labels_csv(csv)
    with engine.begin() as connection:
        findings = _register_demo_model(connection, file)
        run, _ = _open_demo_run(connection, file)
        record_outcomes(connection, list(_outcomes(pending_of_run(connection, run), file, findings)))
        _review(connection, run)
        night = _open_dicom_night(connection)
        record_outcomes(connection, list(_film_outcomes(pending_of_run(connection, night), findings)))
    close_finished_runs(engine)
    engine.dispose()
    return home


def _review(connection, run):
    about = {"finding": "Effusion", "threshold": 0.5, "comment": "no fluid to be seen", "reviewer": "reader"}
    add_review(connection, run_id=run, scan_id=1, verdict=DISAGREE, **about)


def _default(flag):
    """What `trainer phantoms` takes if the demo gives no flag."""
    return inspect.signature(cli.phantoms).parameters[flag].default


def _register_demo_model(connection, file):
    recipe = make_recipe("best")
    shares = {"validation_share": recipe.validation_share, "test_share": recipe.test_share}
    split = split_by_patient(file.rows, **shares, seed=recipe.seed)
    subsets = {row.image_name: row.subset for row in split}
    training = [row for row in file.rows if subsets[row.image_name] == "train"]
    findings = learnable_findings(training, covered=file.covered)
    thresholds = {finding: {"best_f1": 0.42, "youden": 0.5} for finding in findings}
    manifest = {"name": "demo", "dataset": file.dataset, "findings": findings, "thresholds": thresholds}
    used = [
        UsedScan(image_name=row.image_name, patient_id=row.patient_id, subset=row.subset, content=_content(row))
        for row in split
    ]
    register_model(connection, sha256="d" * 64, manifest=manifest, used=used)
    return findings


def _open_demo_run(connection, file):
    images = file.path.parent / "images"
    found = {row.image_name: FoundImage(location=str(images / row.image_name)) for row in file.rows}
    lock_for_enqueue(connection)
    ids = register_scans(connection, file.dataset, file.rows, found)
    request = RunRequest(
        source=str(file.path),
        sha256=file.sha256,
        dataset=file.dataset,
        model_id=1,
        label_set_id=import_labels(connection, file, file.rows, ids, file.dataset),
        options={},
    )
    return open_run(connection, request, list(ids.values()))


def _open_dicom_night(connection):
    """A run of six films that no CSV names: one does not say its view, and one is lateral."""
    views = ("PA", "PA", "AP", "AP", None, "LATERAL")
    headers = [
        ImageHeader(
            sop_instance_uid=f"2.25.{number}",
            patient_id=f"D{number}",
            view=view,
            manufacturer="FUJIFILM Corporation",
            transfer_syntax="1.2.840.10008.1.2.1",
        )
        for number, view in enumerate(views, start=1)
    ]
    rows = [
        LabelRow(
            image_name=header.sop_instance_uid,
            findings=(),
            patient_id=header.patient_id,
            view=header.view,
            sex=None,
            age_years=None,
            follow_up=None,
        )
        for header in headers
    ]
    found = {
        header.sop_instance_uid: FoundImage(location=f"/pacs/IM{number:04}", header=header)
        for number, header in enumerate(headers, start=1)
    }
    ids = register_scans(connection, "pacs", rows, found)
    request = RunRequest(
        source="/pacs", sha256="d" * 64, dataset="pacs", model_id=1, label_set_id=None, options={"images": "/pacs"}
    )
    return open_run(connection, request, list(ids.values()))[0]


def _film_outcomes(pending, findings):
    """The films' outcomes; `pending` is in the order of their UIDs."""
    *scored, lateral = pending
    for number, scan in enumerate(scored, start=1):
        how = {"content": f"sha256:film {number}", "runtime": "keras-tensorflow", "precision": "float32"}
        notes = ("view_unknown",) if scan is scored[-1] else ()
        yield Scored(outcome_id=scan.outcome_id, scores=dict.fromkeys(findings, number / 10), notes=notes, **how)
    detail = "the DICOM image is a lateral view, and the model was fitted on frontal views alone"
    yield Rejected(outcome_id=lateral.outcome_id, reason="view", detail=detail)


def _outcomes(pending, file, findings):
    """A scored outcome for each scan; `pending` is in the order of the file's rows."""
    rng = np.random.default_rng(0)
    labels = label_matrix(file.rows, findings, covered=file.covered)
    scores = 1 / (1 + np.exp(-rng.normal(2 * labels - 1, 1)))
    for scan, row, values in zip(pending, file.rows, scores.tolist(), strict=True):
        by_finding = dict(zip(findings, values, strict=True))
        how = {"content": _content(row), "runtime": "keras-tensorflow", "precision": "float32"}
        yield Scored(outcome_id=scan.outcome_id, scores=by_finding, **how)


def _content(row):
    return f"sha256:{row.image_name}"
