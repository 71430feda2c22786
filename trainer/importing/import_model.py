"""Imports a published network: from the file of its weights to an artifact that workers score with.

Importing this module imports Keras.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from db.errors import UserError
from trainer.console.optional_packages import IMPORT_PACKAGES, check_installed
from trainer.console.progress import print_status
from trainer.evaluation.imported_card import render_imported_card
from trainer.evaluation.model_card import MODEL_CARD_FILE
from trainer.importing.description import Description
from trainer.importing.manifest import is_same_import, make_manifest
from trainer.importing.network import TRIED_AT_ONCE, build_network, check_agreement, compute_logits
from trainer.importing.weights.network_weights import NetworkWeights
from trainer.importing.weights.pickles import refuse_pickle
from trainer.importing.weights.torch_names import from_torch, is_ignored
from trainer.phantoms.film import draw_film
from trainer.phantoms.plan import plan_phantoms
from trainer.publishing.export import export_for_workers
from trainer.publishing.publish import (
    add_file,
    check_name,
    check_same_scans,
    find_named,
    staging_folder,
    write_artifact,
)
from worker.artifacts.artifact import file_sha256
from worker.artifacts.exports import EXPORTS_FILE, write_exports
from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import load_keras_model
from worker.artifacts.manifest import Artifact, Manifest
from worker.artifacts.model_store import ModelStore
from worker.artifacts.split_file import SplitRow
from worker.entry_point import stoppable
from worker.images.pixels import Pixels, preprocess
from worker.images.preprocessing import Preprocessing

#: Phantoms that a network and its export score.
_PHANTOMS: Final = 32
_PHANTOMS_SEED: Final = 28
_KERAS_SUFFIXES: Final = frozenset({".h5", ".hdf5", ".keras"})


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import read and published."""

    artifact: Artifact
    #: Whether an earlier import had published it.
    was_there: bool
    #: The number of the network's outputs, and of those that were left out.
    outputs: int
    left_out: int
    #: What could not be made beside the artifact, each with its cause. The model is usable without it.
    missing: tuple[str, ...]


def read_weights(path: Path) -> NetworkWeights:
    """Read a file of weights, of any kind that can be imported.

    Raises:
        UserError: the file cannot be read, is a pickle, or does not hold the weights of a DenseNet.
    """
    check_installed("trainer import", IMPORT_PACKAGES)
    from trainer.importing.weights.safetensors_file import read_tensors

    refuse_pickle(path)
    if path.suffix.lower() == ".safetensors":
        return from_torch(read_tensors(path, ignored=is_ignored), path)
    if path.suffix.lower() in _KERAS_SUFFIXES:
        from trainer.importing.weights.keras_file import read_keras_file

        return read_keras_file(path)
    raise UserError(f"{path}: is not named as a file of weights; choose one that ends with .safetensors, .h5 or .keras")


def import_model(
    name: str, path: Path, description: Description, fitted: Sequence[SplitRow], *, models: ModelStore, export: bool
) -> Imported:
    """Publish the network of a file, completely or not at all, with its card and its export beside it.

    Args:
        name: the model's. The same import with the same name changes nothing.
        path: the file of weights.
        description: what its publisher says.
        fitted: the scans that it was fitted on; none if nobody knows them.
        models: the store to publish to.
        export: whether an OpenVINO export is published, too.

    Raises:
        UserError: see `read_weights` and `check_name`; file and description contradict each other; the network computes
            no finite scores; the name belongs to another artifact; or the store cannot be written.
        WorkStopped: a person stopped the command after the model was published.
    """
    check_name(name)
    weights = read_weights(path)
    check_agreement(weights, description, path)
    manifest = make_manifest(
        name, description, fitted, encoder=weights.encoder, about=_about(weights, description, path)
    )
    found = _find_imported(manifest, fitted, models)
    artifact = found or _publish(weights, manifest, description, fitted, path=path, models=models)
    with stoppable(f"model {name} is published; the same command makes what is missing beside it"):
        missing = tuple(_complete(artifact, models, export=export))
    return Imported(
        artifact=artifact,
        was_there=found is not None,
        outputs=len(description.outputs),
        left_out=len(description.outputs) - len(description.findings),
        missing=missing,
    )


def _about(weights: NetworkWeights, description: Description, path: Path) -> dict[str, str | int]:
    encoder = sum(tensor.size for tensors in weights.layers.values() for tensor in tensors)
    return {
        "weights_sha256": file_sha256(path),
        "parameters": encoder + (len(weights.kernel) + 1) * len(description.findings),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }


def _find_imported(manifest: Manifest, fitted: Sequence[SplitRow], models: ModelStore) -> Artifact | None:
    """The artifact that the same import has published before; None if the name is free."""
    artifact = find_named(manifest.name, models, is_same=partial(is_same_import, manifest))
    if artifact:
        check_same_scans(artifact, fitted, models)
    return artifact


def _publish(
    weights: NetworkWeights,
    manifest: Manifest,
    description: Description,
    fitted: Sequence[SplitRow],
    *,
    path: Path,
    models: ModelStore,
) -> Artifact:
    network = build_network(weights, description)
    print_status(f"scoring {_PHANTOMS} drawn radiographs")
    logits = compute_logits(network, draw_pixels(manifest.preprocessing), description)
    if not np.isfinite(logits).all():
        raise UserError(
            f"{path}: its network computes infinite scores of drawn radiographs, or scores that are not numbers; check"
            " range and scaling, or choose other weights"
        )
    return write_artifact(network, manifest, split=fitted, models=models)


def draw_pixels(rule: Preprocessing) -> Pixels:
    """The pixels of some phantoms, uint8 (N, H, W, 1): always the same ones."""
    plan = plan_phantoms(patients=_PHANTOMS, seed=_PHANTOMS_SEED)[:_PHANTOMS]
    with ThreadPoolExecutor() as pool:
        films = pool.map(lambda phantom: preprocess(draw_film(phantom, seed=_PHANTOMS_SEED), rule), plan)
        return np.stack(list(films))


def _complete(artifact: Artifact, models: ModelStore, *, export: bool) -> Iterator[str]:
    """Make what the artifact lacks beside it; yields what could not be made."""
    if not (artifact.folder / MODEL_CARD_FILE).exists():
        try:
            add_file(artifact, MODEL_CARD_FILE, render_imported_card(artifact.manifest).encode(), models)
        except UserError as error:
            yield f"{MODEL_CARD_FILE} ({error})"
    if export and not (artifact.folder / EXPORTS_FILE).exists():
        try:
            _export(artifact, models)
        except UserError as error:
            yield f"the OpenVINO export ({error})"


def _export(artifact: Artifact, models: ModelStore) -> None:
    pixels = draw_pixels(artifact.manifest.preprocessing)
    with staging_folder() as staging:
        formats = export_for_workers(
            load_keras_model(artifact), staging, pixels=pixels, indices=np.arange(len(pixels)), batch_size=TRIED_AT_ONCE
        )
        if formats:
            write_exports(staging, artifact.sha256, formats)
            models.add(artifact, staging, last=EXPORTS_FILE)
