"""A fit reads DICOM as a run does: named by UIDs, with what the headers say where the CSV is silent."""

from dataclasses import replace

import numpy as np
import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from tests.support.dicom_set import (
    FILMS,
    LABELS,
    PATIENTS,
    path_of,
    uid_of,
    write_film,
    write_films,
    write_labels,
    write_mixed_labels,
)
from trainer.data.held_out import unseen_rows
from trainer.data.training_data import Source, load_training_data
from trainer.phantoms.marker import SYNTHETIC_HEADER
from trainer.recipe import make_recipe
from worker.artifacts.manifest import Artifact, Manifest
from worker.artifacts.split_file import write_split

RECIPE = make_recipe("best", size=32)


@pytest.fixture
def films(tmp_path):
    write_films(tmp_path / "images")
    return tmp_path


@pytest.fixture
def labels(films):
    return write_mixed_labels(films / "labels.csv")


def load(labels):
    source = Source(csv=labels, images=str(labels.parent / "images"))
    return load_training_data(source, RECIPE, cache=labels.parent / "cache")


def test_patients_and_names_of_a_split_are_those_of_the_headers(labels):
    """The CSV names no patient, so none would be kept together without the headers; all films are named by UIDs."""
    data = load(labels)
    assert {(row.image_name, row.patient_id) for row in data.split} == {
        (uid_of(patient, film), str(patient)) for patient in PATIENTS for film in FILMS
    }
    subsets = {
        row.patient_id: {other.subset for other in data.split if other.patient_id == row.patient_id}
        for row in data.split
    }
    assert all(len(found) == 1 for found in subsets.values())
    assert {row.age_years for subset in data.subsets.values() for row in subset.rows} == {61}


def test_manufacturers_are_those_of_the_headers(labels):
    """So that figures by manufacturer are of the same groups as a run's; most headers here name none."""
    write_film(labels.parent / "images", 1, 0, Manufacturer="Acme")
    subsets = load(labels).subsets.values()
    assert [subset.manufacturers for subset in subsets] == [{uid_of(1, 0): "Acme"}] * 3


def test_a_film_that_was_fitted_on_is_known_by_its_uid_wherever_it_lies(labels, tmp_path):
    """Scored later from another archive without a CSV, its scan is still one that the model has seen."""
    split = load(labels).split
    folder = tmp_path / "artifact"
    folder.mkdir()
    write_split(folder, split)
    artifact = Artifact(
        folder=folder, sha256="0" * 64, manifest=Manifest(name="fit", findings=("Mass",), dataset="other")
    )
    (row,) = read_labels_csv(write_labels(tmp_path / "other.csv", [(split[0].image_name, "Mass")])).rows
    train = next(one for one in split if one.subset == "train")
    test = next(one for one in split if one.subset == "test")
    rows = [replace(row, image_name=one.image_name) for one in (train, test)]
    assert [one.image_name for one in unseen_rows("films", rows, artifact)] == [test.image_name]


def test_official_lists_name_films_as_the_csv_does(labels, tmp_path):
    """By path or by UID, or the films that the CSV names by path would be left out without a word."""
    names = [line.split(",")[0] for line in labels.read_text().splitlines()[1:]]
    lists = {"train_list": names[:15], "test_list": names[15:]}
    for key, listed in lists.items():
        (tmp_path / key).write_text("\n".join(listed))
    source = Source(csv=labels, images=str(tmp_path / "images"), **{key: tmp_path / key for key in lists})
    split = load_training_data(source, RECIPE, cache=tmp_path / "cache").split
    assert {row.image_name for row in split} == {uid_of(patient, film) for patient in PATIENTS for film in FILMS}
    tested = {row.image_name for row in split if row.subset == "test"}
    assert tested == {uid_of(patient, film) for patient in (6, 7, 8) for film in FILMS}


def test_films_without_an_image_are_left_out_where_nobody_tells_their_patient(labels, capsys):
    """One of 25 is left out with a sentence; where a fifth is missing, the fit does not begin."""
    with labels.open("a") as file:
        file.write("1.2.3.99.0,Mass\n")
    assert len(load(labels).split) == len(PATIENTS) * len(FILMS)
    assert "left out 1 scans without an image, and so without a patient" in capsys.readouterr().err
    with labels.open("a") as file:
        file.writelines(f"1.2.3.99.{film},Mass\n" for film in range(1, 6))
    with pytest.raises(UserError, match=r"6 of 30 labelled scans cannot be read \(6 missing\)"):
        load(labels)


def test_a_csv_that_names_another_patient_than_the_header_is_refused(films):
    """Whichever were taken, a patient could be in two subsets."""
    rows = [(uid_of(patient, film), LABELS[film], 5) for patient in PATIENTS for film in FILMS]
    labels = write_labels(films / "labels.csv", rows, header=("Image Index", "Finding Labels", "Patient ID"))
    with pytest.raises(UserError, match="names patient '1' and the CSV patient '5'; correct the CSV"):
        load(labels)


def test_two_films_of_one_uid_are_refused(labels):
    """Nobody can tell which of them the labels are of."""
    write_film(labels.parent / "images", 1, 9, SOPInstanceUID=uid_of(1, 0))
    with pytest.raises(UserError, match="two different images have the SOP Instance UID"):
        load(labels)


def test_synthetic_films_are_known_by_their_header(labels, capsys):
    """On their way through an archive they lose the file that marks their folder."""
    assert not load(labels).is_synthetic
    write_films(labels.parent / "images", **SYNTHETIC_HEADER)
    assert load(labels).is_synthetic
    assert "phantoms: the model will be marked" in capsys.readouterr().err


def test_the_pixels_of_a_fit_are_those_that_a_worker_scores(labels):
    """By the same function, of the same bytes."""
    from worker.images.pixels import prepare

    data = load(labels)
    row, index = data.subsets["test"].rows[0], data.subsets["test"].indices[0]
    _, _, _, patient, film = row.image_name.split(".")
    encoded = (labels.parent / "images" / path_of(patient, film)).read_bytes()
    assert np.array_equal(data.subsets["test"].pixels[index], prepare(encoded, RECIPE.preprocessing).pixels)
