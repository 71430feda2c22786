"""What a fit works on, and which images it finds twice."""

import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest

from db.errors import UserError
from db.labels.csv_file import LabelsFile, read_labels_csv
from trainer.data.training_data import Source, load_training_data
from trainer.phantoms.marker import MARKER_FILE
from trainer.recipe import make_recipe

RECIPE = make_recipe("best", size=32)


@pytest.fixture
def csv(phantoms, tmp_path):
    """A copy of the phantoms, in which one film of another patient is a copy of the first patient's."""
    folder = tmp_path / "scans"
    shutil.copytree(phantoms.parent, folder)
    one, other = twins(phantoms, tmp_path)
    shutil.copy(folder / "images" / one.image_name, folder / "images" / other.image_name)
    return folder / phantoms.name


def twins(phantoms, tmp_path):
    """The first scan, and one that is in another subset if no content is known."""
    rows = read_labels_csv(phantoms).rows
    data = load_training_data(Source(csv=phantoms), RECIPE, cache=tmp_path / "plain")
    subsets = {row.image_name: row.subset for row in data.split}
    return rows[0], next(row for row in rows if subsets[row.image_name] != subsets[rows[0].image_name])


def test_a_copied_film_is_in_the_subset_of_the_first_and_both_are_counted(csv, phantoms, tmp_path, capsys):
    """The split names the data set and the bytes of each scan."""
    one, other = twins(phantoms, tmp_path)
    capsys.readouterr()
    data = load_training_data(Source(csv=csv), RECIPE, cache=tmp_path / "cache")
    rows = {row.image_name: row for row in data.split}
    assert rows[one.image_name].content == rows[other.image_name].content
    assert rows[one.image_name].subset == rows[other.image_name].subset
    assert {row.dataset for row in data.split} == {csv.stem}
    assert "byte for byte that of another: 2; such images in more than one subset: 0" in capsys.readouterr().err


def test_unknown_labels_and_synthetic_scans_are_said_before_the_fit(phantoms, tmp_path, capsys):
    """And noted for the manifest. Known labels and real scans, which have no marker, are nothing to speak of."""
    known = load_training_data(Source(csv=phantoms), RECIPE, cache=tmp_path / "cache")
    said = capsys.readouterr().err
    assert known.is_synthetic
    assert "phantoms: the model will be marked as fitted on synthetic radiographs" in said
    assert "unknown" not in said
    folder = shutil.copytree(phantoms.parent, tmp_path / "unmarked")
    (folder / MARKER_FILE).unlink()
    file = read_labels_csv(folder / phantoms.name)
    doubtful = tuple(replace(row, findings=("Hernia",), uncertain=("Mass",)) for row in file.rows[:5])
    data = load_training_data(
        _Given(csv=file.path, file=replace(file, rows=doubtful + file.rows[5:])), RECIPE, cache=tmp_path / "cache"
    )
    said = capsys.readouterr().err
    training = data.subsets["train"]
    unknown = [row.image_name for row in training.rows if row.uncertain]
    assert 0 < len(unknown) == np.isnan(training.labels[:, data.findings.index("Mass")]).sum()
    assert f"labels of training scans: {len(unknown)} of {training.labels.size} are unknown and weigh nothing" in said
    assert not data.is_synthetic
    assert "synthetic" not in said


@dataclass(frozen=True, kw_only=True)
class _Given(Source):
    file: LabelsFile

    def read_labels(self):
        return self.file


def test_lists_that_share_a_film_are_refused_unless_the_split_is_by_image(csv, phantoms, tmp_path, capsys):
    """The same bytes under two names, one in each list, would be learned and tested."""
    _, other = twins(phantoms, tmp_path)
    names = {row.patient_id: set() for row in read_labels_csv(csv).rows}
    for row in read_labels_csv(csv).rows:
        names[row.patient_id].add(row.image_name)
    tested = names.pop(other.patient_id)
    (tmp_path / "train.txt").write_text("\n".join(set.union(*names.values())))
    (tmp_path / "test.txt").write_text("\n".join(tested))
    source = Source(csv=csv, train_list=tmp_path / "train.txt", test_list=tmp_path / "test.txt")
    with pytest.raises(UserError, match="1 images are in both of --train-list and --test-list"):
        load_training_data(source, RECIPE, cache=tmp_path / "cache")
    by_image = RECIPE.model_copy(update={"split": "image"})
    load_training_data(source, by_image, cache=tmp_path / "cache")
    assert "such images in more than one subset: 1" in capsys.readouterr().err
