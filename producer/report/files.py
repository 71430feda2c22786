"""A report as text for files: report.json and thresholds.csv."""

import csv
from collections.abc import Iterable
from dataclasses import asdict
from io import StringIO
from typing import Any, Final

from db.drift.night import NightDrift
from db.evaluation.estimate import UNDEFINED, Estimate
from db.evaluation.evaluate import ThresholdFigures
from db.evaluation.rates import treat_all
from db.evaluation.sentences import guessed_findings
from producer.json_output import as_json
from producer.report.build import Report
from producer.report.sentences import (
    drift_note,
    headline,
    held_out_note,
    interval_note,
    mixed_runtimes_line,
    next_steps,
    synthetic_note,
)

_COUNTS: Final = ("tp", "fp", "fn", "tn")
#: Each has two more columns, with the ends of its interval.
_RATES: Final = ("precision", "recall", "specificity", "npv", "f1", "accuracy", "balanced_accuracy")
#: Of predicting by the threshold, and of taking every scan for positive.
_NET_BENEFITS: Final = ("net_benefit", "net_benefit_treat_all")
_AT_PREVALENCE: Final = ("precision_at_prevalence", "npv_at_prevalence")


def to_json(report: Report) -> str:
    """The whole report as JSON, with what it says in sentences, but without the names of images."""
    values = asdict(report)
    values |= {"nights": [_night(night) for night in report.nights], "drift": _drift(report.night)}
    values["worklist"] = [{"scan_id": row.scan_id, "score": row.score} for row in report.worklist]
    sentences = {
        "headline": headline(report),
        "interval_note": interval_note(report),
        "mixture": mixed_runtimes_line(report.coverage.runtimes),
        "held_out_note": held_out_note(report),
        "drift_note": drift_note(report),
        "synthetic_note": synthetic_note(report),
        "no_better_than_guessing": [] if report.evaluation is None else guessed_findings(report.evaluation),
        "next_steps": next_steps(report),
    }
    return as_json(values | sentences) + "\n"


def _night(drift: NightDrift) -> dict[str, Any]:
    """A night among others: of its shifts the largest."""
    names = ("run_id", "night", "scans", "reference_scans", "not_judged", "p_value", "is_alarm")
    return {name: getattr(drift, name) for name in names} | {"largest": drift.largest and asdict(drift.largest)}


def _drift(drift: NightDrift | None) -> dict[str, Any] | None:
    """What the report's own night was compared with, and all that shifted."""
    if drift is None:
        return None
    values = asdict(drift)
    return {name: values[name] for name in ("reference_runs", "shifts", "scores", "not_compared")}


def to_csv(report: Report) -> str:
    """Every finding at every threshold. Each row names its run, model, label set and subset; undefined is empty."""
    scope = {
        "run_id": report.run_id,
        "model": report.model,
        "model_sha256": report.model_sha256,
        "label_set": report.label_set,
        "label_set_sha256": report.label_set_sha256,
        "subset": report.subset,
        "held_out_note": held_out_note(report),
        "is_partial": report.is_partial,
    }
    findings = report.evaluation.findings if report.evaluation is not None else {}
    out = StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    rates, stated = _with_ends(_RATES), _with_ends(_AT_PREVALENCE)
    named = ("finding", "chosen_by", "threshold")
    writer.writerow([*scope, *named, *_COUNTS, *rates, *_NET_BENEFITS, "prevalence", *stated])
    for finding, result in findings.items():
        writer.writerows([*scope.values(), finding, *_cells(row)] for row in result.thresholds)
    return out.getvalue()


def _with_ends(names: Iterable[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def _cells(row: ThresholdFigures) -> list[Any]:
    """The columns after the finding. A float is written with as many digits as give the same float when it is read."""
    rates, stated = row.rates, row.at_prevalence
    at_prevalence = (stated.precision, stated.npv) if stated else (UNDEFINED, UNDEFINED)
    return [
        row.chosen_by,
        rates.threshold,
        *(getattr(rates, name) for name in _COUNTS),
        *_values(getattr(rates, name) for name in _RATES),
        rates.net_benefit,
        treat_all(rates.tp + rates.fn, rates.fp + rates.tn, rates.threshold),
        stated.prevalence if stated else None,
        *_values(at_prevalence),
    ]


def _values(estimates: Iterable[Estimate]) -> list[float | None]:
    return [value for one in estimates for value in (one.value, one.low, one.high)]
