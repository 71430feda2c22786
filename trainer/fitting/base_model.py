"""The base model of a fit: the artifact whose encoder `--weights` names. It also decides how the fit sees pixels.

Scans that the base model was fitted or tuned on count as seen by the new model, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from db.errors import UserError
from db.metrics.held_out import FITTED_SUBSETS
from trainer.data.held_out import find_seen, identity_of
from trainer.recipe import Recipe, make_recipe
from worker.artifacts.artifact import load_artifact
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE, Artifact, Manifest
from worker.artifacts.model_store import ModelStore, find_by_name
from worker.artifacts.split_file import SplitRow, read_split
from worker.images.preprocessing import RULE_1

#: Keys in the `about` of a fitted model's manifest: its recipe's range.
BLACK: Final = "range_black"
WHITE: Final = "range_white"
#: What a fit says once of initial weights that nobody knows the scans of.
UNKNOWN_WEIGHTS_NOTE: Final = (
    "held out: unknown. Nobody knows which scans these --weights were fitted on, so the new model's figures may flatter"
    " it"
)
_OTHER_WEIGHTS: Final = "; there is no such file either; none and imagenet are possible, too"
_NO_MODEL: Final = frozenset({"none", "imagenet"})
#: How the names of Keras' own files of ImageNet weights end.
_IMAGENET_FILE: Final = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
#: How images become pixels, besides their size.
_PIXELS: Final = ("color", "crop", "interpolation", "rendering", "bits")


def find_base_model(weights: str, models: ModelStore) -> Artifact | None:
    """The artifact that these initial weights are of, on this machine's disk.

    Args:
        weights: as `--weights` takes them: `none`, `imagenet`, a file, or the name or hash of a model in the store. A
            file wins over a model of its name.
        models: the model store.

    Returns:
        None for `none`, `imagenet` and files that are no artifact's.

    Raises:
        UserError: there is neither such a file nor such a model, or the artifact is damaged.
    """
    if weights in _NO_MODEL:
        return None
    path = Path(weights)
    if not path.is_file():
        return find_by_name(weights, models, flag="--weights", others=_OTHER_WEIGHTS)
    is_artifact = weights.endswith(".keras") and (path.parent / MANIFEST_FILE).is_file()
    return load_artifact(path.parent) if is_artifact else None


def weights_file(weights: str, base_model: Artifact | None) -> str:
    """`none`, `imagenet`, or the file that the encoder's initial weights are read from."""
    if base_model is None or Path(weights).is_file():
        return weights
    return str(base_model.folder / MODEL_FILE)


def begin_recipe(preset: str, given: Mapping[str, Any], models: ModelStore) -> Recipe:
    """A preset's recipe with a person's choices; a base model decides its encoder and its pixels where they did not.

    Args:
        preset: a name in `trainer.recipe.PRESETS`.
        given: fields of a recipe, or None. `weights` may be the name of a model in the store, which becomes its hash.
        models: the model store.

    Raises:
        UserError: see `make_recipe` and `find_base_model`; the person chose another encoder than the base model's; or
            nobody says how its pixels are scaled.
    """
    weights = given.get("weights") or "none"
    base_model = find_base_model(weights, models)
    if base_model is None:
        return make_recipe(preset, **given)
    chosen = {name: value for name, value in given.items() if value is not None}
    chosen["weights"] = weights if Path(weights).is_file() else base_model.sha256
    return make_recipe(preset, **_choices_of(base_model, chosen) | chosen)


def is_fitted_on_unknown_scans(weights: str, base_model: Artifact | None) -> bool:
    """Whether nobody knows which scans these initial weights were fitted on."""
    if base_model:
        return base_model.manifest.fitted_scans_unknown
    return weights not in _NO_MODEL and not weights.endswith(_IMAGENET_FILE)


def refuse_data_leak(base_model: Artifact, dataset: str, split: Sequence[SplitRow]) -> None:
    """Check that the fit is not evaluated on scans that the base model has learned, which would flatter it.

    Args:
        base_model: the artifact whose weights the fit begins with.
        dataset: of the split's rows that name none.
        split: the fit's.

    Raises:
        UserError: the base model was fitted or tuned on test scans, or fitted on validation scans, or on their
            patients.
    """
    scans = [identity_of(row, dataset) for row in split]
    for subset, used in (("test", FITTED_SUBSETS), ("validation", ("train",))):
        found = find_seen(scans, base_model, used=used)
        in_subset = np.array([row.subset == subset for row in split], np.bool_)
        seen = (found.itself | found.patient)[in_subset]
        if seen.any():
            raise UserError(
                f"--weights: {base_model.manifest.name} was fitted on {seen.sum()} of the {len(seen)} {subset} scans,"
                f" or on their patients; {_remedy(base_model)}, or choose other weights"
            )


def add_base_model_scans(split: Iterable[SplitRow], base_model: Artifact | None) -> tuple[SplitRow, ...]:
    """A split together with the scans that the base model was fitted and tuned on, so that reports leave them out.

    These keep their own dataset: a patient of the same number in the new model's dataset is another patient.
    """
    own = tuple(split)
    if base_model is None:
        return own
    names = {(row.dataset, row.image_name) for row in own}
    fitted = (row for row in read_split(base_model.folder) if row.subset in FITTED_SUBSETS)
    inherited = (replace(row, dataset=row.dataset or base_model.manifest.dataset) for row in fitted)
    return (*own, *(row for row in inherited if (row.dataset, row.image_name) not in names))


def _remedy(base_model: Artifact) -> str:
    if base_model.manifest.about.get("imported"):
        # Nobody can give the seed of a publisher's split.
        return "use a CSV of other scans"
    return "use the CSV, seed and shares that it was fitted with"


def _choices_of(base_model: Artifact, given: Mapping[str, Any]) -> dict[str, Any]:
    manifest = base_model.manifest
    if given.get("encoder", manifest.encoder) != manifest.encoder:
        raise UserError(
            f"--encoder {given['encoder']} contradicts --weights: {manifest.name} has the encoder {manifest.encoder};"
            " leave out one of the flags"
        )
    chosen = {"encoder": manifest.encoder, **{name: getattr(manifest.preprocessing, name) for name in _PIXELS}}
    if not {"scaling", "range"} & set(given):
        chosen |= _scaling_of(manifest)
    return chosen


def _scaling_of(manifest: Manifest) -> dict[str, Any]:
    scaling, rule = manifest.about.get("scaling"), manifest.preprocessing
    # An import's range stands in its preprocessing, because the worker scales; a fit's network scales by itself.
    if scaling == "range" or rule.range != RULE_1.range:
        fitted = tuple(manifest.about[key] for key in (BLACK, WHITE) if key in manifest.about)
        return {"scaling": "range", "range": fitted or rule.range}
    if scaling is None:
        raise UserError(
            f"--weights: the manifest of {manifest.name} does not say how its network scales pixels; give --scaling,"
            " and --range for a scaling of range"
        )
    return {"scaling": scaling}
