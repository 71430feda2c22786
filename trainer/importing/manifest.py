"""Writes the manifest of an imported model: what it scores, and what its publisher says of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from db.evaluation.evaluate import PUBLISHED
from db.findings import column_of
from trainer.importing.description import Description
from worker.artifacts.manifest import FITTED_SCANS, FORMAT_VERSION, UNKNOWN, Manifest
from worker.artifacts.split_file import SplitRow
from worker.images.preprocessing import Preprocessing

#: Keys of `about` that say which programs made the artifact.
_PROGRAMS: Final = frozenset({"keras", "backend"})


def make_manifest(
    name: str,
    description: Description,
    fitted: Sequence[SplitRow],
    *,
    encoder: str,
    about: Mapping[str, str | int],
) -> Manifest:
    """The manifest, without `files`.

    Args:
        name: the model's.
        description: what its publisher says.
        fitted: the scans that it was fitted on; none if nobody knows them.
        encoder: a name in `trainer.network.encoders.DENSENETS`.
        about: what else is known of the network and of the programs that read it.
    """
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        encoder=encoder,
        findings=description.findings,
        preprocessing=_preprocessing(description),
        views=tuple(sorted(set(description.views))),
        dataset=(fitted[0].dataset if fitted else None) or UNKNOWN,
        thresholds={finding: {PUBLISHED: threshold} for finding, threshold in description.thresholds.items()},
        about={**_about(description, fitted), **about},
    )


def is_same_import(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests are of imports of the same file that state the same."""
    return _content(one) == _content(other)


def _content(manifest: Manifest) -> dict[str, Any]:
    about = {key: value for key, value in manifest.about.items() if key not in _PROGRAMS}
    return manifest.model_dump(exclude={"files", "about"}) | {"about": about}


def _preprocessing(description: Description) -> Preprocessing:
    return Preprocessing(
        rule=FORMAT_VERSION,
        height=description.size,
        width=description.size,
        interpolation=description.interpolation,
        rendering=description.rendering,
        bits=description.bits,
        crop=description.crop,
        range=description.range,
    )


def _about(description: Description, fitted: Sequence[SplitRow]) -> dict[str, str | int | float]:
    stated = {
        "licence": description.licence,
        "citation": description.citation,
        "source": description.source,
        "published_auroc_of": description.published_auroc_of,
    }
    return {
        "imported": 1,
        "scaling": description.scaling,
        **{key: text for key, text in stated.items() if text},
        **{f"published_auroc_{column_of(finding)}": auroc for finding, auroc in description.published_auroc.items()},
        **({"scans_train": len(fitted)} if fitted else {FITTED_SCANS: UNKNOWN}),
    }
