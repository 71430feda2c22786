"""A small DICOM archive with labels: eight patients of three films each, which are all called IM0001."""

import csv

from tests.support.world import radiograph
from trainer.phantoms.dicom_file import dicom_file

PATIENTS, FILMS = range(1, 9), range(3)
LABELS = ("Effusion", "No Finding", "Mass")


def uid_of(patient, film):
    return f"1.2.3.{patient}.{film}"


def path_of(patient, film):
    return f"PAT{patient}/STUDY{film}/IM0001"


def write_film(images, patient, film, **header):
    """Write one film below a folder; `header` replaces elements of its own."""
    path = images / path_of(patient, film)
    path.parent.mkdir(parents=True, exist_ok=True)
    identity = {"SOPInstanceUID": uid_of(patient, film), "PatientID": f"{patient:08}", "PatientAge": "061Y"}
    path.write_bytes(dicom_file(radiograph(10 * patient + film), **{**identity, **header}))


def write_films(images, **header):
    for patient in PATIENTS:
        for film in FILMS:
            write_film(images, patient, film, **header)


def write_labels(path, rows, header=("Image Index", "Finding Labels")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_mixed_labels(path):
    """A CSV of two columns, which names one half of the patients' films by UID and the other by path."""
    rows = [
        (uid_of(patient, film) if patient % 2 else path_of(patient, film), LABELS[film])
        for patient in PATIENTS
        for film in FILMS
    ]
    return write_labels(path, rows)
