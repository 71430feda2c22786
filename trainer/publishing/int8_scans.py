"""Chooses the scans that int8 is calibrated on and those that it is compared with float32 on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from db.errors import UserError
from db.evaluation.cohort import number_patients
from db.labels.csv_file import LabelRow
from trainer.data.dataset import read_scans
from trainer.data.held_out import unseen_rows, used_rows
from trainer.data.labels import label_matrix, labelled_rows
from trainer.data.training_data import LabelledImages, Source, Subset
from worker.artifacts.manifest import Artifact
from worker.artifacts.split_file import read_split
from worker.images.pixels import Pixels

#: With fewer patients their spread is hardly known, so the bound would prove nothing.
MIN_PATIENTS: Final = 20
#: Of the order in which patients are taken for the calibration.
_SEED: Final = 0


@dataclass(frozen=True, kw_only=True)
class Int8Scans:
    """Scans to calibrate int8 on and scans to compare it on; no patient is in both."""

    #: uint8 (N, H, W, C): of scans that the model was fitted on, or of `dataset`.
    calibration: Pixels
    #: Labelled scans of other patients: the model's validation scans, or those of `dataset`.
    validation: Subset
    #: That of the CSV if the model's split lists no validation scans, else None.
    dataset: str | None = None

    @property
    def kind(self) -> str:
        """What to call the scans of the comparison."""
        return "validation scans" if self.dataset is None else "scans"


def load_int8_scans(artifact: Artifact, source: Source, *, count: int, cache: Path) -> Int8Scans:
    """Read a CSV's scans to calibrate on and to compare on.

    By the artifact's own split these are some of the training scans, at even intervals, and the validation scans. If
    the split lists no validation scans, as of an imported model, they are those of different patients of any CSV.

    Args:
        artifact: the model.
        source: the labels CSV that the model was fitted on, or for a model without validation scans any, and its
            images.
        count: the number of scans to calibrate on, or fewer where the CSV has not enough.
        cache: the folder of decoded images.

    Raises:
        UserError: the CSV or an image is wrong, or the CSV has no scans to calibrate on or too few patients to compare
            on.
    """
    scans = source.find_scans()
    if any(row.subset == "validation" for row in read_split(artifact.folder)):
        calibrating, compared = _by_split(artifact, source.csv, scans, count)
        dataset = None
    else:
        calibrating, compared = _by_patient(artifact, source.csv, scans, count)
        dataset = scans.file.dataset
    return _read(artifact, scans, calibrating, compared, dataset=dataset, cache=cache)


def count_patients(rows: Sequence[LabelRow]) -> int:
    """The number of patients. A scan without a patient id counts as a patient of its own."""
    return len(set(number_patients([row.patient_id for row in rows])[0].tolist()))


def _by_split(
    artifact: Artifact, csv: Path, scans: LabelledImages, count: int
) -> tuple[list[LabelRow], list[LabelRow]]:
    """Training scans, and labelled validation scans of patients that the model was not fitted on."""
    file, name = scans.file, artifact.manifest.name
    fitted = used_rows(file.dataset, file.rows, artifact, used=("train",))
    apart = set(unseen_rows(file.dataset, file.rows, artifact, used=("train",)))
    validation = used_rows(file.dataset, labelled_rows(file.rows), artifact, used=("validation",))
    tuned = [row for row in validation if row in apart]
    if not fitted:
        raise UserError(
            f"{csv}: {name} was fitted on none of these scans; --int8 needs the CSV that the model was fitted on"
        )
    if (patients := count_patients(tuned)) < MIN_PATIENTS:
        raise UserError(
            f"{csv}: has {len(tuned)} labelled validation scans of {patients} patients that {name} was not fitted on;"
            f" --int8 needs {MIN_PATIENTS} such patients for its comparison"
        )
    return [fitted[at] for at in np.linspace(0, len(fitted) - 1, min(count, len(fitted))).astype(int)], tuned


def _by_patient(
    artifact: Artifact, csv: Path, scans: LabelledImages, count: int
) -> tuple[list[LabelRow], list[LabelRow]]:
    """Labelled scans of some patients, and all labelled scans of the others.

    The model may have been fitted on any of them. That flatters figures of the model; but what is compared here is one
    network in two precisions, and both have seen the same scans.
    """
    name = artifact.manifest.name
    labelled = [row for row in labelled_rows(scans.file.rows) if row.patient_id is not None]
    if not labelled:
        raise UserError(
            f"{csv}: has no labelled scan with a patient id; {name} has no validation scans, so --int8 calibrates on"
            " some patients and compares on others; add a column 'Patient ID'"
        )
    patients = [str(row.patient_id) for row in labelled]
    if (total := len(set(patients))) <= MIN_PATIENTS:
        raise UserError(
            f"{csv}: has labelled scans of {total} patients; {name} has no validation scans, so --int8 needs"
            f" {MIN_PATIENTS} patients for its comparison, and others to calibrate on"
        )
    chosen = _choose_patients(patients, count)
    calibrating = [row for row in labelled if row.patient_id in chosen]
    return calibrating[:count], [row for row in labelled if row.patient_id not in chosen]


def _choose_patients(patients: Sequence[str], count: int) -> set[str]:
    """Patients to calibrate on, in random order until they have `count` scans.

    `MIN_PATIENTS`, and at least half of all, stay for the comparison.
    """
    sizes = Counter(patients)
    order = np.random.default_rng(_SEED).permutation(sorted(sizes)).tolist()
    enough = int(np.searchsorted(np.cumsum([sizes[patient] for patient in order]), count)) + 1
    return set(order[: min(enough, len(order) - max(MIN_PATIENTS, len(order) // 2))])


def _read(
    artifact: Artifact,
    scans: LabelledImages,
    calibrating: Sequence[LabelRow],
    compared: Sequence[LabelRow],
    *,
    dataset: str | None,
    cache: Path,
) -> Int8Scans:
    manifest = artifact.manifest
    examples = read_scans([*calibrating, *compared], scans.found, manifest.preprocessing, cache=cache)
    kept = set(compared)
    judged = np.array([row in kept for row in examples.rows], np.bool_)
    rows = tuple(row for row in examples.rows if row in kept)
    return Int8Scans(
        calibration=np.asarray(examples.pixels[examples.indices[~judged]]),
        validation=Subset(
            rows=rows,
            pixels=examples.pixels,
            indices=examples.indices[judged],
            labels=label_matrix(rows, manifest.findings, covered=scans.file.covered),
        ),
        dataset=dataset,
    )
