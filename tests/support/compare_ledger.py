"""A ledger with runs to compare: two models, two label sets, rejects that differ, and scans that either has seen.

Nothing in it is real.
"""

import numpy as np

from db.close_run import close_finished_runs
from db.findings import ABNORMAL, NO_FINDING
from db.labels.csv_file import LabelRow, LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.models import UsedScan, register_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Rejected, Scored, pending_of_run, record_outcomes
from db.ledger.scans import FoundImage, register_scans

#: Runs. The first two are of one source, each with a model and a label set of its own. The third has the second one's
#: outcomes and no label set; the fourth has other scans.
FIRST, SECOND, REUSED, ELSEWHERE = 1, 2, 3, 4
SCANS = 240
#: By model, in the order of their registration.
FINDINGS = ((ABNORMAL, "Effusion", "Hernia"), ("Effusion", "Mass", ABNORMAL))
SHARED = (ABNORMAL, "Effusion")
THRESHOLDS = (
    {ABNORMAL: {"best_f1": 0.35, "youden": 0.3}, "Effusion": {"best_f1": 0.45, "youden": 0.25}},
    {"Effusion": {"best_f1": 0.4}},
)
LABEL_SETS = ("films@aaaaaaaa", "radiologists@bbbbbbbb")
#: Numbers of scans that each model was fitted on. Three scans are of one patient.
_FITTED = (range(12), range(30, 35))


def make_compare_ledger(engine, *, scans=SCANS, prefix="film"):
    """Write the ledger; an image's name is `prefix` and its number."""
    rows = tuple(_row(f"{prefix}_{number:08d}.png", number, _findings(number)) for number in range(scans))
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        models = [_model(connection, place, rows) for place in (0, 1)]
        ids = register_scans(connection, "films", rows, _found(rows))
        label_sets = (
            import_labels(connection, _file("films", "a", rows), rows, ids, "films"),
            _import_radiologists(connection, rows, ids),
        )
        elsewhere = rows[:6]
        other_ids = register_scans(connection, "elsewhere", elsewhere, _found(elsewhere))
        for dataset, model, label_set, scan_ids in (
            ("films", 0, label_sets[0], ids),
            ("films", 1, label_sets[1], ids),
            ("films", 1, None, ids),
            ("elsewhere", 0, None, other_ids),
        ):
            request = RunRequest(
                source=f"{dataset}.csv",
                sha256="a" * 64,
                dataset=dataset,
                model_id=models[model].id,
                label_set_id=label_set,
                options={},
            )
            run, _ = open_run(connection, request, list(scan_ids.values()))
            record_outcomes(connection, list(_outcomes(pending_of_run(connection, run), model, rows)))
    close_finished_runs(engine)


def _model(connection, place, rows):
    name = ("first", "second")[place]
    manifest = {"name": name, "dataset": "films", "findings": list(FINDINGS[place]), "thresholds": THRESHOLDS[place]}
    used = [
        UsedScan(image_name=row.image_name, patient_id=row.patient_id, subset="train")
        for row in (rows[number] for number in _FITTED[place] if number < len(rows))
    ]
    return register_model(connection, sha256="ab"[place] * 64, manifest=manifest, used=used)


def _findings(number):
    """Some scans are not labelled."""
    if number % 23 == 5:
        return ()
    return (("Effusion",), ("Hernia",), (NO_FINDING,), ("Effusion", "Hernia"), *[(NO_FINDING,)] * 3)[number % 7]


def _row(name, number, findings):
    return LabelRow(
        image_name=name,
        findings=findings,
        patient_id=None if number % 40 == 39 else f"patient {number // 3}",
        view="PA",
        sex="F",
        age_years=60.0,
        follow_up=0,
    )


def _import_radiologists(connection, rows, ids):
    """They find more, and have not looked at every scan."""
    looked = tuple(
        _row(row.image_name, number, ("Effusion",) if number % 9 == 2 else _findings(number))
        for number, row in enumerate(rows)
        if number % 11
    )
    return import_labels(connection, _file("radiologists", "b", looked), looked, ids, "radiologists")


def _file(name, digit, rows):
    return LabelsFile(path=f"/films/{name}.csv", sha256=digit * 64, dataset="films", rows=rows)


def _found(rows):
    return {row.image_name: FoundImage(location=f"/films/{row.image_name}") for row in rows}


def _outcomes(pending, model, rows):
    """Each model rejects other scans, and scores the same ones a little differently."""
    draws = np.random.default_rng(model).normal(0, 1, (len(rows), len(FINDINGS[model])))
    for number, (scan, row) in enumerate(zip(pending, rows, strict=False)):
        if number % 50 == (49, 24)[model]:
            yield Rejected(outcome_id=scan.outcome_id, reason="truncated", detail="the image ends early")
            continue
        logits = [
            (1 + model if name in row.findings or (name == ABNORMAL and row.findings != (NO_FINDING,)) else -1) + draw
            for name, draw in zip(FINDINGS[model], draws[number], strict=True)
        ]
        scores = np.round(1 / (1 + np.exp(-np.array(logits))), 2 + number % 2 * 8).tolist()
        how = {"content": f"sha256:{number}", "runtime": "openvino", "precision": ("float32", "int8")[model]}
        yield Scored(outcome_id=scan.outcome_id, scores=dict(zip(FINDINGS[model], scores, strict=True)), **how)
