"""Tells which films should not be scored, by their headers alone.

Each code is the reason of a rejection, and the note on an outcome where a setting admits the film.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pydicom.dataset import Dataset

#: By code: what is wrong with the film, and what to do.
SENTENCES: Final[Mapping[str, str]] = {
    "sop_class": "the DICOM image is neither Computed Radiography nor Digital X-Ray",
    "secondary_capture": "the DICOM image is a Secondary Capture",
    "for_processing": "the DICOM image is FOR PROCESSING, which no person is shown",
    "body_part": "the DICOM image is of another body part than the chest",
    "view": "the DICOM image is a lateral view, and the model was fitted on frontal views alone",
    "burned_in": "the DICOM image has annotations burned into its pixels",
    "window": "the DICOM image has a window of no width",
}


def admission_codes(dataset: Dataset, views: Sequence[str]) -> tuple[str, ...]:
    """The codes of all that speaks against scoring a film.

    Args:
        dataset: its header.
        views: the views that the model was fitted on, `Manifest.views`; () if that is unknown.
    """
    raise NotImplementedError
