"""Tells what speaks against scoring a film, by its header alone.

Each code is the reason of a rejection, and the note on an outcome where a setting admits the film. Codes depend on the
film alone. Which of them refuse it is up to the worker, also for a film that another worker admitted and cached.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from db.errors import PermanentError
from worker.dicom.dataset import DAMAGE_ERRORS, sop_class_of, text_of
from worker.dicom.header import LATERAL, view_of
from worker.dicom.window import display_window

VIEW: Final = "view"
#: The note of a film that does not say its view. It never refuses a film.
VIEW_UNKNOWN: Final = "view_unknown"

#: By code: what is wrong with a film, and what may take its place.
_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "sop_class": ("is neither Computed Radiography nor Digital X-Ray", "put a radiograph in its place"),
    "secondary_capture": ("is a Secondary Capture, such as a screenshot or a copy", "put the original in its place"),
    "for_processing": (
        "is FOR PROCESSING: a detector's raw data, which no reader sees",
        "put the image FOR PRESENTATION in its place",
    ),
    "body_part": ("is of another body part than the chest", "remove it"),
    VIEW: ("is a lateral view, and the model was fitted on frontal ones", "use a model that was fitted on both"),
    "burned_in": ("has annotations burned into its pixels", "put the plain image in its place"),
    "window": ("has a window of no width", "correct its header"),
}
#: By code: what is wrong with a film, and what to do.
SENTENCES: Final[Mapping[str, str]] = {
    code: f"the DICOM image {fault}: {remedy}, or admit such films"
    f" (--admit {code}, or CXR_ADMIT for producer and workers)"
    for code, (fault, remedy) in _FAULTS.items()
}
#: The codes that refuse a film whatever the model, unless the settings admit them.
REFUSED: Final = frozenset(SENTENCES) - {VIEW}

_RADIOGRAPHS: Final = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
#: Beginnings of words for the chest, as vendors and technicians write them in several languages. `THORACIC` alone may
#: be the spine.
_CHEST: Final = re.compile(
    r"(?<![A-Z])(?:CHEST|CHST|CXR|THORAX|THX|TORAX|TORACE|TORAKS|THORACIC (?:STRUCTURE|CAVITY)|LUNG|PULM|POUMON"
    r"|MEDIASTIN|HEART|RIBS?(?![A-Z])|POITRINE|PECHO|BRUST|BORST|BRYST|KLATKA)"
)
_SAYS_NOTHING: Final = re.compile(r"[^A-Z]*|UNKNOWN|OTHER|NONE|N/?A|(?:NOT |UN)SPECIFIED|UNDEFINED|DEFAULT")


def admission_codes(dataset: Dataset, rendering: str) -> tuple[str, ...]:
    """The codes of all that speaks against scoring a film, and `VIEW_UNKNOWN`.

    The code `VIEW` means a lateral view, whatever the model was fitted on; see `refused_codes`.

    Args:
        dataset: its header.
        rendering: see `worker.dicom.rendering.render`. Only `display` uses the window.
    """
    return tuple(_codes(dataset, rendering))


def refused_codes(admitted: AbstractSet[str], views: Collection[str]) -> frozenset[str]:
    """The codes that reject a film.

    Args:
        admitted: the codes that the settings admit.
        views: the views that the model was fitted on, `Manifest.views`; empty if that is unknown.
    """
    return (REFUSED if LATERAL in views or not views else frozenset(SENTENCES)) - admitted


def check_admission(codes: Iterable[str], refused: AbstractSet[str]) -> None:
    """Refuse a film.

    Args:
        codes: see `admission_codes`.
        refused: the codes that reject a film.

    Raises:
        PermanentError: the first of the codes that is refused.
    """
    for code in codes:
        if code in refused:
            raise PermanentError(code, SENTENCES[code])


def _codes(dataset: Dataset, rendering: str) -> Iterator[str]:
    yield from _class_codes(dataset)
    parts = _body_parts(dataset)
    if parts and not any(map(_CHEST.search, parts)):
        yield "body_part"
    view = view_of(dataset)
    if view is None:
        yield VIEW_UNKNOWN
    if view == LATERAL:
        yield VIEW
    if _upper(dataset, "BurnedInAnnotation") == "YES":
        yield "burned_in"
    window = display_window(dataset) if rendering == "display" else None
    if window is not None and not window.has_width:
        yield "window"


def _class_codes(dataset: Dataset) -> Iterator[str]:
    uid = sop_class_of(dataset)
    # The multi-frame ones are its children.
    if f"{uid}.".startswith(f"{SecondaryCaptureImageStorage}."):
        yield "secondary_capture"
    elif uid not in _RADIOGRAPHS:
        yield "sop_class"
    if uid == DigitalXRayImageStorageForProcessing or "PROCESSING" in _upper(dataset, "PresentationIntentType"):
        yield "for_processing"


def _body_parts(dataset: Dataset) -> list[str]:
    """What the header says of the body part, in each of its two places."""
    said = (_upper(dataset, "BodyPartExamined"), _upper(_anatomic_region(dataset), "CodeMeaning"))
    return [text for text in said if not _SAYS_NOTHING.fullmatch(text)]


def _anatomic_region(dataset: Dataset) -> Dataset:
    try:
        region: Dataset = dataset.AnatomicRegionSequence[0]
    except DAMAGE_ERRORS:
        # Absent, empty or damaged.
        return Dataset()
    return region


def _upper(dataset: Dataset, keyword: str) -> str:
    """An element in capital letters without accents; "" if it is absent."""
    text = unicodedata.normalize("NFKD", text_of(dataset, keyword) or "")
    return "".join(char for char in text if not unicodedata.combining(char)).upper()
