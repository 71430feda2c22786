"""The model card says what the evaluation says, and what a reader must know of it."""

from dataclasses import replace

import numpy as np

from db.evaluation.format import format_estimate
from trainer.evaluation.model_card import render_model_card
from worker.artifacts.manifest import Manifest
from worker.images.preprocessing import Preprocessing

ABOUT = {
    "parameters": 7_000_000, "weights": "none", "scans_train": 1, "scans_validation": 1, "scans_test": 300,
    "split": "image", "seed": 0, "epochs": 3, "epochs_fitted": 2, "batch_size": 32, "optimizer": "adamw",
    "learning_rate": 0.001, "computed_in": "float32",
}  # fmt: skip
MANIFEST = Manifest(
    name="first",
    findings=("Abnormal", "Effusion", "Hernia"),
    dataset="sample",
    thresholds={"Abnormal": {"best_f1": 0.375}},
    about=ABOUT,
)


def test_every_finding_has_all_figures_with_intervals(evaluation):
    """Those that need no threshold; the main finding's rates, groups and baselines, too."""
    lines = render_model_card(MANIFEST, evaluation, None).splitlines()
    for finding, result in evaluation.findings.items():
        one = result.figures
        ranking = map(format_estimate, (one.auroc, one.average_precision, one.brier))
        assert f"| {finding} | {one.positives} of {one.scans} | {' | '.join(ranking)} |" in lines
        calibration = (one.calibration_slope, one.calibration_intercept, one.observed_over_expected)
        assert f"| {finding} | {' | '.join(map(format_estimate, calibration))} |" in lines
    main = evaluation.findings["Abnormal"]
    for title, at in zip(["0.3", "0.4", "0.5", "0.6", "0.7", "0.375, best F1"], main.thresholds, strict=True):
        rates = at.rates
        shown = map(format_estimate, (rates.precision, rates.recall, rates.specificity, rates.f1, rates.accuracy))
        assert f"| {title} | {' | '.join(shown)} | {rates.tp + rates.tn} of 300 |" in lines
    for name, group in main.groups["manufacturer"].items():
        assert any(line.startswith(f"| manufacturer {name} | {group.positives} of {group.scans} |") for line in lines)
    named = [name.replace("_", " ") for name in main.baselines]
    assert named == ["always positive", "majority", "view only", "metadata only", "mean pixel"]
    for name, baseline in zip(named, main.baselines.values(), strict=True):
        assert any(line.startswith(f"| {name} | {format_estimate(baseline.auroc)} | ") for line in lines)


def test_the_card_says_of_what_its_figures_are(evaluation):
    """Scans, patients, what the intervals are clustered by, and how the scores were computed."""
    card = render_model_card(MANIFEST, evaluation, None)
    assert "300 scans that the model was not fitted on, of 100 patients" in card
    assert "Intervals are 95% intervals, clustered by patient." in card
    assert "those of Keras in float32. A run may compute its scores in bfloat16 or int8, so its figures differ" in card
    assert f"- Hernia: {evaluation.findings['Hernia'].figures.no_interval}" in card.splitlines()
    assert "flatter" in card
    assert "not a medical device" in card
    assert "cannot be told" not in card
    assert "guessing" not in card


def test_unknown_labels_are_said_to_be_in_no_figure(scored, evaluation):
    """Only where there are any; a finding that is known of no scan has dashes."""
    sentence = "A scan whose label of a finding is unknown is in no figure of this finding."
    none = scored.labels.copy()
    none[:, 0] = np.nan
    card = render_model_card(MANIFEST, scored.evaluate(labels=none), None)
    assert sentence in card
    assert "| Abnormal | 0 of 0 | – | – | – |" in card
    assert sentence not in render_model_card(MANIFEST, evaluation, None)


def test_the_card_says_that_a_model_guesses(scored):
    """In bold, in the words of the terminal and of a report."""
    random = scored.scores.copy()
    random[:, 0] = np.arange(300) / 300
    sentence = "**Abnormal: not shown to be better than guessing on these scans (the interval of AUROC holds 0.5).**"
    assert sentence in render_model_card(MANIFEST, scored.evaluate(scores=random), None).splitlines()


def test_the_card_claims_nothing_of_patients_that_are_unknown(scored):
    """It has the note, says that intervals are by scan, and does not say that patients are shared."""
    anonymous = scored.evaluate(rows=[replace(row, patient_id=None) for row in scored.rows])
    card = render_model_card(MANIFEST, anonymous, "Held out by patient cannot be told: x.")
    assert "**Held out by patient cannot be told: x.**" in card
    assert "300 scans that the model was not fitted on, of unknown patients" in card
    assert "Intervals are 95% intervals, by scan, too narrow" in card
    assert "flatter" not in card


def test_the_card_of_a_synthetic_model_says_so_in_its_first_lines(evaluation):
    """And that of another model does not."""
    synthetic = render_model_card(
        MANIFEST.model_copy(update={"about": {**MANIFEST.about, "synthetic": 1}}), evaluation, None
    )
    note = "**This model was fitted on synthetic radiographs, so its scores of real ones mean nothing.**"
    assert synthetic.splitlines()[:3] == ["# first", "", note]
    assert "synthetic" not in render_model_card(MANIFEST, evaluation, None)


def test_the_card_says_how_images_become_pixels(evaluation):
    """Of a manifest of format 2; one of format 1 does not say it."""
    rule = Preprocessing(rule=2, rendering="equalized", bits=12, crop="center", range=(-1024, 1024))
    newer = MANIFEST.model_copy(update={"format_version": 2, "preprocessing": rule, "views": ("AP", "PA")})
    card = render_model_card(newer, evaluation, None)
    assert "rendering `equalized`, 12 of 16 bits, cut to a square around the middle, scaled to -1024..1024" in card
    assert "- Views of the training scans: AP, PA." in card
    plain = MANIFEST.model_copy(update={"format_version": 2, "preprocessing": Preprocessing(rule=2)})
    card = render_model_card(plain, evaluation, None)
    assert "rendering `display`, 16 bits by their own depth (pixel rule 2)." in card
    assert "- Views of the training scans: not all known." in card
    assert "rendering" not in render_model_card(MANIFEST, evaluation, None)


def test_a_fit_that_began_from_unknown_scans_does_not_call_its_test_scans_unseen(evaluation):
    """The weights that it began from may have been fitted on them."""
    from_import = MANIFEST.model_copy(update={"about": {**ABOUT, "fitted_scans": "unknown"}})
    card = render_model_card(from_import, evaluation, None)
    assert "All figures are of 300 scans that this fit was not given, of 100 patients" in card
    assert "**The weights that it began from may have been fitted on these scans: nobody knows.**" in card
    assert "nobody knows" not in render_model_card(MANIFEST, evaluation, None)
