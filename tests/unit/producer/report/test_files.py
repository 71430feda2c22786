"""A report as report.json and thresholds.csv."""

import csv
import io
import json
from dataclasses import asdict, replace

import pytest

from db.drift.sentences import describe_drift
from producer.report.files import to_csv, to_json
from producer.report.sentences import headline, interval_note, next_steps
from tests.support.reports import KNOWN, a_cohort, a_report, an_unlabelled_report, some_nights

RATES = ("precision", "recall", "specificity", "npv", "f1", "accuracy", "balanced_accuracy")


def rows_of(report):
    return list(csv.DictReader(io.StringIO(to_csv(report))))


def number(text):
    return float(text) if text else None


def test_the_json_has_the_whole_report_and_its_version():
    """Every figure with all its digits."""
    report = a_report(prevalence={"Effusion": 0.05})
    told = json.loads(to_json(report))
    assert told["format"] == 2
    assert told["evaluation"] == json.loads(json.dumps(asdict(report.evaluation)))
    assert told["evaluation"]["findings"]["Abnormal"]["figures"]["auroc"] == asdict(report.main.figures.auroc)
    assert (told["headline"], told["interval_note"]) == (headline(report), interval_note(report))
    assert told["no_better_than_guessing"] == ["Effusion"]
    assert (told["notes"], told["left_out"], told["views"]) == (report.notes, report.left_out, report.views)
    assert (told["mixture"], told["synthetic_note"], told["held_out_note"], told["next_steps"]) == (
        None,
        None,
        None,
        [],
    )


def test_the_json_says_what_a_reader_must_know():
    """Mixed precisions, a synthetic model, and that held out cannot be told."""
    coverage = replace(a_report().coverage, runtimes={"a int8": 1, "b int8": 2})
    report = a_report(synthetic=True, coverage=coverage, patients=replace(KNOWN, fitted_with_patient=0))
    told = json.loads(to_json(report))
    assert told["mixture"].startswith("Scores were computed in 2 ways")
    assert told["synthetic_note"].startswith("The model was fitted on synthetic scans")
    assert told["held_out_note"] == report.patients.note
    assert json.loads(to_json(replace(report, subset="all")))["held_out_note"] is None


def test_the_json_of_a_run_without_labels_has_a_worklist_without_names():
    """A name may hold a patient id."""
    report = an_unlabelled_report()
    told = json.loads(to_json(report))
    assert told["evaluation"] is None
    assert told["worklist"] == [{"scan_id": row.scan_id, "score": row.score} for row in report.worklist]
    assert "0000471" not in to_json(report)
    assert told["next_steps"] == list(next_steps(report))


def test_the_csv_has_every_finding_at_every_threshold_with_the_ends_of_all_intervals():
    """Every float reads back as the same float, the thresholds' too."""
    report = a_report(thresholds=(0.1 + 0.2, 1 / 3), prevalence={"Effusion": 0.05})
    expected = [(name, row) for name, one in report.evaluation.findings.items() for row in one.thresholds]
    rows = rows_of(report)
    assert len(rows) == len(expected) == 6
    for row, (finding, figures) in zip(rows, expected, strict=True):
        rates, stated = figures.rates, figures.at_prevalence
        assert (row["finding"], row["chosen_by"], float(row["threshold"])) == (
            finding,
            figures.chosen_by,
            rates.threshold,
        )
        assert [int(row[name]) for name in ("tp", "fp", "fn", "tn")] == [rates.tp, rates.fp, rates.fn, rates.tn]
        estimates = {name: getattr(rates, name) for name in RATES}
        if stated:
            estimates |= {"precision_at_prevalence": stated.precision, "npv_at_prevalence": stated.npv}
        for name, estimate in estimates.items():
            ends = [number(row[name + end]) for end in ("", "_low", "_high")]
            assert ends == [estimate.value, estimate.low, estimate.high]
        assert number(row["net_benefit"]) == rates.net_benefit
        odds, positives = rates.threshold / (1 - rates.threshold), rates.tp + rates.fn
        assert number(row["net_benefit_treat_all"]) == pytest.approx((positives - (100 - positives) * odds) / 100)
        assert number(row["prevalence"]) == (stated.prevalence if stated else None)


def test_undefined_is_null_in_json_and_empty_in_csv():
    """At a threshold of 1 nothing is positive, so precision is undefined: never 0."""
    report = a_report(thresholds=(1.0,))
    first = json.loads(to_json(report))["evaluation"]["findings"]["Abnormal"]["thresholds"][0]["rates"]
    assert first["precision"] == {"value": None, "low": None, "high": None}
    assert (first["recall"]["value"], first["net_benefit"]) == (0.0, None)
    row = rows_of(report)[0]
    assert [row[name] for name in ("precision", "precision_low", "net_benefit", "recall")] == ["", "", "", "0.0"]


def test_each_csv_row_names_its_run_model_label_set_and_subset():
    """A row that is copied elsewhere can still be told apart."""
    names = ("run_id", "model", "label_set", "label_set_sha256", "subset", "held_out_note", "is_partial")
    for row in rows_of(a_report()):
        assert [row[name] for name in names] == ["3", "<first>", "2017", "89ab" * 16, "held_out", "", "False"]
    report = a_report(a_cohort(patients=False), patients=replace(KNOWN, scans_with_patient=0))
    assert {row["held_out_note"] for row in rows_of(report)} == {report.patients.note}


def test_a_csv_without_labels_is_its_header():
    """With the same columns."""
    assert to_csv(an_unlabelled_report()) == to_csv(a_report()).partition("\n")[0] + "\n"


@pytest.mark.parametrize("scans", [0, 1, 2])
def test_a_report_of_hardly_any_scan_is_valid_json(scans):
    """No figure of it is infinite."""
    told = json.loads(to_json(a_report(a_cohort(scans=scans))))
    assert told["evaluation"]["scans"] == scans


def test_the_json_has_each_night_and_all_that_shifted_in_the_last():
    """Of earlier nights the largest shift; without nights there is none, and no note."""
    nights = some_nights()
    told = json.loads(to_json(a_report(nights=nights)))
    assert [night["largest"] and night["largest"]["name"] for night in told["nights"]] == ["FUJIFILM", None, "AP"]
    assert (told["nights"][1]["not_judged"], told["nights"][2]["is_alarm"]) == ("only 12 scans were decided", True)
    assert told["drift"]["shifts"] == json.loads(json.dumps([asdict(shift) for shift in nights[-1].shifts]))
    assert told["drift_note"] == describe_drift(nights[-1], name_manufacturer=True)
    told = json.loads(to_json(a_report()))
    assert (told["nights"], told["drift"], told["drift_note"]) == ([], None, None)
