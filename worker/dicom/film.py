"""Decodes a DICOM film: admission, then the frame, then its rendering."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError
from worker.dicom.admission import admission_codes, check_admission
from worker.dicom.dataset import parse_dicom
from worker.dicom.frames import frame_size, read_frame
from worker.dicom.rendering import render


@dataclass(frozen=True, kw_only=True)
class Film:
    """A decoded film."""

    #: uint8 (height, width).
    image: NDArray[np.uint8]
    #: Codes of what is unusual about it: of admission, and of what its header contradicts.
    notes: tuple[str, ...]


def decode_film(encoded: bytes, *, rendering: str, max_pixels: int, refused: AbstractSet[str]) -> Film:
    """Decode a DICOM file, told by `worker.dicom.dataset.is_dicom`.

    Args:
        encoded: the whole file.
        rendering: see `worker.dicom.rendering.render`.
        max_pixels: a film that claims more pixels is refused before it is decoded.
        refused: the codes of admission that reject a film, see `worker.dicom.admission.refused_codes`.

    Raises:
        PermanentError: `truncated`, `not_image`, `too_large`, `unsupported`, or one of `refused`.
    """
    dataset = parse_dicom(encoded)
    width, height = frame_size(dataset)
    codes = admission_codes(dataset, rendering)
    check_admission(codes, refused)
    if width * height > max_pixels:
        raise PermanentError("too_large", f"the image claims {width} x {height} pixels")
    image, notes = render(read_frame(dataset), dataset, rendering)
    return Film(image=image, notes=(*codes, *notes))
