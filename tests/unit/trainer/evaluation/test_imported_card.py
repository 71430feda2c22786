"""The card of an imported model says what others say of it, and claims nothing of its own."""

import pytest

from trainer.evaluation.imported_card import render_imported_card
from worker.artifacts.manifest import Manifest
from worker.images.preprocessing import Preprocessing

LICENCE = "**Licence of the weights: Apache-2.0.** Read it before you use or share them."
MANIFEST = Manifest(
    format_version=2,
    name="nih",
    findings=("Atelectasis", "Lung Opacity", "Hernia"),
    dataset="unknown",
    preprocessing=Preprocessing(rule=2, crop="center", range=(-1024, 1024)),
    views=("AP", "PA"),
    thresholds={"Lung Opacity": {"published": 0.0056}},
    about={
        "imported": 1, "fitted_scans": "unknown", "scaling": "range", "licence": "Apache-2.0",
        "citation": "Cohen et al.\n# TorchXRayVision", "source": "https://example.org/nih", "weights_sha256": "ab" * 32,
        "published_auroc_atelectasis": 0.7842, "published_auroc_of": "NIH's test list", "parameters": 6_966_034,
    },
)  # fmt: skip


def changed(*without, **fields):
    about = {key: value for key, value in (MANIFEST.about | fields.pop("about", {})).items() if key not in without}
    return render_imported_card(MANIFEST.model_copy(update={**fields, "about": about})).splitlines()


def test_the_licence_stands_first():
    """Before anything that makes a person want the model; a missing one is said to be missing."""
    assert changed()[:3] == ["# nih", "", LICENCE]
    assert changed("licence")[2].startswith("**Licence of the weights: none is stated.** Ask their publisher")


def test_the_card_says_where_the_weights_come_from_and_what_they_compute():
    """A line break in what the publisher says begins no heading."""
    lines = changed()
    assert "- Source: https://example.org/nih." in lines
    assert "- Citation: Cohen et al. # TorchXRayVision." in lines
    assert f"- File of the weights: sha256 `{'ab' * 32}`." in lines
    assert "- Network: densenet121 on 224x224 gray pixels, 6,966,034 parameters." in lines
    (images,) = (line for line in lines if line.startswith("- Images:"))
    assert "rendering `display`" in images
    assert "cut to a square around the middle, scaled to -1024..1024" in images
    assert "`area` interpolation" in images
    assert "- Views of the publisher's scans: AP, PA." in lines
    imagenet = "\n".join(changed(about={"scaling": "imagenet"}))
    assert "scaled by ImageNet's mean and deviation" in imagenet


def test_figures_are_those_of_the_publisher():
    """A finding of which it states nothing has no row, and nothing is called measured."""
    lines = changed()
    table = [line for line in lines if line.startswith("| ")]
    assert table[1:] == ["| Atelectasis | 0.7842 | – |", "| Lung Opacity | – | 0.0056 |"]
    assert "The AUROCs are of NIH's test list. They are as published, not measured here." in lines
    assert "The publisher states the thresholds, too. None was chosen or checked here." in lines
    without = changed("published_auroc_atelectasis", "published_auroc_of", thresholds={})
    assert "The publisher states no AUROC." in without
    assert "The publisher states no threshold." in without
    assert not [line for line in without if line.startswith("|")]


def test_the_card_says_whether_the_fitted_scans_are_known():
    """Unknown, as all reports say; or the counts of the split that the import computed again."""
    assert 'so every report of it says\n"held out: unknown".' in "\n".join(changed())
    counts = {"scans_train": 80_000, "scans_validation": 10_000, "scans_test": 9_999}
    known = "\n".join(changed("fitted_scans", about=counts, dataset="Data_Entry_2017"))
    assert "80,000 training, 10,000 validation and 9,999 test scans of `Data_Entry_2017`, which `split.csv`" in known
    assert "unknown" not in known.lower()
    assert "Nobody knows which other scans the model was fitted on" in "\n".join(changed(about=counts))


@pytest.mark.parametrize("key", sorted(MANIFEST.about))
def test_what_is_not_stated_breaks_no_card(key):
    """A description may leave out any of it."""
    assert changed(key)[-1].startswith("  shortcuts, so compare the groups and the baselines of a report.")
