"""Writes a radiograph as a DICOM file, in any of the encodings and with any of the headers that vendors use."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

#: What a plain chest film says of itself; a value of None leaves the element out.
_PLAIN: Final[Mapping[str, Any]] = {
    "SOPClassUID": ComputedRadiographyImageStorage,
    "Modality": "CR",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
}


def dicom_file(
    values: NDArray[Any], *, syntax: UID = ExplicitVRLittleEndian, preamble: bool = True, **header: Any
) -> bytes:
    """Encode one frame.

    Args:
        values: uint8, int8, uint16 or int16 (height, width), as they are to be stored.
        syntax: the transfer syntax's UID.
        preamble: whether the file begins with 128 bytes, `DICM` and its meta header.
        header: elements by keyword, which replace those of a plain chest film; None leaves one out.
    """
    dataset = Dataset()
    bits = values.dtype.itemsize * 8
    shape = {"Rows": values.shape[0], "Columns": values.shape[1], "BitsAllocated": bits, "BitsStored": bits}
    signed = {"PixelRepresentation": int(np.issubdtype(values.dtype, np.signedinteger))}
    given = {"SOPInstanceUID": generate_uid(), "PatientID": "1", **_PLAIN, **shape, **signed, **header}
    given.setdefault("HighBit", given["BitsStored"] - 1)
    for keyword, value in given.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return _written(dataset, syntax, preamble=preamble)


def _written(dataset: Dataset, syntax: UID, *, preamble: bool) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", ComputedRadiographyImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    file = BytesIO()
    FileDataset(file, dataset, preamble=b"\0" * 128, file_meta=meta).save_as(file, enforce_file_format=preamble)
    return file.getvalue()
