"""What a comparison says on a terminal of 80 columns, and in which words."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from db.evaluation.estimate import Estimate
from producer.compare.format import format_change, format_difference, format_p
from producer.compare.sentences import FIGURES, headline, multiplicity_note, warnings
from producer.compare.table import print_comparison
from tests.support.comparisons import a_comparison, a_pair

PAIR = a_pair(("Abnormal", "Effusion", "Enlarged Cardiomediastinum"))
COMPARISON = a_comparison(PAIR)


def lines_of(comparison):
    """The lines of an 80 column terminal."""
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_comparison(comparison, console)
    return console.file.getvalue().splitlines()


def text_of(comparison):
    """The same in one line, because the terminal wraps long ones."""
    return " ".join(" ".join(lines_of(comparison)).split())


def cells_of(lines, title, row):
    """The cells of the first row of this name below the heading of a table."""
    start = next(place for place, line in enumerate(lines) if line.startswith(title) and line.endswith((" p", "corr.")))
    return next(line for line in lines[start + 1 :] if line.startswith(row)).removeprefix(row).split()


def test_the_terminal_begins_with_the_one_difference_and_what_it_is_of():
    """Finding, both figures, the difference with interval and p, scans, patients, labels; then each run."""
    auroc = COMPARISON.main.figures["auroc"]
    assert text_of(COMPARISON).startswith(
        f"AUROC for Abnormal: run 7 has {auroc.second.value:.3f}, run 3 has {auroc.first.value:.3f}; difference "
        f"{format_difference(auroc.difference)}, p {format_p(auroc.p_value)}, on 1,000 held-out scans of 600 patients, "
        "label set 2017@89ab89ab89ab first: run 3, model densenet-2025 (0123456789ab), "
    )


def test_every_finding_has_a_row_and_the_main_one_all_figures():
    """With both figures, the difference and p; agreement and changes are there for all findings."""
    lines = lines_of(COMPARISON)
    for finding, result in COMPARISON.findings.items():
        auroc, flagged = result.figures["auroc"], result.flagged
        assert " ".join(cells_of(lines, "AUROC", finding)) == (
            f"{auroc.first.value:.3f} {auroc.second.value:.3f} {format_difference(auroc.difference)} "
            f"{format_p(auroc.p_value)}"
        )
        counts = (flagged.both, flagged.only_first, flagged.only_second, flagged.neither)
        assert cells_of(lines, "flagged", finding) == [*map(str, counts), format_p(flagged.p_value)]
        assert cells_of(lines, "scores", finding)[-1] == f"{result.agreement.rank_correlation:.3f}"
        assert cells_of(lines, "right", finding)[0] == str(result.correct.both)
    assert "Abnormal at 0.31 (Youden, run 3) and 0.2471 (best F1, run 7):" in lines
    for name, title in FIGURES.items():
        figure = COMPARISON.main.figures[name].first.value
        assert cells_of(lines, "Abnormal", title)[0] == f"{figure:.3f}"


def test_every_table_fits_eighty_columns_with_the_largest_counts():
    """No count is cut off."""
    million = replace(COMPARISON.main.flagged, both=1_120_120, only_first=112_120, only_second=112_120)
    findings = {name: replace(one, flagged=million) for name, one in COMPARISON.findings.items()}
    lines = lines_of(replace(COMPARISON, findings=findings))
    assert max(map(len, lines)) <= 80
    assert sum(line.split()[-5:-2] == ["1,120,120", "112,120", "112,120"] for line in lines) == 3


def test_a_comparison_without_labels_has_agreement_and_changes_alone():
    """No figure that needs a label is shown."""
    lines = lines_of(a_comparison(a_pair(("Abnormal",), labelled=False)))
    assert not any(line.startswith(("AUROC", "sensitivity", "right")) for line in lines)
    assert cells_of(lines, "flagged", "Abnormal")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"first": {"synthetic": True}}, "Fitted on synthetic scans: densenet-2025."),
        ({"first": {"runtimes": {"a float32": 2, "a int8": 1}}}, "Run 3: Scores were computed in 2 ways"),
        ({"second": {"runtimes": {"a int8": 9}}}, "The runs were not scored by the same runtime and precision"),
        ({"is_partial": True}, "PARTIAL: a run is not finished"),
        ({"held_out_note": "Of run 3: cannot be told."}, "Of run 3: cannot be told."),
        ({"only_first": ("Mass",)}, "Not compared, because only model densenet-2025 of run 3 scores it: Mass."),
        ({"same_outcomes": 5}, "5 of the 1,060 scans of both runs have one outcome in both"),
        ({"same_outcomes": 1_060}, "Both runs hold the very same outcomes, so nothing can differ"),
        ({"same_outcomes": 1_060, "first": {"label_set": "2020@01"}}, "scores cannot differ: only labels do"),
        ({"other_bytes": 5}, "Of 5 of the 1,060 scans of both runs, the image was changed between the runs"),
        ({"first": {"label_set": "2020@01"}}, "Each run is judged by a label set of its own"),
    ],
)
def test_what_limits_a_comparison_is_said_before_any_table(changed, sentence):
    """And only where it does."""
    first = replace(COMPARISON.first, **changed.pop("first", {}))
    second = replace(COMPARISON.second, **changed.pop("second", {}))
    comparison = replace(COMPARISON, first=first, second=second, **changed)
    assert sentence in text_of(comparison).partition(" AUROC ")[0]
    assert not any(told.startswith(sentence) for told in warnings(COMPARISON))
    assert [told for told in warnings(comparison) if sentence in told]


def test_names_from_the_ledger_control_no_terminal():
    """A model's name may be anything."""
    text = "\n".join(lines_of(a_comparison(PAIR, first={"model": "[red]\x1b[2Jx"})))
    assert "[red]\ufffd[2Jx" in text
    assert "\x1b" not in text


def test_a_sentence_counts_the_p_values_and_what_chance_gives():
    """Of all findings, not only of those that the terminal shows."""
    p_values = [
        p
        for one in COMPARISON.findings.values()
        for p in (*(figure.p_value for figure in one.figures.values()), one.flagged.p_value, one.correct.p_value)
        if p is not None
    ]
    below = sum(p < 0.05 for p in p_values)
    assert multiplicity_note(COMPARISON).startswith(
        f"Of {len(p_values)} p values over all findings, {below} are below 0.05; if nothing differed, chance alone "
        f"would give about {len(p_values) * 0.05:.1f}."
    )


def test_a_difference_without_an_interval_is_explained():
    """The same scores differ for no patient."""
    same = a_comparison(replace(PAIR, second=PAIR.first), thresholds=(0.3, 0.3))
    note = "A difference to which fewer than 5 patients add anything has none."
    assert note in text_of(same)
    assert note not in text_of(COMPARISON)


def test_scans_without_patients_or_labels_are_not_counted_as_if_they_had():
    """The headline says how many scans are labelled, and patients only if all are known."""
    text = headline(
        replace(COMPARISON, clusters="by scan, too narrow: no patient is known", used=1_200, patients=0),
    )
    assert "on 1,000 labelled ones of 1,200 held-out scans, label set" in text


@pytest.mark.parametrize(
    ("p_value", "text"),
    [
        (None, "–"),
        (0.0, "<0.001"),
        (0.012, "0.012"),
        (0.04996, "0.04996"),
        (0.05, "0.050"),
        (0.0504, "0.050"),
        (1, "1.000"),
    ],
)
def test_a_p_value_looks_below_one_in_twenty_only_if_it_is(p_value, text):
    """It has more digits if rounding would hide that."""
    assert format_p(p_value) == text


def test_a_difference_has_its_sign():
    """Without an interval, and if it is undefined, a dash; zero has no minus."""
    assert format_difference(Estimate(value=-0.0123, low=-0.03, high=0.004)) == "-0.012 (-0.030 to +0.004)"
    assert format_difference(Estimate(value=0.01)) == "+0.010 (-)"
    assert format_difference(Estimate(value=None)) == "–"
    assert format_change(-0.0001) == "+0.000"
