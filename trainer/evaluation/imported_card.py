"""Renders the card of an imported model: its licence, and what its publisher says of it. Nothing in it was measured."""

from collections.abc import Mapping
from typing import Final

from db.evaluation.evaluate import PUBLISHED
from db.evaluation.format import UNDEFINED, format_threshold
from db.findings import column_of
from trainer.evaluation.model_card import card_environment, describe_images
from worker.artifacts.manifest import Manifest
from worker.artifacts.split_file import SUBSETS

_AUROC: Final = "published_auroc"


def render_imported_card(manifest: Manifest) -> str:
    """The card of a model that `trainer import` made, as Markdown.

    Args:
        manifest: of the import. Of its `about` the card shows `licence`, `source`, `citation`, `weights_sha256`,
            `parameters`, `scaling`, `published_auroc_<column>`, `published_auroc_of`, and, if its split lists scans,
            `scans_train`, `scans_validation` and `scans_test`; each may be missing.
    """
    about = manifest.about
    environment = card_environment()
    # What a description says may have line breaks, which would end a row of a table or begin a heading.
    environment.filters["line"] = lambda given: " ".join(str(given).split())
    environment.filters["cell"] = lambda given: UNDEFINED if given is None else format_threshold(given)
    return environment.get_template("imported_card.md.j2").render(
        manifest=manifest,
        about=about,
        images_note=describe_images(manifest.preprocessing),
        subsets=_count_subsets(about),
        stated=_published_figures(manifest),
        has_aurocs=any(name.startswith(f"{_AUROC}_") and name != f"{_AUROC}_of" for name in about),
    )


def _count_subsets(about: Mapping[str, str | int | float]) -> str:
    """Such as `80,192 training and 22,000 test`."""
    words = {"train": "training"}
    found = [f"{about[key]:,} {words.get(subset, subset)}" for subset in SUBSETS if (key := f"scans_{subset}") in about]
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def _published_figures(manifest: Manifest) -> dict[str, tuple[float | None, float | None]]:
    """By finding: the AUROC and the threshold that the publisher states; findings with neither are left out."""
    found = {}
    for finding in manifest.findings:
        auroc = manifest.about.get(f"{_AUROC}_{column_of(finding)}")
        threshold = manifest.thresholds.get(finding, {}).get(PUBLISHED)
        if auroc is not None or threshold is not None:
            found[finding] = (None if auroc is None else float(auroc), threshold)
    return found
