"""A model that starts from another model's weights has seen that model's scans, too."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from trainer.data.training_data import Source
from trainer.evaluation.evaluate_artifact import EVALUATION_FILE
from trainer.fitting.base_model import (
    add_base_model_scans,
    begin_recipe,
    find_base_model,
    is_fitted_on_unknown_scans,
    refuse_data_leak,
    weights_file,
)
from trainer.fitting.fit import FitOptions, fit
from trainer.network.encoders import build_encoder
from trainer.network.model import LOGITS, build_model
from trainer.publishing.publish import write_artifact
from trainer.recipe import make_recipe
from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import load_keras_model
from worker.artifacts.manifest import FITTED_SCANS, MODEL_FILE, UNKNOWN, Manifest
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.split_file import SplitRow, read_split, write_split
from worker.images.preprocessing import Preprocessing

TINY = {"encoder": "densenet37", "size": 32, "epochs": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return FitOptions(models=FolderModelStore(home / "models"), scratch=home / "trainer", export=False)


@pytest.fixture(scope="module")
def base_model(phantoms, options):
    return fit("base", Source(csv=phantoms), make_recipe("best", **TINY), options).artifact


def split_of(phantoms, base_model, subsets, *, subset):
    """The base model's scans of these subsets, as scans of a subset of another fit."""
    used = {row.image_name for row in read_split(base_model.folder) if row.subset in subsets}
    rows = (row for row in read_labels_csv(phantoms).rows if row.image_name in used)
    return [SplitRow(image_name=row.image_name, patient_id=row.patient_id, subset=subset) for row in rows]


@pytest.mark.variant
def test_a_fit_starts_from_a_models_encoder_at_another_size(phantoms, options, base_model):
    """One gray channel stays one, and the manifest names the base model and no path of this machine."""
    weights = str(base_model.folder / MODEL_FILE)
    fitted = fit("new", Source(csv=phantoms), make_recipe("best", **TINY | {"size": 48}, weights=weights), options)
    assert fitted.artifact.manifest.preprocessing.shape == (48, 48, 1)
    assert fitted.artifact.manifest.about["weights"] == f"base ({base_model.sha256[:12]})"
    assert str(base_model.folder) not in (fitted.artifact.folder / "manifest.json").read_text()


@pytest.mark.slow
def test_another_split_than_the_base_models_is_refused(phantoms, options, base_model):
    """Some of its test scans are scans that the encoder was fitted on."""
    recipe = make_recipe("best", **TINY, seed=1, weights=str(base_model.folder / MODEL_FILE))
    with pytest.raises(UserError, match=r"base was fitted on \d+ of the \d+ test scans, or on their patients"):
        fit("leaky", Source(csv=phantoms), recipe, options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("validation", "test", "leaks"),
    [
        (["validation"], ["test"], False),
        (["test"], ["test"], False),
        (["train"], ["test"], True),
        (["validation"], ["validation"], True),
        (["validation"], ["train"], True),
    ],
)
def test_scans_may_be_used_as_the_base_model_used_them(phantoms, base_model, validation, test, leaks):
    """Its validation scans may be validation scans but not test scans; its training scans may be neither."""
    splits = [
        split_of(phantoms, base_model, validation, subset="validation"),
        split_of(phantoms, base_model, test, subset="test"),
    ]
    with pytest.raises(UserError, match="--weights") if leaks else nullcontext():
        for split in splits:
            refuse_data_leak(base_model, phantoms.stem, split)


@pytest.mark.slow
def test_a_renamed_film_of_the_base_model_is_no_test_scan(base_model):
    """It is known by its bytes, under whatever name, patient and dataset."""
    film = next(row for row in read_split(base_model.folder) if row.subset == "train")
    renamed = replace(film, image_name="new.png", patient_id="new", dataset="new", subset="test")
    with pytest.raises(UserError, match="base was fitted on 1 of the 1 test scans"):
        refuse_data_leak(base_model, "new", [renamed])
    refuse_data_leak(base_model, "new", [replace(renamed, content=None)])


@pytest.mark.slow
def test_the_split_includes_the_scans_that_the_base_model_has_seen(base_model):
    """Reports leave them out by the split; scans that the base model was only tested on are unseen."""
    own = SplitRow(image_name="other.png", patient_id="1", subset="train")
    both = add_base_model_scans([own], base_model)
    seen = [row for row in read_split(base_model.folder) if row.subset != "test"]
    assert both == (own, *seen)
    assert add_base_model_scans(both, base_model) == both
    assert add_base_model_scans([own], None) == (own,)


@pytest.mark.slow
def test_inherited_scans_keep_the_dataset_that_their_patients_are_of(base_model):
    """Also those of an older artifact, whose rows name none, and beside an own scan of the same name."""
    film = next(row for row in read_split(base_model.folder) if row.subset == "train")
    assert film.dataset == base_model.manifest.dataset
    both = add_base_model_scans([replace(film, dataset="new")], base_model)
    assert {row.dataset for row in both if row.image_name == film.image_name} == {"new", film.dataset}


@pytest.mark.parametrize("weights", ["none", "imagenet", "file.h5", "model.keras"])
def test_other_weights_have_no_base_model(tmp_path, monkeypatch, weights):
    """`none`, ImageNet's weights, and files outside an artifact."""
    monkeypatch.chdir(tmp_path)
    for name in ("file.h5", "model.keras"):
        Path(name).touch()
    assert find_base_model(weights, FolderModelStore(tmp_path / "models")) is None


def published(models, name, *, encoder=None, range_of_pixels=(0, 255), **about):
    """A model as `trainer import` and others publish it: float32 in its range, and the encoder as a layer of it."""
    pixels = keras.Input((32, 32, 1))
    features = (encoder or keras.layers.Flatten())(pixels)
    model = keras.Model(pixels, keras.layers.Dense(1, "sigmoid")(features))
    rule = Preprocessing(rule=2, height=32, width=32, range=range_of_pixels, crop="center", interpolation="linear")
    manifest = Manifest(
        format_version=2, name=name, encoder="densenet37", findings=("Mass",), preprocessing=rule, dataset="unknown",
        about=about,
    )  # fmt: skip
    return write_artifact(model, manifest, split=(), models=models)


@pytest.fixture(scope="module")
def imported(options):
    """A model as `trainer import` publishes it, whose publisher does not say which scans it was fitted on."""
    about = {"imported": 1, "scaling": "range", FITTED_SCANS: UNKNOWN}
    encoder = build_encoder("densenet37", (32, 32, 1))
    return published(options.models, "imported", encoder=encoder, range_of_pixels=(-1024, 1024), **about)


def begin(options, preset="best", **given):
    return begin_recipe(preset, {"size": 32, "encoder": None, **given}, options.models)


def test_a_model_is_found_by_its_name_or_hash_and_decides_how_the_fit_sees_pixels(options, imported):
    """Also against the preset; the recipe has its hash, which is the same on a machine with other folders."""
    for weights in ("imported", imported.sha256, imported.sha256[:12]):
        recipe = begin(options, "report", weights=weights)
        assert (recipe.weights, recipe.encoder) == (imported.sha256, "densenet37")
        assert (recipe.scaling, recipe.range) == ("range", (-1024, 1024))
        rule = recipe.preprocessing
        assert (rule.color, rule.crop, rule.interpolation, rule.rendering) == ("gray", "center", "linear", "display")


def test_a_flag_says_otherwise(options, imported):
    """Each by itself; another scaling has no range."""
    recipe = begin(options, weights="imported", crop="none", scaling="scan")
    assert (recipe.crop, recipe.interpolation, recipe.scaling, recipe.range) == ("none", "linear", "scan", None)
    assert begin(options, weights="imported", range=(0, 1)).range == (0, 1)


def test_an_artifacts_file_decides_as_its_name_does(options, imported):
    """The recipe has the path, as those of earlier fits do."""
    weights = str(imported.folder / MODEL_FILE)
    assert begin(options, weights=weights) == begin(options, weights="imported").model_copy(update={"weights": weights})


def test_a_file_wins_over_a_model_of_its_name(options, imported, tmp_path, monkeypatch):
    """Or a file could not be named at all."""
    monkeypatch.chdir(tmp_path)
    Path("imported").touch()
    assert begin(options, weights="imported", encoder="densenet37").weights == "imported"


def test_neither_a_file_nor_a_model_is_one_sentence(options, imported):
    """It lists what is possible."""
    with pytest.raises(
        UserError,
        match=r"--weights 'other' matches 0 .* imported \(.*; there is no such file either; none and imagenet",
    ):
        begin(options, weights="other")


def test_another_encoder_than_the_models_is_one_sentence(options, imported):
    """The weights would not fit."""
    with pytest.raises(
        UserError, match="--encoder resnet50 contradicts --weights: imported has the encoder densenet37"
    ):
        begin(options, weights="imported", encoder="resnet50")


@pytest.mark.parametrize(
    ("about", "range_of_pixels", "scaling", "black_and_white"),
    [
        ({"scaling": "scan"}, (0, 255), "scan", None),
        ({"scaling": "imagenet"}, (0, 255), "imagenet", None),
        ({"scaling": "range"}, (0, 255), "range", (0, 255)),
        ({"scaling": "range", "range_black": -1.0, "range_white": 1.0}, (0, 255), "range", (-1, 1)),
        ({}, (0, 1), "range", (0, 1)),
    ],
)
def test_the_manifest_says_how_a_network_scales_pixels(tmp_path, about, range_of_pixels, scaling, black_and_white):
    """That of a fit scales by itself; in front of an imported one and of others the worker does."""
    models = FolderModelStore(tmp_path)
    published(models, "m", range_of_pixels=range_of_pixels, **about)
    recipe = begin_recipe("best", {"weights": "m"}, models)
    assert (recipe.scaling, recipe.range) == (scaling, black_and_white)


def test_a_model_that_does_not_say_how_it_scales_pixels_needs_a_flag(tmp_path):
    """The preset's scaling would be a guess."""
    models = FolderModelStore(tmp_path)
    published(models, "m")
    with pytest.raises(UserError, match="m does not say how its network scales pixels; give --scaling"):
        begin_recipe("best", {"weights": "m"}, models)
    assert begin_recipe("best", {"weights": "m", "scaling": "unit"}, models).scaling == "unit"


def test_a_fit_starts_from_the_features_of_the_model(options, imported):
    """Before its first step, of the same pixels, which a worker scales for the model."""
    recipe = begin(options, weights="imported")
    base_model = find_base_model(recipe.weights, options.models)
    loadable = recipe.model_copy(update={"weights": weights_file(recipe.weights, base_model)})
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), np.uint8)
    new = build_model(loadable, ["Effusion"])
    features = keras.Model(new.input, new.get_layer(LOGITS).input)
    scaled = load_keras_model(imported).get_layer("range")(pixels)
    saved = keras.models.load_model(imported.folder / MODEL_FILE).get_layer("densenet37")
    np.testing.assert_allclose(np.asarray(features(pixels)), np.asarray(saved(scaled)), atol=1e-5)


@pytest.mark.slow
def test_what_nobody_knows_is_inherited(options, imported, phantoms, capsys):
    """Manifest and figures of a fit from such a model say that held out is unknown, and so does the fit itself."""
    recipe = begin(options, weights="imported", epochs=1, batch_size=8)
    fitted = fit("from-imported", Source(csv=phantoms), recipe, options)
    assert fitted.artifact.manifest.fitted_scans_unknown
    assert fitted.artifact.manifest.about["weights"] == f"imported ({imported.sha256[:12]})"
    assert (fitted.artifact.manifest.about["range_black"], fitted.artifact.manifest.about["range_white"]) == (
        -1024,
        1024,
    )
    assert capsys.readouterr().err.count("held out: unknown. Nobody knows which scans these --weights") == 1
    note = json.loads((fitted.artifact.folder / EVALUATION_FILE).read_text())["of"]["held_out_note"]
    assert note.startswith("Held out: unknown.")
    again = begin(options, weights="from-imported", epochs=1)
    assert (again.scaling, again.range) == ("range", (-1024, 1024))
    assert fit("from-imported", Source(csv=phantoms), recipe, options).artifact.sha256 == fitted.artifact.sha256


def test_a_file_without_a_manifest_is_of_unknown_scans(imported):
    """Unless it is one of Keras' own: ImageNet has no radiographs."""
    of_keras = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
    for file in ("somewhere/model.keras", "chexnet_notop.h5", "notop.h5"):
        assert is_fitted_on_unknown_scans(file, None)
    assert not any(is_fitted_on_unknown_scans(weights, None) for weights in ("none", "imagenet", f"a/{of_keras}"))
    assert is_fitted_on_unknown_scans("imported", imported)


def test_the_remedy_of_a_leak_from_an_import_needs_no_seed(imported):
    """Nobody can give the seed of a publisher's split."""
    film = SplitRow(image_name="a.png", patient_id="1", subset="test", dataset="NIH")
    write_split(imported.folder, [replace(film, subset="train")])
    with pytest.raises(UserError, match="use a CSV of other scans"):
        refuse_data_leak(imported, "NIH", [film])
    write_split(imported.folder, [])
