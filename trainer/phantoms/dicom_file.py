"""Writes a radiograph as a DICOM file, in any of the encodings and with any of the headers that vendors use."""

import struct
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

#: What a plain chest film says of itself; a value of None leaves the element out.
_PLAIN: Final[Mapping[str, Any]] = {
    "SOPClassUID": ComputedRadiographyImageStorage,
    "Modality": "CR",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
}
#: Of 100.
_JPEG_QUALITY: Final = 95
#: The greatest error of a lossy JPEG-LS, in gray levels.
_NEAR: Final = 2
#: Signal to noise of a lossy JPEG 2000, in dB.
_JPEG_2000_QUALITY: Final = 70
#: Quantisation of a lossy HTJ2K, as a share of the range.
_HTJ2K_STEP: Final = 1e-4


def dicom_file(
    values: NDArray[Any],
    *,
    syntax: UID = ExplicitVRLittleEndian,
    preamble: bool = True,
    fragments: int = 1,
    offset_table: bool = True,
    **header: Any,
) -> bytes:
    """Encode one frame.

    Args:
        values: uint8, int8, uint16 or int16 (height, width), as they are to be stored.
        syntax: the transfer syntax's UID, one of `SYNTAXES`.
        preamble: whether the file begins with 128 bytes, `DICM` and its meta header; without them it has neither.
        fragments: into how many items a compressed frame is split.
        offset_table: whether the table of a compressed frame's offset is filled; if not, it is empty.
        header: elements by keyword, which replace those of a plain chest film; None leaves one out.

    Raises:
        ValueError: the encoding cannot hold such values, for example 16 bits in a baseline JPEG.
    """
    dataset = Dataset()
    bits = values.dtype.itemsize * 8
    shape = {"Rows": values.shape[0], "Columns": values.shape[1], "BitsAllocated": bits, "BitsStored": bits}
    signed = {"PixelRepresentation": int(np.issubdtype(values.dtype, np.signedinteger))}
    given = {"SOPInstanceUID": generate_uid(), "PatientID": "1", **_PLAIN, **shape, **signed, **header}
    stored = given["BitsStored"] or bits
    given.setdefault("HighBit", stored - 1)
    for keyword, value in given.items():
        if value is not None:
            setattr(dataset, keyword, value)
    encode = _ENCODERS.get(syntax)
    if encode is None:
        dataset.PixelData = values.astype(values.dtype.newbyteorder(_byte_order(syntax))).tobytes()
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    else:
        frame = encode(values, stored)
        dataset.PixelData = encapsulate([frame], fragments_per_frame=fragments, has_bot=offset_table)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    return _written(dataset, syntax, preamble=preamble)


def encode_jpeg(values: NDArray[Any], bits: int) -> bytes:
    """A sequential JPEG of 8 or 12 bits: lossy."""
    from imagecodecs import jpeg8_encode

    if bits > 12:
        raise ValueError(f"a sequential JPEG holds 8 or 12 bits, not {bits}")
    unsigned = _unsigned(values, bits)
    return bytes(jpeg8_encode(unsigned, _JPEG_QUALITY, bitspersample=8 if unsigned.itemsize == 1 else 12))


def encode_lossless_jpeg(values: NDArray[Any], bits: int, *, predictor: int = 1) -> bytes:
    """A lossless JPEG (process 14)."""
    from imagecodecs import jpeg8_encode

    return bytes(jpeg8_encode(_unsigned(values, bits), lossless=True, predictor=predictor, bitspersample=bits))


def encode_jpeg_ls(values: NDArray[Any], bits: int, *, near: int = 0) -> bytes:
    """A JPEG-LS; `near` is the greatest error in gray levels."""
    from imagecodecs import jpegls_encode

    return bytes(jpegls_encode(_unsigned(values, bits), near))


def encode_jpeg_2000(values: NDArray[Any], bits: int, *, quality: int | None = None) -> bytes:
    """A JPEG 2000 codestream; `quality` is the signal to noise in dB, None is lossless."""
    from imagecodecs import jpeg2k_encode

    return bytes(
        jpeg2k_encode(values, quality, codecformat="J2K", bitspersample=bits, reversible=quality is None, mct=False)
    )


def encode_htj2k(values: NDArray[Any], _bits: int, *, step: float | None = None) -> bytes:
    """A High-Throughput JPEG 2000 codestream; `step` is the quantisation, None is lossless.

    The encoder gives it all the bits of its type.
    """
    from imagecodecs import htj2k_encode

    return bytes(htj2k_encode(values, step, reversible=step is None))


def encode_rle(values: NDArray[Any], _bits: int) -> bytes:
    """DICOM's run length encoding (PS3.5, annex G): rows do not share a run."""
    from imagecodecs import packbits_encode

    planes = values.astype(values.dtype.newbyteorder(">")).view(np.uint8).reshape(*values.shape, -1)
    segments = []
    for plane in np.moveaxis(planes, -1, 0):
        segment = b"".join(bytes(packbits_encode(row.tobytes())) for row in plane)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = np.cumsum([64, *map(len, segments)])[:-1]
    return struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


#: By transfer syntax; those that are not here are not compressed.
_ENCODERS: Final[Mapping[UID, Callable[[NDArray[Any], int], bytes]]] = {
    RLELossless: encode_rle,
    JPEGBaseline8Bit: encode_jpeg,
    JPEGExtended12Bit: encode_jpeg,
    JPEGLossless: lambda values, bits: encode_lossless_jpeg(values, bits, predictor=6),
    JPEGLosslessSV1: encode_lossless_jpeg,
    JPEGLSLossless: encode_jpeg_ls,
    JPEGLSNearLossless: lambda values, bits: encode_jpeg_ls(values, bits, near=_NEAR),
    JPEG2000Lossless: encode_jpeg_2000,
    JPEG2000: lambda values, bits: encode_jpeg_2000(values, bits, quality=_JPEG_2000_QUALITY),
    HTJ2KLossless: encode_htj2k,
    HTJ2KLosslessRPCL: encode_htj2k,
    HTJ2K: lambda values, bits: encode_htj2k(values, bits, step=_HTJ2K_STEP),
}
#: Every transfer syntax that `dicom_file` writes.
SYNTAXES: Final[Sequence[UID]] = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    *_ENCODERS,
)
#: Those that change no pixel.
LOSSLESS_SYNTAXES: Final = tuple(
    syntax
    for syntax in SYNTAXES
    if syntax not in {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K}
)


def _unsigned(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """The stored bits alone, as encoders without a sign take them."""
    unsigned = values.view(np.dtype(f"u{values.itemsize}")) & ((1 << bits) - 1)
    return unsigned.astype(np.uint8) if bits <= 8 else unsigned


def _byte_order(syntax: UID) -> Literal["<", ">"]:
    return ">" if syntax == ExplicitVRBigEndian else "<"


def _written(dataset: Dataset, syntax: UID, *, preamble: bool) -> bytes:
    file = BytesIO()
    if preamble:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", ComputedRadiographyImageStorage)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(file, enforce_file_format=True)
    else:
        dataset.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=_byte_order(syntax) == "<")
    return file.getvalue()
