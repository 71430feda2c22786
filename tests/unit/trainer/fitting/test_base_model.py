"""A model that starts from another model's weights has seen that model's scans, too."""

from contextlib import nullcontext
from dataclasses import replace

import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from trainer.data.training_data import Source
from trainer.fitting.base_model import add_base_model_scans, find_base_model, refuse_data_leak
from trainer.fitting.fit import FitOptions, fit
from trainer.recipe import make_recipe
from worker.artifacts.manifest import MODEL_FILE
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.split_file import SplitRow, read_split

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


@pytest.mark.slow
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


@pytest.mark.parametrize("weights", ["none", "imagenet", "nowhere/file.h5", "nowhere/model.keras"])
def test_other_weights_have_no_base_model(weights):
    """`none`, ImageNet's weights, and files outside an artifact."""
    assert find_base_model(weights) is None
