"""Reports without a database: of a hundred scans of forty patients, in groups."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from db.drift.night import NightDrift, ScoreShift, Shift
from db.evaluation.cohort import Cohort, group_by
from db.evaluation.evaluate import describe_clusters, evaluate
from db.metrics.known_patients import KnownPatients
from db.metrics.report_queries import Coverage, WorklistRow
from producer.report.build import Report, Spread

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
OWN_THRESHOLDS = {"Abnormal": {"best_f1": 0.3021, "sensitivity_90": 0.99991}}
COVERAGE = Coverage(
    expected=116,
    scored=108,
    rejected={"missing": 2, "truncated": 3},
    quarantined=1,
    pending=2,
    reused=4,
    runtimes={"tensorflow bfloat16": 108},
    duplicates=3,
    unlabelled=1,
    seen_itself=5,
    seen_patient=2,
    used=100,
)
KNOWN = KnownPatients(scans=116, scans_with_patient=116, fitted=9, fitted_with_patient=9)


def a_cohort(*, scans=100, patients=True):
    """Scans with scores that tell `Abnormal`, but not `Effusion`."""
    rng = np.random.default_rng(0)
    labels = rng.random((scans, 2)) < 0.4
    scores = np.clip(rng.random((scans, 2)) * 0.7 + labels * [0.3, 0], 0, 1)
    return Cohort(
        findings=("Abnormal", "Effusion"),
        scores=scores,
        labels=labels,
        known=np.ones_like(labels),
        patients=(np.arange(scans) // 2.5).astype(np.int64) if patients else np.arange(scans),
        has_patient=np.full(scans, patients),
        groupings={
            "view": group_by(rng.choice(["PA", "AP", "unknown"], scans).tolist(), order=("PA", "AP")),
            "manufacturer": group_by(rng.choice(["[red]A\nB", "unknown"], scans, p=[0.05, 0.95]).tolist()),
        },
    )


def a_report(cohort=None, *, thresholds=(0.3, 0.5), own_thresholds=OWN_THRESHOLDS, prevalence=None, **changed):
    """The report of a cohort; `changed` are other fields."""
    cohort = a_cohort() if cohort is None else cohort
    evaluation = evaluate(cohort, thresholds=thresholds, own_thresholds=own_thresholds, prevalence=prevalence)
    report = Report(
        run_id=3,
        dataset="sample",
        model="<first>",
        model_sha256="0123456789abcdef" * 4,
        synthetic=False,
        label_set="2017",
        label_set_sha256="89ab" * 16,
        subset="held_out",
        is_partial=False,
        created_at=NOW,
        finished_at=NOW,
        coverage=COVERAGE,
        notes={"colour": 1, "view_unknown": 3},
        patients=KNOWN,
        finding="Abnormal",
        spread=Spread(
            minimum=0.1, lower_quartile=0.2, median=0.3, upper_quartile=0.4, maximum=0.5, standard_deviation=0.125
        ),
        evaluation=evaluation,
        clusters=describe_clusters(evaluation),
        precision_note="Scores were computed by tensorflow bfloat16.",
        views={"PA": 90, "unknown": 18},
        worklist=(),
        left_out={"other_name": 2},
    )
    return replace(report, **changed)


def an_unlabelled_report(**changed):
    """The report of a run without labels: it has a worklist in place of figures."""
    rows = tuple(WorklistRow(scan_id=4711 + n, score=0.9 - n / 100, image_name=f"0000471{n}.png") for n in range(3))
    nothing = {"label_set": None, "label_set_sha256": None, "evaluation": None, "clusters": None}
    return a_report(**nothing, worklist=rows, **changed)


def some_nights(*, manufacturer="FUJIFILM"):
    """Three nights: a quiet one, one that is not judged, and one with an alarm because of its AP films."""
    about = {"reference_runs": tuple(range(1, 31)), "reference_scans": 30_000}
    scores = ScoreShift(
        finding="Abnormal",
        night_mean=0.31,
        reference_mean=0.21,
        kolmogorov_smirnov=0.105,
        population_stability_index=0.043,
    )
    ap = Shift(kind="view", name="AP", cut=None, night=0.57, reference=0.35, standardised=14.21)
    of_scores = Shift(kind="score", name="Abnormal", cut=0.31, night=0.4, reference=0.3, standardised=6.5)
    others = (
        Shift(kind="manufacturer", name=manufacturer, cut=None, night=0.7, reference=0.6, standardised=-2.5),
        Shift(kind="outcome", name="truncated", cut=None, night=0.004, reference=0.004, standardised=0.0),
    )
    return (
        NightDrift(
            run_id=31,
            night="2026-01-01",
            scans=1_000,
            not_judged=None,
            p_value=0.4,
            is_alarm=False,
            shifts=(*others, replace(of_scores, standardised=0.0)),
            scores=(scores,),
            **about,
        ),
        NightDrift(run_id=32, night="2026-01-02", scans=12, not_judged="only 12 scans were decided", **about),
        NightDrift(
            run_id=33,
            night="2026-01-03",
            scans=1_000,
            not_judged=None,
            p_value=0.001,
            is_alarm=True,
            shifts=(ap, of_scores, *others),
            scores=(scores,),
            **about,
        ),
    )
