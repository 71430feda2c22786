"""What a comparison says on a terminal of 80 columns, and in which words."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from db.evaluation.estimate import Estimate
from producer.compare.format import format_change, format_difference, format_p
from producer.compare.sentences import FIGURES, describe_thresholds, labels_note, multiplicity_note, warnings
from producer.compare.table import changed_rows, changed_titles, print_comparison
from producer.compare.verdict import headline
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
        f"Run 7 (convnext) has the higher AUROC for Abnormal: {auroc.second.value:.3f}, run 3 (densenet-2025) has "
        f"{auroc.first.value:.3f}; difference "
        f"{format_difference(auroc.difference)}, p {format_p(auroc.p_value)}, on 1,000 held-out scans of 600 patients, "
        "label set 2017@89ab89ab89ab first: run 3, model densenet-2025 (0123456789ab), "
    )


@pytest.mark.parametrize(
    ("changed", "begins"),
    [
        ({"value": 0.05, "p_value": 0.01}, "Run 7 (convnext) has the higher AUROC for Abnormal: {second}, run 3 ("),
        (
            {"value": -0.05, "p_value": 0.01},
            "Run 3 (densenet-2025) has the higher AUROC for Abnormal: {first}, run 7 (",
        ),
        ({"value": 0.05, "p_value": 0.05}, "Neither run is shown to have the higher AUROC for Abnormal: run 7 ("),
        ({"value": 0.05, "p_value": None}, "Which run has the higher AUROC for Abnormal cannot be tested: run 7 ("),
    ],
)
def test_the_headline_says_which_run_is_better_only_if_the_interval_tells(changed, begins):
    """The better one comes first, with the model's name."""
    auroc = COMPARISON.main.figures["auroc"]
    figures = {"first": f"{auroc.first.value:.3f}", "second": f"{auroc.second.value:.3f}"}
    difference = replace(auroc.difference, value=changed["value"])
    auroc = replace(auroc, difference=difference, p_value=changed["p_value"])
    main = replace(COMPARISON.main, figures={**COMPARISON.main.figures, "auroc": auroc})
    comparison = replace(COMPARISON, findings={**COMPARISON.findings, "Abnormal": main})
    assert headline(comparison).startswith(begins.format(**figures))


def test_two_runs_of_one_model_name_it_once():
    """Of two models of one name, the hash tells which."""
    one = headline(a_comparison(PAIR, second={"model": "densenet-2025", "model_sha256": "0123456789abcdef" * 4}))
    assert one.startswith("Run 7 has the higher")
    assert one.count("densenet-2025") == 1
    namesakes = headline(a_comparison(PAIR, second={"model": "densenet-2025"}))
    assert namesakes.startswith("Run 7 (densenet-2025 fedcfedcfedc) has")


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
        assert cells_of(lines, "scores", finding.split()[0])[-1] == f"{result.agreement.rank_correlation:.3f}"
        assert cells_of(lines, "right", finding)[0] == str(result.correct.both)
    assert "Abnormal at 0.31 (Youden, run 3) and 0.2471 (best F1, run 7):" in lines
    assert "Sensitivity and specificity differ by threshold as well as by model." in lines
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


@pytest.mark.parametrize(
    ("names", "numbers", "text"),
    [
        (("given", "given"), (0.3, 0.3), "0.3"),
        (("youden", "youden"), (0.3, 0.3), "0.3 (Youden)"),
        (("youden", "default"), (0.3, 0.5), "0.3 (Youden, run 3) and 0.5 (default, run 7)"),
        (("youden", "youden"), (0.6351212, 0.6351414), "0.635 (Youden, run 3) and 0.635 (Youden, run 7)"),
    ],
)
def test_a_threshold_of_both_runs_is_named_once(names, numbers, text):
    """One number, as if it were one model's; then only the models differ."""
    runs = [{"chosen_by": dict.fromkeys(COMPARISON.findings, name)} for name in names]
    comparison = a_comparison(PAIR, thresholds=numbers, first=runs[0], second=runs[1])
    assert describe_thresholds(comparison, "Abnormal") == text
    printed = text_of(comparison)
    assert f"Abnormal at {text}:" in printed
    assert ("Scans that are flagged at 0.3:" in printed) == (names[0] == "given")
    assert ("differ by threshold" in printed) == (numbers[0] != numbers[1])


def test_scans_with_another_label_are_counted_where_two_label_sets_judge():
    """Of the main finding, and of others where there are any. Where one label set judges both, no sentence."""
    labels = PAIR.second.labels.copy()
    labels[:7, 0] = ~labels[:7, 0]
    labels[:3, 2] = ~labels[:3, 2]
    pair = replace(PAIR, second=replace(PAIR.second, labels=labels))
    comparison = a_comparison(pair, second={"label_set": "radiologists@12"})
    assert "label set of run 7: Abnormal 7 of 1,000, Enlarged Cardiomediastinum 3 of 1,000." in text_of(comparison)
    assert [one.labels_changed for one in comparison.findings.values()] == [7, 0, 3]
    assert labels_note(COMPARISON) is None
    assert a_comparison(a_pair(("Abnormal",), labelled=False)).main.labels_changed is None


@pytest.mark.parametrize(
    ("comparison", "titles"),
    [
        (a_comparison(PAIR), ("label",)),
        (a_comparison(PAIR, second={"label_set": "radiologists@12"}), ("first label", "second label")),
        (a_comparison(a_pair(("Abnormal",), labelled=False)), ()),
    ],
    ids=["one", "two", "none"],
)
def test_a_changed_scan_has_a_label_for_each_label_set(comparison, titles):
    """One where one label set judges both runs."""
    assert changed_titles(comparison) == ("scan", "first", "second", *titles)
    assert {len(row) for row in changed_rows(comparison, PAIR)} == {3 + len(titles)}


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
        ({"same_outcomes": 5, "first": {"label_set": "2020@01"}}, "Each run is judged by a label set of its own"),
        ({"first": {"label_set": "2020@01"}}, "Each run is judged by a label set of its own"),
    ],
)
def test_what_limits_a_comparison_is_said_before_any_table(changed, sentence):
    """And only where it does."""
    first = replace(COMPARISON.first, **changed.pop("first", {}))
    second = replace(COMPARISON.second, **changed.pop("second", {}))
    comparison = replace(COMPARISON, first=first, second=second, **changed)
    assert sentence in text_of(comparison).partition(" AUROC first ")[0]
    assert not any(told.startswith(sentence) for told in warnings(COMPARISON))
    assert [told for told in warnings(comparison) if sentence in told]


def test_one_sentence_says_that_only_labels_differ():
    """If both runs hold the same outcomes, that a difference may be one of labels is said already."""
    first = replace(COMPARISON.first, label_set="2020@01")
    told = warnings(replace(COMPARISON, first=first, same_outcomes=1_060))
    assert [sentence for sentence in told if "label" in sentence] == [
        "Both runs hold the very same outcomes, so scores cannot differ: only labels do."
    ]


def test_names_from_the_ledger_control_no_terminal():
    """A model's name may be anything."""
    text = "\n".join(lines_of(a_comparison(PAIR, first={"model": "[red]\x1b[2Jx"})))
    assert "[red]\ufffd[2Jx" in text
    assert "\x1b" not in text


def test_a_sentence_counts_the_p_values_and_what_chance_gives():
    """Of all findings, not only of those that the terminal shows; of AUROC apart from the rest."""
    p_values = [
        p
        for one in COMPARISON.findings.values()
        for p in (*(figure.p_value for figure in one.figures.values()), one.flagged.p_value, one.correct.p_value)
        if p is not None
    ]
    below = sum(p < 0.05 for p in p_values)
    of_auroc = sum(one.figures["auroc"].p_value < 0.05 for one in COMPARISON.findings.values())
    assert multiplicity_note(COMPARISON) == (
        f"Of 3 p values of AUROC, {of_auroc} is below 0.05; if nothing differed, chance alone would give about 0.2. "
        f"Of {len(p_values)} p values in all, {below} are below 0.05; if nothing differed, chance alone would give "
        f"about {len(p_values) * 0.05:.1f}. None is corrected for their number."
    )


def test_a_difference_without_an_interval_is_explained():
    """The same scores differ for no patient."""
    same = a_comparison(replace(PAIR, second=PAIR.first), thresholds=(0.3, 0.3))
    note = "(-): no interval and no p, because fewer than 5 scans or patients are positive or negative"
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
    """Without an interval, and if it is undefined, a dash. It has more digits if rounding would hide the sign."""
    assert format_difference(Estimate(value=-0.0123, low=-0.03, high=0.004)) == "-0.012 (-0.030 to +0.004)"
    assert format_difference(Estimate(value=0.01)) == "+0.010 (-)"
    assert format_difference(Estimate(value=None)) == "–"
    changes = (-0.00025, 0.000012, -1e-9, 0.0, -0.0)
    assert [format_change(value) for value in changes] == ["-0.0003", "+0.00001", "-0.000", "0.000", "0.000"]
    assert format_difference(Estimate(value=-0.019, low=-0.039, high=-0.00025)) == "-0.019 (-0.039 to -0.0003)"
