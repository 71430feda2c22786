"""Writes radiographs for a benchmark, each with different pixels and as costly to decode as real ones."""

import csv
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

#: The columns of NIH's CSV.
HEADER = (
    *("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position"),
    *("OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"),
)
#: As libpng writes NIH's files: the best filter for each row, and zlib's default level.
_PNG = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS, cv2.IMWRITE_PNG_COMPRESSION, 6]
_LARGEST_SHIFT = 100


def lay_out(folder, originals, count, seed=7):
    """Write shifted originals and their labels CSV.

    Args:
        folder: gets `images/` and `labels.csv`; existing ones are kept.
        originals: a folder of real PNGs.
        count: number of files.
        seed: seed of the shifts.

    Returns:
        The CSV.
    """
    sources = sorted(originals.glob("*.png"))
    if not sources:
        sys.exit(f"no PNG in {originals}; --images names a folder of radiographs")
    images, table = folder / "images", folder / "labels.csv"
    names = [f"{number + 1:08d}_000.png" for number in range(count)]
    if not table.exists():
        images.mkdir(parents=True, exist_ok=True)
        shifts = np.random.default_rng(seed).integers(-_LARGEST_SHIFT, _LARGEST_SHIFT, (count, 2))
        with ThreadPoolExecutor() as pool:
            list(pool.map(_write, [images / name for name in names], _cycled(sources, count), shifts))
        with table.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(HEADER)
            rows.writerows(
                [name, "No Finding", 0, at + 1, 60, "M", "PA", 1024, 1024, 0.14, 0.14] for at, name in enumerate(names)
            )
    return table


def _cycled(sources, count):
    return [sources[number % len(sources)] for number in range(count)]


def _write(path, source, shift):
    image = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    # By reflection, so that the new edge is as rough as the rest.
    down, right = (int(abs(step)) for step in shift)
    padded = cv2.copyMakeBorder(image, down, down, right, right, cv2.BORDER_REFLECT)
    top, left = down + int(shift[0]), right + int(shift[1])
    cut = padded[top : top + image.shape[0], left : left + image.shape[1]]
    path.write_bytes(cv2.imencode(".png", cut, _PNG)[1].tobytes())
