import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, roc_auc_score

from db.labels.csv_file import LabelRow
from db.metrics.formulas import expected_calibration_error
from trainer.evaluation.evaluator import TABLE_THRESHOLDS, evaluate
from trainer.evaluation.metadata_baseline import metadata_scores
from trainer.evaluation.model_card import render_model_card
from trainer.evaluation.tables import format_interval, print_tables
from worker.artifacts.manifest import Manifest
from worker.images.preprocessing import Preprocessing

RNG = np.random.default_rng(0)
FINDINGS = ("Abnormal", "Effusion", "Hernia")

ABOUT = {
    "parameters": 7_000_000, "weights": "none", "scans_train": 1, "scans_validation": 1, "scans_test": 300,
    "split": "image", "seed": 0, "epochs": 3, "epochs_fitted": 2, "batch_size": 32, "optimizer": "adamw",
    "learning_rate": 0.001, "computed_in": "float32",
}  # fmt: skip
MANIFEST = Manifest(name="first", findings=FINDINGS, dataset="sample", about=ABOUT)


def row(number, **known):
    age = float(RNG.integers(5, 90))
    plain = {"patient_id": str(number // 3), "view": "PA", "sex": "F", "age_years": age, "follow_up": 0}
    return LabelRow(image_name=f"{number}.png", findings=("No Finding",), **plain | known)


@pytest.fixture(scope="module")
def scored():
    """300 scans of 100 patients: scores tell something about `Abnormal` and `Effusion`; no scan has `Hernia`."""
    rows = [
        row(number, view="AP" if number % 4 == 0 else "PA", sex="F" if number % 2 else "M") for number in range(300)
    ]
    labels = np.zeros((300, 3), np.float32)
    labels[:, :2] = RNG.random((300, 2)) < [0.4, 0.1]
    scores = np.clip(0.3 * labels + RNG.random((300, 3)) * 0.7, 0, 1).astype(np.float32)
    return rows, labels, scores


@pytest.fixture(scope="module")
def evaluation(scored):
    rows, labels, scores = scored
    chosen = {"Abnormal": {"best_f1": 0.37}, "Effusion": {}, "Hernia": {}}
    mean_pixels = RNG.random(300) * 255
    return evaluate(rows, labels, scores, chosen, findings=FINDINGS, mean_pixels=mean_pixels, rounds=200)


def test_figures_are_those_of_scikit_learn(scored, evaluation):
    """AUROC, average precision, Brier score and accuracy, of each finding."""
    _, labels, scores = scored
    for at, finding in enumerate(FINDINGS[:2]):
        one, exact = evaluation.findings[finding], scores[:, at].astype(float)
        assert one.auroc.value == pytest.approx(roc_auc_score(labels[:, at], exact))
        assert one.average_precision.value == pytest.approx(average_precision_score(labels[:, at], exact))
        assert one.brier.value == pytest.approx(brier_score_loss(labels[:, at], exact))
        assert one.accuracy.value == pytest.approx(accuracy_score(labels[:, at], exact >= 0.5))
        assert one.accuracy.low < one.accuracy.value < one.accuracy.high
        assert one.auroc.low < one.auroc.value < one.auroc.high


def test_the_calibration_error_is_that_of_its_definition():
    """Computed by hand for two bins: scores are 0.05 too high in one and 0.35 in the other."""
    scores, labels = np.array([0.05, 0.05, 0.85, 0.85]), np.array([False, False, True, False])
    assert expected_calibration_error(labels, scores) == pytest.approx((2 * 0.05 + 2 * 0.35) / 4)
    assert expected_calibration_error(labels[:0], scores[:0]) is None


def test_an_undefined_figure_is_null(evaluation):
    """For a finding that no scan has, the JSON has neither NaN nor 0."""
    hernia = evaluation.findings["Hernia"]
    assert (hernia.positives, hernia.auroc.value, hernia.average_precision.value) == (0, None, None)
    json.dumps(evaluation.as_json(), allow_nan=False)


def test_figures_are_of_the_scans_whose_label_is_known(scored):
    """Each finding's are those of an evaluation that has these scans alone, and other findings keep all scans."""
    rows, labels, scores = scored
    some = labels.copy()
    some[::3, 0] = np.nan
    known = ~np.isnan(some[:, 0])
    rest = [row for row, is_known in zip(rows, known, strict=True) if is_known]
    means = np.arange(300.0)
    given = {"findings": FINDINGS, "rounds": 20}
    found = evaluate(rows, some, scores, {}, mean_pixels=means, **given)
    alone = evaluate(rest, labels[known], scores[known], {}, mean_pixels=means[known], **given)
    whole = evaluate(rows, labels, scores, {}, mean_pixels=means, **given)
    assert found.findings["Abnormal"] == alone.findings["Abnormal"]
    assert found.findings["Abnormal"].scans == 200
    assert found.findings["Effusion"] == whole.findings["Effusion"]
    assert (found.scans, found.mean_auroc) == (300, whole.mean_auroc)
    assert "| Abnormal | " in (card := render_model_card(MANIFEST, found, None))
    assert "A scan whose label of a finding is unknown is in no figure of this finding." in card


def test_a_finding_that_is_known_of_no_scan_has_no_figures(scored):
    """It is undefined everywhere, and stops neither the card nor the JSON."""
    rows, labels, scores = scored
    none = labels.copy()
    none[:, 0] = np.nan
    found = evaluate(rows, none, scores, {}, findings=FINDINGS, mean_pixels=np.arange(300.0), rounds=5)
    abnormal = found.findings["Abnormal"]
    assert (abnormal.scans, abnormal.positives, abnormal.auroc.value, abnormal.brier.value) == (0, 0, None, None)
    json.dumps(found.as_json(), allow_nan=False)
    assert "| Abnormal | 0 of 0 | undefined |" in render_model_card(MANIFEST, found, None)


def test_one_patient_with_a_finding_gives_no_interval():
    """Draws of patients cannot tell how another patient's scans would have been ranked; two patients can."""
    rows = [row(number, patient_id=str(number // 2)) for number in range(40)]
    labels = np.zeros((40, 2), np.float32)
    labels[:2, 0] = 1
    labels[:3, 1] = 1
    scores = np.tile(RNG.random((40, 1)).astype(np.float32), 2)
    found = evaluate(rows, labels, scores, {}, findings=FINDINGS[:2], mean_pixels=np.arange(40.0), rounds=200)
    of_one, of_two = found.findings.values()
    for figure in (of_one.auroc, of_one.average_precision, of_one.groups["sex"]["F"].auroc):
        assert (figure.low, figure.high) == (None, None)
        assert format_interval(figure) == f"{figure.value:.3f} (-)"
    assert of_two.auroc.low < of_two.auroc.high
    assert format_interval(of_one.brier).endswith(")")


def test_an_interval_that_holds_a_half_says_that_the_model_guesses(scored, capsys):
    """In the card and in the tables; findings that are told apart, and those without an interval, are not named."""
    rows, labels, scores = scored
    random = np.where([[True, False, False]], RNG.random((300, 3)), scores).astype(np.float32)
    found = evaluate(rows, labels, random, {}, findings=FINDINGS, mean_pixels=np.arange(300.0), rounds=200)
    print_tables(found)
    sentence = "Abnormal: no better than guessing on these scans (the interval of AUROC holds 0.5)"
    assert sentence in capsys.readouterr().out.splitlines()
    assert f"**{sentence}.**" in render_model_card(MANIFEST, found, None).splitlines()
    good = evaluate(rows, labels, scores, {}, findings=FINDINGS, mean_pixels=np.arange(300.0), rounds=200)
    assert "guessing" not in render_model_card(MANIFEST, good, None)


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


def test_the_mean_is_over_nihs_findings_that_have_both_classes(scored, evaluation):
    """Not over `Abnormal`, which means any of them."""
    _, labels, scores = scored
    assert evaluation.mean_auroc.value == pytest.approx(roc_auc_score(labels[:, 1], scores[:, 1]))


def test_thresholds_are_given_and_not_chosen(scored, evaluation):
    """The manifest's and the mini project's five, with counts that add up."""
    abnormal = evaluation.findings["Abnormal"]
    assert [at["threshold"] for at in abnormal.table] == list(TABLE_THRESHOLDS)
    assert abnormal.at_thresholds["best_f1"]["threshold"] == 0.37
    for at in (*abnormal.table, *abnormal.at_thresholds.values()):
        assert at["tp"] + at["fp"] + at["fn"] + at["tn"] == 300
        assert at["correct"] == at["tp"] + at["tn"]
    predicted = scored[2][:, 0].astype(float) >= 0.37
    assert abnormal.at_thresholds["best_f1"]["tp"] == int((predicted & (scored[1][:, 0] > 0)).sum())


def test_every_scan_is_in_one_group_of_each_kind(scored, evaluation):
    """Of sex, age band and view; each group's AUROC is of its own scans."""
    rows, labels, scores = scored
    groups = evaluation.findings["Abnormal"].groups
    assert set(groups) == {"sex", "age", "view"}
    for kind in groups.values():
        assert sum(group.scans for group in kind.values()) == 300
        assert sum(group.positives for group in kind.values()) == labels[:, 0].sum()
    portable = np.array([one.view == "AP" for one in rows])
    expected = roc_auc_score(labels[portable, 0], scores[portable, 0])
    assert groups["view"]["AP"].auroc.value == pytest.approx(expected)


def test_an_unknown_age_is_a_group_of_its_own():
    """It is not counted as an infant's."""
    rows = [row(number, age_years=None if number < 10 else 0.5, sex=None) for number in range(20)]
    labels = np.tile(np.array([[0], [1]], np.float32), (10, 1))
    one = evaluate(rows, labels, labels, {}, findings=FINDINGS[:1], mean_pixels=np.arange(20.0), rounds=5)
    groups = one.findings["Abnormal"].groups
    assert {name: group.scans for name, group in groups["age"].items()} == {"0-17": 10, "unknown": 10}
    assert set(groups["sex"]) == {"unknown"}


def test_baselines_look_at_no_image(scored, evaluation):
    """Always positive has recall 1, the majority the larger class's share as accuracy."""
    share = scored[1][:, 0].mean()
    baselines = evaluation.findings["Abnormal"].baselines
    assert (baselines["always_positive"]["recall"], baselines["always_positive"]["auroc"]) == (1, 0.5)
    assert baselines["majority"]["accuracy"] == pytest.approx(1 - share)
    assert "f1" not in baselines["mean_pixel"]


def test_the_metadata_baseline_scores_patients_that_it_was_not_fitted_on():
    """It learns what the view says about a finding, and nothing from labels that only the patient explains."""
    patients = [str(number // 6) for number in range(600)]
    views = ["AP" if RNG.random() < 0.5 else "PA" for _ in range(600)]
    rows = [
        row(number, patient_id=patient, view=view)
        for number, (patient, view) in enumerate(zip(patients, views, strict=True))
    ]
    by_view = np.array([view == "AP" for view in views])
    assert roc_auc_score(by_view, metadata_scores(rows, by_view, patients)) > 0.99
    # Each patient has an age of their own and random labels, which a split by scan would know.
    random_labels = np.repeat(RNG.random(100) < 0.5, 6)
    aged = [row(number, patient_id=patient, age_years=20 + int(patient) / 2) for number, patient in enumerate(patients)]
    assert roc_auc_score(random_labels, metadata_scores(aged, random_labels, patients)) == pytest.approx(0.5, abs=0.15)


def test_a_class_with_too_few_patients_has_no_metadata_baseline(evaluation):
    """An undefined baseline is absent."""
    assert "metadata_only" not in evaluation.findings["Hernia"].baselines


@pytest.mark.parametrize("age", [None, 60.0])
def test_a_csv_without_age_sex_or_view_is_evaluated(age):
    """Columns that are unknown everywhere do no harm; if all are, there is no metadata baseline."""
    rows = [row(number, age_years=age if number % 2 else None, sex=None, view=None) for number in range(120)]
    labels = np.tile(np.array([[0], [1]], np.float32), (60, 1))
    one = evaluate(rows, labels, labels, {}, findings=FINDINGS[:1], mean_pixels=np.arange(120.0), rounds=5)
    assert ("metadata_only" in one.findings["Abnormal"].baselines) == (age is not None)


def test_the_model_card_claims_nothing_of_patients_that_are_unknown(scored):
    """It has the note, and says neither that patients are shared nor how many there are."""
    rows, labels, scores = scored
    anonymous = [replace(row, patient_id=None) for row in rows]
    found = evaluate(anonymous, labels, scores, {}, findings=FINDINGS, mean_pixels=np.arange(300.0), rounds=5)
    assert (found.patients, found.scans_without_patient) == (0, 300)
    card = render_model_card(MANIFEST, found, "Held out by patient cannot be told: x.")
    assert "**Held out by patient cannot be told: x.**" in card
    assert "300 scans that the model was not fitted on, of unknown patients" in card
    assert "bootstrap draws of scans." in card
    assert "flatter" not in card


def test_the_model_card_has_the_same_figures(evaluation):
    """Each finding's AUROC is the one of the JSON."""
    card = render_model_card(MANIFEST, evaluation, None)
    assert "300 scans that the model was not fitted on, of 100 patients" in card
    assert "cannot be told" not in card
    abnormal = evaluation.findings["Abnormal"].auroc
    assert f"{abnormal.value:.3f} ({abnormal.low:.3f} to {abnormal.high:.3f})" in card
    assert "| Hernia | 0 of 300 | undefined |" in card
    assert "flatter" in card
    assert "not a medical device" in card
