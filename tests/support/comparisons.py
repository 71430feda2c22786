"""Comparisons without a database: of two models, of which the second is better at most findings."""

from dataclasses import replace

import numpy as np

from db.evaluation.cohort import Cohort
from db.evaluation.comparison import compare_finding
from db.evaluation.run_pair import RunPair
from db.findings import ABNORMAL, NIH_FINDINGS
from producer.compare.build import ComparedRun, RunComparison
from tests.support.reports import KNOWN, NOW

FINDINGS = (ABNORMAL, *NIH_FINDINGS)
#: How far the second model's scores of positive scans are raised above the first's, before the sigmoid, by finding.
_GAINS = (0.2, 0.3, 0.0, 0.2, -0.3, 0.1)
_FIRST = ComparedRun(
    run_id=3,
    dataset="sample",
    model="densenet-2025",
    model_sha256="0123456789abcdef" * 4,
    synthetic=False,
    created_at=NOW,
    label_set="2017@89ab89ab89ab",
    runtimes={"openvino bfloat16": 1_200},
    scored=1_200,
    patients=KNOWN,
    chosen_by={},
)


def a_pair(findings=FINDINGS, *, scans=1_000, patients=600, labelled=True):
    """Scans of patients of whom few have many, with scores of both models that go together."""
    rng = np.random.default_rng(0)
    shape = (scans, len(findings))
    labels = rng.random(shape) < np.geomspace(0.4, 0.02, len(findings))
    gains = np.resize(_GAINS, len(findings))
    film = rng.normal(0, 0.8, shape)
    first, second = (
        1 / (1 + np.exp(-(film + rng.normal(0, 0.5, shape) + labels * (1.3 + gain) - 1.8))) for gain in (0, gains)
    )
    about = {
        "findings": findings,
        "labels": labels & labelled,
        "known": np.full(shape, labelled),
        "patients": np.sort(np.concatenate([np.arange(patients), rng.integers(0, patients, scans - patients)])),
        "has_patient": np.ones(scans, np.bool_),
    }
    return RunPair(
        scan_ids=np.arange(scans) * 3 + 4_711,
        first=Cohort(scores=first, **about),
        second=Cohort(scores=second, **about),
        seen=np.zeros(scans, np.bool_),
    )


def a_comparison(pair, *, thresholds=(0.31, 0.2471), first=None, second=None, **changed):
    """What is said of a pair; `first` and `second` are other fields of the runs, `changed` of the comparison."""
    findings = pair.first.findings
    labelled = bool(pair.first.known.any())
    runs = []
    for chosen_by, about in (
        ("youden", first or {}),
        ("best_f1", {"run_id": 7, "model": "convnext", "model_sha256": "fedc" * 16} | (second or {})),
    ):
        usual = {
            "chosen_by": dict.fromkeys(findings, chosen_by),
            "label_set": _FIRST.label_set if labelled else None,
        }
        runs.append(replace(_FIRST, **(usual | about)))
    comparison = RunComparison(
        first=runs[0],
        second=runs[1],
        is_partial=False,
        subset="held_out",
        common=len(pair.scan_ids) + 60,
        seen=60,
        same_outcomes=0,
        other_bytes=0,
        used=len(pair.scan_ids),
        patients=len(np.unique(pair.first.patients)),
        clusters="clustered by patient",
        held_out_note=None,
        finding=findings[0],
        only_first=(),
        only_second=("Fracture",),
        findings={
            name: compare_finding(
                pair.first, pair.second, name, first_threshold=thresholds[0], second_threshold=thresholds[1]
            )
            for name in findings
        },
    )
    return replace(comparison, **changed)
