"""Draws phantoms as DICOM: films with the habits of many vendors, and beside them what must not be scored."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from db.findings import NO_FINDING
from trainer.phantoms.dicom_file import dicom_file
from trainer.phantoms.film import draw_film
from trainer.phantoms.habits import HABITS
from trainer.phantoms.marker import SYNTHETIC_HEADER
from trainer.phantoms.plan import DITHER_STREAM, Phantom

_FIRST_STUDY: Final = date(2026, 1, 5)
_STUDY_DAYS: Final = 30
#: By name, the elements of films that are not scored by default: each has another reason.
_NOT_ADMITTED: Final[Mapping[str, Mapping[str, Any]]] = {
    "lateral": {"ViewPosition": "LL"},
    "for_processing": {
        "SOPClassUID": uid.DigitalXRayImageStorageForProcessing,
        "Modality": "DX",
        "PresentationIntentType": "FOR PROCESSING",
    },
    "secondary_capture": {"SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": "OT", "ConversionType": "WSD"},
    "burned_in": {"BurnedInAnnotation": "YES"},
    "hand": {"BodyPartExamined": "HAND"},
    "ct": {"SOPClassUID": uid.CTImageStorage, "Modality": "CT", "ViewPosition": None},
    "no_width": {"WindowCenter": 2048.0, "WindowWidth": 0.0},
}
_PDF: Final = b"%PDF-1.4\n% SYNTHETIC: a report would be here.\n%%EOF\n"


def film_path(phantom: Phantom) -> str:
    """The path of a film below the folder of images: as in many archives, all files have one name and no suffix."""
    return f"{_study_folder(phantom)}/IM0001"


def dicom_drawings(plan: Sequence[Phantom], seed: int) -> dict[str, Callable[[], bytes]]:
    """All files by their paths, each with the function that gives its content.

    The first patient's first study also holds, beside its film, one file for each reason why a file is not scored.
    """
    films = {
        film_path(phantom): partial(draw_dicom, phantom, seed=seed, number=number)
        for number, phantom in enumerate(plan)
    }
    return {**films, **_others(plan[0], seed)}


def draw_dicom(phantom: Phantom, *, seed: int, number: int) -> bytes:
    """Draw the film of `draw_film` with the next habit and transfer syntax.

    Args:
        phantom: the scan.
        seed: seed of all random numbers; the same arguments give the same bytes.
        number: of the scan in its plan.
    """
    habit = HABITS[number % len(HABITS)]
    values, header = habit.store(_dithered(phantom, seed))
    header = {**_header(phantom, seed), "Manufacturer": habit.name, **header, **dict.fromkeys(habit.lacks)}
    return dicom_file(values, syntax=habit.syntax(number, header["BitsStored"]), preamble=habit.preamble, **header)


def dicom_labels_csv(plan: Sequence[Phantom], seed: int) -> bytes:
    """The labels CSV of a plan. Patients, ages and views stand in the films' headers alone.

    The films of patients of odd numbers are named by their SOP Instance UIDs, and all others by their paths.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("Image Index", "Finding Labels"))
    for scan in plan:
        name = _uid(seed, scan, "film") if scan.patient % 2 else film_path(scan)
        writer.writerow((name, "|".join(scan.findings) or NO_FINDING))
    return text.getvalue().encode()


def _others(phantom: Phantom, seed: int) -> dict[str, Callable[[], bytes]]:
    folder = _study_folder(phantom)
    draw = partial(_draw_other, phantom, seed=seed)
    return {
        **{f"{folder}/IM{at:04}": partial(draw, kind) for at, kind in enumerate(_NOT_ADMITTED, 2)},
        f"{folder}/IM{len(_NOT_ADMITTED) + 2:04}": partial(_draw_truncated, phantom, seed=seed),
        f"{folder}/SR0001": partial(_structured_report, phantom, seed=seed),
        f"{folder}/REPORT.PDF": _pdf,
        "DICOMDIR": partial(_directory, phantom, seed=seed),
    }


def _draw_other(phantom: Phantom, kind: str, *, seed: int) -> bytes:
    values, header = HABITS[0].store(_dithered(phantom, seed))
    given = {**_header(phantom, seed, kind), "Manufacturer": f"not to be scored, {kind}", **header}
    return dicom_file(values, **{**given, **_NOT_ADMITTED.get(kind, {})})


def _draw_truncated(phantom: Phantom, *, seed: int) -> bytes:
    whole = _draw_other(phantom, "truncated", seed=seed)
    return whole[: len(whole) // 2]


def _structured_report(phantom: Phantom, *, seed: int) -> bytes:
    sop_class, header = uid.BasicTextSRStorage, _header(phantom, seed, "report")
    elements = {**header, "SOPClassUID": sop_class, "Modality": "SR", "ValueType": "CONTAINER", "ContentSequence": []}
    return _without_pixels(elements, sop_class, header["SOPInstanceUID"])


def _directory(phantom: Phantom, *, seed: int) -> bytes:
    elements = {"FileSetID": "PHANTOMS", "DirectoryRecordSequence": []}
    return _without_pixels(elements, uid.MediaStorageDirectoryStorage, _uid(seed, phantom, "directory"))


def _without_pixels(elements: Mapping[str, Any], sop_class: str, instance: str) -> bytes:
    dataset, meta, file = Dataset(), FileMetaDataset(), io.BytesIO()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = uid.UID(sop_class), uid.UID(instance)
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    FileDataset(file, dataset, preamble=b"\0" * 128, file_meta=meta).save_as(file, enforce_file_format=True)
    return file.getvalue()


def _pdf() -> bytes:
    return _PDF


def _header(phantom: Phantom, seed: int, kind: str = "film") -> dict[str, Any]:
    day = _FIRST_STUDY + timedelta(days=_STUDY_DAYS * phantom.follow_up)
    return {
        **SYNTHETIC_HEADER,
        "SOPInstanceUID": _uid(seed, phantom, kind),
        "StudyInstanceUID": _uid(seed, phantom, "study"),
        "SeriesInstanceUID": _uid(seed, phantom, f"series of {kind}"),
        "StudyDate": f"{day:%Y%m%d}",
        "PatientID": f"{phantom.patient:08}",
        "PatientSex": phantom.sex,
        "PatientAge": f"{phantom.age:03}Y",
        "ViewPosition": phantom.view,
    }


def _uid(seed: int, phantom: Phantom, kind: str) -> str:
    return uid.generate_uid(entropy_srcs=["nightread", str(seed), str(phantom.patient), str(phantom.follow_up), kind])


def _dithered(phantom: Phantom, seed: int) -> NDArray[np.float64]:
    """The film's gray levels, spread evenly within half a level, so that all of a detector's bits are in use."""
    rng = np.random.default_rng([seed, DITHER_STREAM, phantom.patient, phantom.follow_up])
    film = draw_film(phantom, seed=seed)
    return np.clip(film + rng.uniform(-0.49, 0.49, film.shape), 0, 255)


def _study_folder(phantom: Phantom) -> str:
    return f"PAT{phantom.patient:05}/STUDY{phantom.follow_up:03}"
