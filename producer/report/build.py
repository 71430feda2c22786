"""Builds a run's report from SQL. It holds no patient id; image names are in the worklist alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from typing import Final

import numpy as np
from sqlalchemy import Connection

from db.counted import counted
from db.drift.night import NightDrift
from db.errors import UserError
from db.evaluation.cohort import UNKNOWN, VIEW, Cohort
from db.evaluation.evaluate import Evaluation, FindingEvaluation, describe_clusters, evaluate
from db.evaluation.run_cohort import read_cohort
from db.ledger.models import find_model
from db.ledger.nightly_runs import night_of
from db.ledger.runs import count_notes, find_run, left_out_of, progress
from db.metrics.formulas import ScoreArray
from db.metrics.known_patients import KnownPatients, read_known_patients
from db.metrics.report_queries import (
    Coverage,
    WorklistRow,
    eligible_scans,
    find_label_set,
    read_coverage,
    read_own_thresholds,
    read_worklist,
)
from db.metrics.run_metrics import DEFAULT_THRESHOLDS
from db.metrics.scored_scans import SUBSETS, ScoredScans, read_scored_scans
from db.schema.label_history import exact_name
from producer.report.findings import choose_finding, choose_prevalences

#: The version of report.json: another one has other keys, or keys of another meaning.
FORMAT: Final = 2
#: Scans in a worklist.
_WORKLIST: Final = 20


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The distribution of the main finding's scores, each in [0, 1]; it shows a model that always gives one score."""

    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float
    #: Divided by N, not by N - 1.
    standard_deviation: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report shows. Its fields are keys of report.json. Its figures are of the `coverage.used` scans."""

    #: The version of report.json.
    format: int = FORMAT
    run_id: int
    dataset: str
    model: str
    model_sha256: str
    #: The model was fitted on synthetic scans.
    synthetic: bool
    label_set: str | None
    #: Of its file: later files may have a label set of the same name.
    label_set_sha256: str | None
    #: `held_out` leaves out scans and patients that the model was fitted or tuned on; `all` includes them.
    subset: str
    #: Scans of the run are pending, so every figure may change.
    is_partial: bool
    created_at: datetime
    finished_at: datetime | None
    coverage: Coverage
    #: Scored scans of which each of these things was noted, by code.
    notes: dict[str, int]
    #: Without patient ids, `held_out` leaves out scans by their names alone, and it leaves out known fitted scans only.
    patients: KnownPatients
    #: The main finding, of headline, `spread` and `worklist`: the one that was asked for, or `Abnormal` if the model
    #: scores it, else the model's first; if the label set judges some of the model's findings, of these.
    finding: str
    #: None if no scan is used.
    spread: Spread | None
    #: By finding that the label set judges. None without a label set.
    evaluation: Evaluation | None
    #: What the evaluation's intervals are clustered by, see `describe_clusters`; None without an evaluation.
    clusters: str | None
    #: What computed the scores, and whether `trainer evaluate` would compute others.
    precision_note: str
    #: All scored scans of the run by view group; views that no scan has are left out.
    views: dict[str, int]
    #: Of a run without labels: the scored scans with the highest scores of the main finding.
    worklist: tuple[WorklistRow, ...]
    #: Entries of the source's folder or prefix that were left out, by reason; None if that is not known.
    left_out: dict[str, int] | None
    #: Of a night: it and the nights before it, each beside its reference. Of another run: nothing.
    nights: tuple[NightDrift, ...] = ()

    @property
    def model_hash(self) -> str:
        """The first 12 hex digits of the model's sha256."""
        return self.model_sha256[:12]

    @property
    def exact_label_set(self) -> str | None:
        """The name by which `--labels` finds this very label set; None without one."""
        if self.label_set is None or self.label_set_sha256 is None:
            return None
        return exact_name(self.label_set, self.label_set_sha256)

    @property
    def night(self) -> NightDrift | None:
        """The run's own scans beside its reference; None if it is no night."""
        return self.nights[-1] if self.nights else None

    @property
    def main(self) -> FindingEvaluation | None:
        """The evaluation of the main finding; None if the label set does not judge it, or there is none."""
        return None if self.evaluation is None else self.evaluation.findings.get(self.finding)


def build_report(
    connection: Connection,
    run_id: int,
    *,
    partial: bool,
    label_set: str | None,
    subset: str,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    finding: str | None = None,
    prevalence: Mapping[str, float] | None = None,
    reference: int | None = None,
) -> tuple[Report, Cohort]:
    """Build a run's report from its scores and labels; it writes nothing and needs no stored metrics.

    Args:
        connection: a `read_transaction`: its counts add up only if it sees one moment.
        run_id: the run.
        partial: build it for an unfinished run, too.
        label_set: the label set to judge by, see `find_label_set`.
        subset: `held_out` or `all`.
        thresholds: each in [0, 1].
        finding: the main finding, see `choose_finding`.
        prevalence: by finding, see `choose_prevalences`.
        reference: the run that nights are compared with, see `read_drift`.

    Returns:
        The report, and the scans that its figures are of with the findings that the label set judges, or all of the
        model's without one.

    Raises:
        UserError: there is no such run, label set, subset or finding, the label set labels none of the run's scored
            scans, the run is not finished and `partial` is false, or a prevalence is stated without a label set.
    """
    if subset not in SUBSETS:
        raise UserError(f"no subset {subset!r}; there are: {', '.join(SUBSETS)}")
    run = find_run(connection, run_id)
    is_partial = check_finished(connection, run_id, partial=partial)
    labels = find_label_set(connection, run_id, label_set)
    label_set_id = labels.id if labels else None
    scored = read_scored_scans(connection, run_id, label_set_id)
    if label_set is not None:
        _check_labelled(scored, run_id, run.dataset, label_set)
    everything = read_cohort(connection, run_id, scored)
    used = everything.filter(eligible_scans(scored, label_set_id) & scored.in_subset(subset))
    main = choose_finding(used.findings, finding)
    prevalences = choose_prevalences(scored.judged if labels else None, prevalence or {})
    evaluation = (
        evaluate(
            used,
            findings=scored.judged,
            thresholds=thresholds,
            own_thresholds=read_own_thresholds(connection, run_id),
            prevalence=prevalences,
        )
        if labels
        else None
    )
    coverage = read_coverage(connection, run_id, scored, label_set_id, subset)
    report = Report(
        run_id=run.id,
        dataset=run.dataset,
        model=run.model,
        model_sha256=run.model_sha256,
        synthetic=find_model(connection, run.model_sha256).synthetic,
        label_set=labels.name if labels else None,
        label_set_sha256=labels.sha256 if labels else None,
        subset=subset,
        is_partial=is_partial,
        created_at=run.created_at,
        finished_at=run.finished_at,
        coverage=coverage,
        notes=count_notes(connection, run_id),
        patients=read_known_patients(connection, run_id),
        finding=main,
        spread=_spread(used.scores[:, used.findings.index(main)]),
        evaluation=evaluation,
        clusters=None if evaluation is None else describe_clusters(evaluation),
        precision_note=_precision_note(coverage.runtimes),
        views=_count_views(everything),
        worklist=() if labels else read_worklist(connection, run_id, main, _WORKLIST),
        left_out=left_out_of(connection, run_id),
        nights=_read_nights(connection, run_id, reference),
    )
    return report, used


def check_finished(connection: Connection, run_id: int, *, partial: bool) -> bool:
    """Whether scans of the run are pending.

    Raises:
        UserError: they are, and `partial` is false.
    """
    counts = progress(connection, run_id)
    if counts.pending and not partial:
        raise UserError(
            f"run {run_id} is not finished: {counts.pending:,} of {counts.expected:,} scans are pending; "
            "wait for it with 'producer status --watch', or add --partial to report the scans that are done"
        )
    return counts.pending > 0


def _check_labelled(scored: ScoredScans, run_id: int, dataset: str, label_set: str) -> None:
    if len(scored.labelled) and not scored.labelled.any():
        scans = counted(len(scored.labelled), "scored scan")
        raise UserError(
            f"label set {label_set!r} labels none of the {scans} of run {run_id}; if its CSV names them, import it once"
            f" more with 'producer labels --csv FILE --dataset {quote(dataset)}'"
        )


def _spread(scores: ScoreArray) -> Spread | None:
    if not len(scores):
        return None
    minimum, lower, median, upper, maximum = np.quantile(scores, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return Spread(
        minimum=minimum,
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        maximum=maximum,
        standard_deviation=float(scores.std()),
    )


def _precision_note(runtimes: Mapping[str, int]) -> str:
    if not runtimes:
        return "No scan is scored."
    how = f"Scores were computed by {' and '.join(runtimes)}"
    # As `Coverage.runtimes` names what the trainer evaluates with.
    if all(name.startswith("keras ") and name.endswith(" float32") for name in runtimes):
        return f"{how}, as 'trainer evaluate' computes them."
    return (
        f"{how}. 'trainer evaluate' computes float32 scores by Keras: AUROC may differ in the third digit, and "
        "counts at a threshold by some scans."
    )


def _read_nights(connection: Connection, run_id: int, reference: int | None) -> tuple[NightDrift, ...]:
    if not night_of(connection, run_id):
        return ()
    # Most runs are no nights, and need not wait for this import.
    from db.drift.read import read_drift

    return read_drift(connection, run_id, reference=reference)


def _count_views(cohort: Cohort) -> dict[str, int]:
    scans = len(cohort.scores)
    if VIEW not in cohort.groupings:
        return {UNKNOWN: scans} if scans else {}
    grouping = cohort.groupings[VIEW]
    counts = np.bincount(grouping.places, minlength=len(grouping.names)).tolist()
    return {name: count for name, count in zip(grouping.names, counts, strict=True) if count}
