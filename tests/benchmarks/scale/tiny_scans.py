"""Writes any number of scans that cost almost nothing to decode: hard links to a few tiny PNGs."""

import os

from PIL import Image

from tests.support.world import image_name, radiograph, write_csv

#: Hard links to one file; ext4 allows 65,000.
NAMES_OF_ONE = 50_000
SIDE = 32


def write_tiny_scans(folder, scans):
    """Write the images and their labels CSV, and return the CSV."""
    images = folder / "images"
    images.mkdir(parents=True)
    for number in range(scans):
        original = images / image_name(number - number % NAMES_OF_ONE)
        if number % NAMES_OF_ONE == 0:
            Image.fromarray(radiograph(number, SIDE)).save(original)
        else:
            os.link(original, images / image_name(number))
    return write_csv(folder / f"{folder.name}.csv", range(scans))
