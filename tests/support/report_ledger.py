"""A ledger with one finished run that has all that a report shows, of any size.

It has patients with several scans, unknown labels, groups and rejects. Every other score lies on a hundredth, so that
thresholds of the report's page lie on scores. Nothing in it is real.
"""

from dataclasses import dataclass

import numpy as np

from db.close_run import close_finished_runs
from db.engine.session import open_database
from db.findings import ABNORMAL, NIH_FINDINGS, NO_FINDING
from db.labels.csv_file import LabelRow, LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.models import UsedScan, register_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Rejected, Scored, pending_of_run, record_outcomes
from db.ledger.scans import FoundImage, ImageHeader, register_scans

#: The share of AP films that have a finding is this many times that of PA films.
_AP_FACTOR = 2.5
_SCANS_PER_STATEMENT = 4_000


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """The size of the run and its names, which may be hostile. The model was fitted on the first `fitted` scans."""

    scans: int = 300
    patients: int = 110
    fitted: int = 12
    #: Of the model; `Abnormal` among them.
    findings: tuple = (ABNORMAL, "Effusion", "Hernia", "Pneumothorax")
    labelled: bool = True
    dataset: str = "nights"
    model: str = "densenet"
    #: Of each image, before its number.
    image_prefix: str = "film"
    manufacturers: tuple = ("FUJIFILM Corporation", None)
    #: The model's own, of each finding.
    thresholds: tuple = (("best_f1", 0.35), ("youden", 0.2471))
    #: Nobody knows which other scans the model was fitted on.
    fitted_scans_unknown: bool = False

    def name(self, number):
        return f"{self.image_prefix}_{number:08d}.png"


def make_report_ledger(url, run):
    """Write the ledger; the run's id is 1."""
    engine = open_database(url)
    rng = np.random.default_rng(0)
    rows, found = _rows(run, rng), {}
    for number, row in enumerate(rows):
        header = ImageHeader(manufacturer=run.manufacturers[number // 3 % len(run.manufacturers)])
        found[row.image_name] = FoundImage(location=f"/films/{number}", header=header)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        model = register_model(connection, sha256="d" * 64, manifest=_manifest(run), used=_used(run, rows))
        ids = register_scans(connection, run.dataset, rows, found)
        file = LabelsFile(path=f"/films/{run.dataset}.csv", sha256="a" * 64, dataset=run.dataset, rows=rows)
        request = RunRequest(
            source="films.csv",
            sha256="a" * 64,
            dataset=run.dataset,
            model_id=model.id,
            label_set_id=import_labels(connection, file, rows, ids, run.dataset) if run.labelled else None,
            options={},
        )
        opened, _ = open_run(connection, request, list(ids.values()))
        outcomes = list(_outcomes(run, rows, pending_of_run(connection, opened), rng))
        for start in range(0, len(outcomes), _SCANS_PER_STATEMENT):
            record_outcomes(connection, outcomes[start : start + _SCANS_PER_STATEMENT])
    close_finished_runs(engine)
    engine.dispose()


def _manifest(run):
    chosen = {finding: dict(run.thresholds) for finding in run.findings}
    about = {"fitted_scans": "unknown"} if run.fitted_scans_unknown else {}
    names = {"name": run.model, "dataset": run.dataset, "findings": list(run.findings)}
    return names | {"thresholds": chosen, "about": about}


def _used(run, rows):
    return [
        UsedScan(image_name=row.image_name, patient_id=row.patient_id, subset="train") for row in rows[: run.fitted]
    ]


def _rows(run, rng):
    """One row for each scan: 3% have no label, 5% an uncertain one; of 4% view, sex and age are unknown."""
    patients = _patients(run, rng)
    views, sexes = (
        rng.choice(["PA", "AP", "LATERAL"], run.scans, p=[0.58, 0.38, 0.04]),
        rng.choice(["F", "M"], run.patients),
    )
    ages, frail = rng.integers(1, 95, run.patients), rng.normal(0, 0.8, run.patients)
    kinds = rng.random((run.scans, 2))
    specific = [finding for finding in NIH_FINDINGS if finding in run.findings]
    common = np.geomspace(0.14, 0.03, len(specific))
    chance = common * np.exp(frail[patients])[:, None] * np.where(views == "AP", _AP_FACTOR, 1)[:, None]
    present = rng.random(chance.shape) < chance
    return tuple(
        _row(
            run.name(number),
            known=bool(kinds[number, 0] > 0.04),
            labelled=bool(kinds[number, 1] > 0.03),
            uncertain=specific[number % len(specific)] if kinds[number, 1] > 0.95 else None,
            present=[finding for finding, has_it in zip(specific, present[number], strict=True) if has_it],
            about=(str(patient), str(views[number]), str(sexes[patient]), float(ages[patient])),
        )
        for number, patient in enumerate(patients.tolist())
    )


def _row(name, *, known, labelled, uncertain, present, about):
    patient, view, sex, age = about
    findings = tuple(finding for finding in present if finding != uncertain) or (() if uncertain else (NO_FINDING,))
    return LabelRow(
        image_name=name,
        findings=findings if labelled else (),
        uncertain=(uncertain,) if labelled and uncertain else (),
        patient_id=patient,
        view=view if known else None,
        sex=sex if known else None,
        age_years=age if known else None,
        follow_up=None,
    )


def _patients(run, rng):
    """(scans,) the patient of each scan: everyone has one scan, and few have many, as in NIH's set."""
    more = rng.exponential(run.patients / 4, run.scans - run.patients).astype(int) % run.patients
    return np.sort(np.concatenate([np.arange(run.patients), more]))


def _outcomes(run, rows, pending, rng):
    """One outcome for each scan, in the order of the rows; one in 50 is rejected."""
    judged = [
        [finding in row.findings or (finding == ABNORMAL and row.findings != (NO_FINDING,)) for finding in run.findings]
        for row in rows
    ]
    scores = 1 / (1 + np.exp(-rng.normal(np.where(judged, 0.2, -1.6), 1.1)))
    scores[::2] = np.round(scores[::2] * 100) / 100
    for number, (scan, values) in enumerate(zip(pending, scores.tolist(), strict=True)):
        if number % 50 == 49:
            yield Rejected(outcome_id=scan.outcome_id, reason="truncated", detail="the image ends early")
            continue
        how = {"content": f"sha256:{number}", "runtime": "openvino", "precision": "bfloat16"}
        yield Scored(outcome_id=scan.outcome_id, scores=dict(zip(run.findings, values, strict=True)), **how)
