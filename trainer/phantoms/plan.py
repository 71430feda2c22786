"""Plans a data set of phantoms: patients, scans and findings, and the labels CSV in NIH's layout."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from db.findings import NO_FINDING
from trainer.phantoms.opacities import DRAWABLE_FINDINGS

#: The exact header of Kaggle's `sample_labels.csv`.
NIH_HEADER: Final = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
)
#: About half of NIH's scans have no finding.
_NORMAL_SHARE: Final = 0.5
_MAX_SCANS_PER_PATIENT: Final = 5
#: Part of the seed, so that plans, patients, scans and the dither of DICOM draw different random numbers.
PLAN_STREAM, PATIENT_STREAM, SCAN_STREAM, DITHER_STREAM = range(4)


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """One scan of a synthetic patient."""

    patient: int
    follow_up: int
    #: Empty for a normal scan.
    findings: tuple[str, ...]
    age: int
    sex: str
    view: str

    @property
    def image_name(self) -> str:
        """The name in NIH's form, `00000001_000.png`."""
        return f"{self.patient:08}_{self.follow_up:03}.png"


def plan_phantoms(*, patients: int, seed: int) -> list[Phantom]:
    """Plan each patient's scans and findings; the same arguments give the same plan."""
    return [phantom for patient in range(1, patients + 1) for phantom in _plan_patient(patient, seed)]


def _plan_patient(patient: int, seed: int) -> Iterator[Phantom]:
    rng = np.random.default_rng([seed, PLAN_STREAM, patient])
    age, sex = int(rng.integers(18, 90)), str(rng.choice(("F", "M")))
    for follow_up in range(rng.integers(1, _MAX_SCANS_PER_PATIENT + 1)):
        yield Phantom(
            patient=patient,
            follow_up=follow_up,
            findings=_plan_findings(rng),
            age=age + follow_up // 2,
            sex=sex,
            view=str(rng.choice(("PA", "AP"), p=(0.6, 0.4))),
        )


def _plan_findings(rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() < _NORMAL_SHARE:
        return ()
    count = rng.choice((1, 2, 3), p=(0.65, 0.28, 0.07))
    return tuple(sorted(str(finding) for finding in rng.choice(DRAWABLE_FINDINGS, size=count, replace=False)))


def labels_csv(plan: Sequence[Phantom]) -> bytes:
    """The labels CSV of a plan, in NIH's layout."""
    text = io.StringIO()
    text.write(NIH_HEADER + "\r\n")
    writer = csv.writer(text, lineterminator="\r\n")
    for scan in plan:
        labels = "|".join(scan.findings) or NO_FINDING
        patient = (f"{scan.patient:08}", f"{scan.age:03}Y", scan.sex, scan.view)
        writer.writerow((scan.image_name, labels, f"{scan.follow_up:03}", *patient, 1024, 1024, 0.3, 0.3))
    return text.getvalue().encode()
