"""Measures what a film costs to decode in each transfer syntax, as DICOM and by the bare decoder, in milliseconds.

    python -m tests.benchmarks.bench_dicom [--repeats 7] [--out bench_dicom.json]

The film has 2048 x 2500 pixels of 12 bits (8 in a baseline JPEG), smooth with a detector's noise. `fastest` is the
quickest decoder under a permissive licence; where it passes damaged frames in silence, or can hang, it is not `safe`,
and `docs/decisions.md` says what was tried. Times are those of the thread, so other work on the machine matters less.
"""

import argparse
import json
import time
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import pydicom
import simplejpeg
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
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
)

from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.dataset import parse_dicom
from worker.dicom.frames import read_frame

Decoder = Callable[[bytes], Any]


def _native(frame: bytes) -> Any:
    return np.frombuffer(frame, "<u2")


def _swapped(frame: bytes) -> Any:
    return np.frombuffer(frame, ">u2").astype(np.uint16)


def _inflated(frame: bytes) -> Any:
    return zlib.decompress(frame, -zlib.MAX_WBITS)


def _run_lengths(frame: bytes) -> Any:
    return imagecodecs.dicomrle_decode(frame, "<u2")


def _gray(frame: bytes) -> Any:
    return simplejpeg.decode_jpeg(frame, "GRAY")


#: By transfer syntax: the fastest permissive decoder, and whether it is safe.
FASTEST: Final[Mapping[UID, tuple[Decoder, bool]]] = {
    ImplicitVRLittleEndian: (_native, True),
    ExplicitVRLittleEndian: (_native, True),
    ExplicitVRBigEndian: (_swapped, True),
    DeflatedExplicitVRLittleEndian: (_inflated, True),
    RLELossless: (_run_lengths, False),
    JPEGBaseline8Bit: (_gray, True),
    JPEGExtended12Bit: (imagecodecs.jpeg8_decode, False),
    JPEGLossless: (imagecodecs.jpeg8_decode, False),
    JPEGLosslessSV1: (imagecodecs.jpeg8_decode, False),
    JPEGLSLossless: (imagecodecs.jpegls_decode, True),
    JPEGLSNearLossless: (imagecodecs.jpegls_decode, True),
    JPEG2000Lossless: (imagecodecs.jpeg2k_decode, True),
    JPEG2000: (imagecodecs.jpeg2k_decode, True),
    HTJ2KLossless: (imagecodecs.htj2k_decode, False),
    HTJ2KLosslessRPCL: (imagecodecs.htj2k_decode, False),
    HTJ2K: (imagecodecs.htj2k_decode, False),
}


def main() -> None:
    """Measure, print and write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="of which the best counts (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench_dicom.json"), help="JSON file to write (default %(default)s)"
    )
    options = parser.parse_args()
    figures = []
    for syntax, (decoder, is_safe) in FASTEST.items():
        figures.append(measured(syntax, decoder, options.repeats) | {"fastest is safe": is_safe})
        print("  ".join(f"{name} {value}" for name, value in figures[-1].items()), flush=True)
    options.out.write_text(json.dumps(figures, indent=1))


def measured(syntax: UID, decoder: Decoder, repeats: int) -> dict[str, Any]:
    """The figures of one transfer syntax."""
    values = film()
    is_baseline = syntax == JPEGBaseline8Bit
    encoded = dicom_file(
        (values >> 4).astype(np.uint8) if is_baseline else values, syntax=syntax, BitsStored=8 if is_baseline else 12
    )
    frame = frame_of(encoded, syntax)
    ours, fastest = best_milliseconds(lambda: read_frame(parse_dicom(encoded)), lambda: decoder(frame), repeats)
    return {"syntax": syntax.name, "MB": round(len(encoded) / 1e6, 2), "ms": ours, "fastest": fastest}


def film() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A smooth film of 12 bits with noise of 8 gray levels, uint16 (2500, 2048)."""
    down, across = np.mgrid[:2500, :2048]
    noise = np.random.default_rng(0).normal(0, 8, (2500, 2048))
    values: np.ndarray[Any, np.dtype[Any]] = 1800 + 1200 * np.sin(across / 300) * np.cos(down / 400) + noise
    return values.clip(0, 4095).astype(np.uint16)


def frame_of(encoded: bytes, syntax: UID) -> bytes:
    """What the bare decoder gets."""
    if syntax == DeflatedExplicitVRLittleEndian:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflate.compress(film().tobytes()) + deflate.flush()
    pixels: bytes = pydicom.dcmread(BytesIO(encoded)).PixelData
    return next(pydicom.encaps.generate_frames(pixels, number_of_frames=1)) if syntax.is_encapsulated else pixels


def best_milliseconds(one: Callable[[], Any], other: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """The best time of each, measured in turn."""
    one()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, its_times in zip((one, other), times, strict=True):
            started = time.thread_time()
            call()
            its_times.append(time.thread_time() - started)
    return round(min(times[0]) * 1000, 1), round(min(times[1]) * 1000, 1)


if __name__ == "__main__":
    main()
