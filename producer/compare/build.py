"""Builds the comparison of two runs from SQL. It holds no patient id and no image name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from sqlalchemy import Connection

from db.counted import counted
from db.errors import UserError
from db.evaluation.comparison import FindingComparison, compare_finding
from db.evaluation.evaluate import clusters_of
from db.evaluation.run_pair import RunPair, count_outcome_pairs, read_run_pair
from db.ledger.models import ModelInfo, find_model
from db.ledger.runs import RunInfo, find_run, progress
from db.metrics.known_patients import KnownPatients, read_known_patients
from db.metrics.report_queries import LabelSetInfo, find_label_set, read_own_thresholds, read_runtimes
from db.metrics.scored_scans import ALL, HELD_OUT, SUBSETS
from db.schema.label_history import exact_name
from producer.compare.thresholds import choose_thresholds
from producer.report.build import check_finished
from producer.report.findings import choose_finding

#: The version of compare.json: another one has other keys, or keys of another meaning.
FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the two runs."""

    run_id: int
    dataset: str
    model: str
    model_sha256: str
    #: The model was fitted on synthetic scans.
    synthetic: bool
    #: When the run was opened.
    created_at: datetime
    #: That judges its scores, and the first digits of its file's sha256: `NAME@HASH`; None without labels.
    label_set: str | None
    #: Scored scans by runtime and numeric precision, such as "openvino bfloat16".
    runtimes: Mapping[str, int]
    #: Scored scans of the run.
    scored: int
    #: How many of its scans, and of those that its model was fitted or tuned on, have a patient id.
    patients: KnownPatients
    #: The name of the threshold by finding, such as `youden`; `given`, or `default` if the model has none.
    chosen_by: Mapping[str, str]

    @property
    def model_hash(self) -> str:
        """The first 12 hex digits of the model's sha256."""
        return self.model_sha256[:12]


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """All that a comparison shows. Its fields are keys of compare.json."""

    format: int = FORMAT
    first: ComparedRun
    second: ComparedRun
    #: Scans of either run are pending, so every figure may change.
    is_partial: bool
    #: `held_out` leaves out scans and patients that either model was fitted or tuned on; `all` includes them.
    subset: str
    #: Scans that both runs scored.
    common: int
    #: Of these, those that either model has seen.
    seen: int
    #: Of the common ones, those whose outcome is one and the same in both runs, so that the scores cannot differ.
    same_outcomes: int
    #: Of the common ones, those whose image was changed between the runs, so that the scores are of two images.
    other_bytes: int
    #: The scans that the comparison is of.
    used: int
    #: Patients of these with an id, and what intervals are clustered by: see `describe_clusters`.
    patients: int
    clusters: str
    #: What to say if held out cannot be told for one of the models; None if it can.
    held_out_note: str | None
    #: The finding that text and page show first.
    finding: str
    #: Findings that only one of the models scores.
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    #: By finding that both models score.
    findings: Mapping[str, FindingComparison]

    @property
    def main(self) -> FindingComparison:
        """The comparison of the main finding."""
        return self.findings[self.finding]


def build_comparison(
    connection: Connection,
    first_run: int,
    second_run: int,
    *,
    label_set: str | None,
    subset: str,
    threshold: str | None,
    finding: str | None,
    partial: bool = False,
) -> tuple[RunComparison, RunPair]:
    """Build the comparison of two runs from their scores and labels; it writes nothing.

    Args:
        connection: a `read_transaction`: its counts add up only if it sees one moment.
        first_run: the run that differences are taken from.
        second_run: another run.
        label_set: judges both runs, see `find_label_set`: a label set of the first run's own comes first. None means
            each run's own, and the other run's for a run without one.
        subset: `held_out` or `all`.
        threshold: a number in [0, 1] or the name of a threshold of the models' own, for both models. None means each
            model's own: `youden`, or else its first.
        finding: the main finding, see `choose_finding`.
        partial: compare unfinished runs, too.

    Returns:
        The comparison, and the scans that its figures are of with the findings that both models score.

    Raises:
        UserError: there is no such run, label set, subset, threshold or finding, a run is not finished and `partial` is
            false, or the runs have nothing that can be compared.
    """
    if subset not in SUBSETS:
        raise UserError(f"no subset {subset!r}; there are: {', '.join(SUBSETS)}")
    if first_run == second_run:
        raise UserError(f"run {first_run} cannot be compared with itself: name two runs; 'producer runs' lists them")
    ids = (first_run, second_run)
    runs = [find_run(connection, run_id) for run_id in ids]
    pending = [check_finished(connection, run_id, partial=partial) for run_id in ids]
    models = [find_model(connection, run.model_sha256) for run in runs]
    shared = _shared_findings(*models)
    wanted = None if finding is None else choose_finding(shared, finding)
    thresholds = [
        choose_thresholds(read_own_thresholds(connection, run.id), shared, threshold, run.model) for run in runs
    ]
    label_sets = _find_label_sets(connection, ids, label_set)
    pair = read_run_pair(connection, ids, (_id(label_sets[0]), _id(label_sets[1])), shared)
    if not len(pair.scan_ids):
        raise _nothing_in_common(connection, *runs)
    _check_labelled(pair, label_set)
    common, seen = len(pair.scan_ids), int(pair.seen.sum())
    # Of a million scans, both would take a gigabyte.
    pair = _in_subset(pair, subset)
    has_patient = pair.first.has_patient
    patients = len(np.unique(pair.first.patients[has_patient]))
    outcomes = count_outcome_pairs(connection, ids)
    first, second = (
        _describe_run(connection, *of_run) for of_run in zip(runs, models, label_sets, thresholds, strict=True)
    )
    comparison = RunComparison(
        first=first,
        second=second,
        is_partial=any(pending),
        subset=subset,
        common=common,
        seen=seen,
        same_outcomes=outcomes.same,
        other_bytes=outcomes.other_bytes,
        used=len(pair.scan_ids),
        patients=patients,
        clusters=clusters_of(len(pair.scan_ids), patients, int((~has_patient).sum())),
        held_out_note=_held_out_note((first, second), subset),
        finding=wanted or _choose_main(pair),
        only_first=_without(models[0].findings, shared),
        only_second=_without(models[1].findings, shared),
        findings={
            name: compare_finding(
                pair.first,
                pair.second,
                name,
                first_threshold=thresholds[0][name][1],
                second_threshold=thresholds[1][name][1],
            )
            for name in shared
        },
    )
    return comparison, pair


def _describe_run(
    connection: Connection,
    run: RunInfo,
    model: ModelInfo,
    label_set: LabelSetInfo | None,
    thresholds: Mapping[str, tuple[str, float]],
) -> ComparedRun:
    runtimes = read_runtimes(connection, run.id)
    return ComparedRun(
        run_id=run.id,
        dataset=run.dataset,
        model=run.model,
        model_sha256=run.model_sha256,
        synthetic=model.synthetic,
        created_at=run.created_at,
        label_set=None if label_set is None else exact_name(label_set.name, label_set.sha256),
        runtimes=runtimes,
        scored=sum(runtimes.values()),
        patients=read_known_patients(connection, run.id),
        chosen_by={finding: chosen_by for finding, (chosen_by, _) in thresholds.items()},
    )


def _shared_findings(first: ModelInfo, second: ModelInfo) -> tuple[str, ...]:
    shared = tuple(finding for finding in first.findings if finding in second.findings)
    if not shared:
        raise UserError(
            f"the models have no finding in common: {first.name} scores {', '.join(first.findings)}, and {second.name} "
            f"scores {', '.join(second.findings)}; compare runs of models that share a finding"
        )
    return shared


def _find_label_sets(
    connection: Connection, runs: tuple[int, int], name: str | None
) -> tuple[LabelSetInfo | None, LabelSetInfo | None]:
    """The label sets that judge both runs; a run without one is judged by the other's."""
    first = find_label_set(connection, runs[0], name)
    if name is not None:
        return first, first
    second = find_label_set(connection, runs[1], None)
    return first or second, second or first


def _id(label_set: LabelSetInfo | None) -> int | None:
    return None if label_set is None else label_set.id


def _nothing_in_common(connection: Connection, first: RunInfo, second: RunInfo) -> UserError:
    for run in (first, second):
        if not progress(connection, run.id).scored:
            state = "" if run.state == "finished" else f" ({run.state})"
            return UserError(f"run {run.id} has no scored scan{state}; name another run: 'producer runs' lists them")
    return UserError(
        f"no scan is scored in both runs: run {first.id} is of dataset {first.dataset}, run {second.id} of "
        f"{second.dataset}; compare two runs of one source, which 'producer enqueue --model NAME' scores with another"
    )


def _check_labelled(pair: RunPair, label_set: str | None) -> None:
    if label_set is not None and not pair.first.known.any():
        raise UserError(
            f"label set {label_set!r} judges none of the {counted(len(pair.scan_ids), 'scan')} that both runs scored; "
            "name another one, or import its CSV once more with 'producer labels'"
        )


def _in_subset(pair: RunPair, subset: str) -> RunPair:
    if subset == ALL:
        return pair
    if pair.seen.all():
        raise UserError(
            f"all {counted(len(pair.scan_ids), 'scan')} that both runs scored were seen by one of the models when it "
            "was fitted or tuned, or their patients were; add --subset all to compare on them, which flatters that "
            "model"
        )
    return pair.filter(~pair.seen)


def _choose_main(pair: RunPair) -> str:
    """The main finding if none is asked for: one that both label sets judge, if there is any."""
    judged = np.flatnonzero((pair.first.known & pair.second.known).any(axis=0))
    return choose_finding([pair.first.findings[column] for column in judged] or pair.first.findings, None)


def _without(findings: Sequence[str], shared: Sequence[str]) -> tuple[str, ...]:
    return tuple(finding for finding in findings if finding not in shared)


def _held_out_note(runs: Sequence[ComparedRun], subset: str) -> str | None:
    """What to say if held out cannot be told for a model; of all scans only if nobody knows what it was fitted on."""
    told: dict[str, list[str]] = {}
    for run in runs:
        if run.patients.note is not None and (subset == HELD_OUT or run.patients.fitted_scans_unknown):
            told.setdefault(run.patients.note, []).append(f"run {run.run_id}")
    return " ".join(f"Of {' and '.join(names)}: {note}" for note, names in told.items()) or None
