"""Whoever begins from another model's weights inherits what that model has seen."""

import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from trainer.data.training_data import Source
from trainer.fitting.base_model import donor_of, refuse_leak, with_donors_scans
from trainer.fitting.fit import FitSetting, fit
from trainer.recipe import make_recipe
from worker.artifacts.manifest import MODEL_FILE
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.split_file import SplitRow, read_split

TINY = {"encoder": "densenet37", "size": 32, "epochs": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return FitSetting(models=FolderModelStore(home / "models"), scratch=home / "trainer", export=False)


@pytest.fixture(scope="module")
def donor(phantoms, setting):
    return fit("donor", Source(csv=phantoms), make_recipe("best", **TINY), setting).artifact


def rows_of(phantoms, donor, *subsets):
    used = {row.image_name for row in read_split(donor.folder) if row.subset in subsets}
    return [row for row in read_labels_csv(phantoms).rows if row.image_name in used]


@pytest.mark.slow
def test_a_fit_goes_on_at_another_size_from_a_models_encoder(phantoms, setting, donor):
    """One gray channel stays one, and the manifest names the donor and no path of this machine."""
    weights = str(donor.folder / MODEL_FILE)
    heir = fit("heir", Source(csv=phantoms), make_recipe("best", **TINY | {"size": 48}, weights=weights), setting)
    assert heir.artifact.manifest.preprocessing.shape == (48, 48, 1)
    assert heir.artifact.manifest.about["weights"] == f"donor ({donor.sha256[:12]})"
    assert str(donor.folder) not in (heir.artifact.folder / "manifest.json").read_text()


@pytest.mark.slow
def test_another_split_than_the_donors_is_refused(phantoms, setting, donor):
    """Its test scans would be scans that the encoder was fitted on."""
    recipe = make_recipe("best", **TINY, seed=1, weights=str(donor.folder / MODEL_FILE))
    with pytest.raises(UserError, match=r"donor was fitted on \d+ of the \d+ test scans, or on their patients"):
        fit("leaky", Source(csv=phantoms), recipe, setting)


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
def test_what_tuned_a_donor_may_tune_its_heir_and_no_more(phantoms, donor, validation, test, leaks):
    """Validation scans stay validation scans; train scans stay train scans."""
    rows = {"validation": rows_of(phantoms, donor, *validation), "test": rows_of(phantoms, donor, *test)}
    if not leaks:
        refuse_leak(donor, phantoms.stem, **rows)
        return
    with pytest.raises(UserError, match="--weights"):
        refuse_leak(donor, phantoms.stem, **rows)


@pytest.mark.slow
def test_the_heirs_split_holds_what_the_donor_has_seen(donor):
    """Reports leave it out by the split; what the donor was only tested on is not seen."""
    own = SplitRow(image_name="other.png", patient_id="1", subset="train")
    both = with_donors_scans([own], donor)
    seen = [row for row in read_split(donor.folder) if row.subset != "test"]
    assert both == (own, *seen)
    assert with_donors_scans(both, donor) == both
    assert with_donors_scans([own], None) == (own,)


@pytest.mark.parametrize("weights", ["none", "imagenet", "nowhere/file.h5", "nowhere/model.keras"])
def test_other_weights_have_no_donor(weights):
    """There is nothing to inherit from."""
    assert donor_of(weights) is None
