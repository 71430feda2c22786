"""Measures the rendering of DICOM films on one core: the time of the table, and the memory of a large detector's film.

Each row is a line of JSON. `look_up_ms` is the table step alone, 5 megapixels of 12 bits; `render_ms` is that and all
that the header decides. A row by transfer syntax says how far the memory of a process grows, in copies of the stored
values, while a film of 4280 x 3520 x 16 bits is `decoded`, and while it becomes 224 x 224 pixels (`prepared`). Both are
the same if rendering and resizing add nothing; an uncompressed film needs no copy of its values, which lie in the bytes
of the file, and 0.5 for its image of 8 bits.

    python -m tests.benchmarks.bench_rendering [--rounds 50]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from tests.support.dicom_luts import curve, lut_sequence
from tests.support.world import radiograph
from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.dataset import parse_dicom
from worker.dicom.frames import read_frame
from worker.dicom.rendering import render
from worker.dicom.stored_values import look_up
from worker.images.pixels import prepare
from worker.images.preprocessing import Preprocessing

WINDOW = {"WindowCenter": 2000, "WindowWidth": 3000}
HEADERS = {
    "neither": {},
    "window": WINDOW,
    "SIGMOID": {**WINDOW, "VOILUTFunction": "SIGMOID"},
    "lut": {"VOILUTSequence": lut_sequence(curve(4096, 4095), bits=12)},
}
LARGE = (4280, 3520)
LARGE_SYNTAXES = (ExplicitVRLittleEndian, RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)


def main():
    options = parse()
    if options.film:
        print(grown_by(options.film.read_bytes(), options.stage))
        return
    cv2.setNumThreads(1)
    values = film(12, (2500, 2048))
    table = np.tile(np.arange(4096) >> 4, 16).astype(np.uint8)
    report({"look_up_ms": best(options.rounds, values, lambda copy: look_up(copy, table))})
    for name, header in HEADERS.items():
        dataset = parse_dicom(dicom_file(np.zeros((1, 1), np.uint16), BitsStored=12, **header))
        for rendering in ("display", "equalized"):
            seconds = best(options.rounds, values, lambda copy, d=dataset, r=rendering: render(copy, d, r))
            report({"header": name, "rendering": rendering, "render_ms": seconds})
    for syntax in LARGE_SYNTAXES:
        content = dicom_file(film(16, LARGE), syntax=syntax)
        report({"syntax": syntax.keyword, **{stage: memory_of(content, stage) for stage in STAGES}})


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--film", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    return parser.parse_args()


def report(row):
    print(json.dumps(row), flush=True)


def film(bits, size):
    """A synthetic film of that many bits."""
    image = cv2.resize(radiograph(1, side=512), size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint16)
    noise = np.random.default_rng(0).integers(0, 1 << (bits - 8), size, dtype=np.uint16)
    return (image << (bits - 8)) + noise


def best(rounds, values, work):
    """The shortest time in ms. Each round has a copy, because the result takes the place of the values."""
    times = []
    for _ in range(rounds):
        copy = values.copy()
        begin = time.perf_counter()
        work(copy)
        times.append(time.perf_counter() - begin)
    return round(min(times) * 1000, 2)


def memory_of(content, stage):
    """Measured in a process of its own, which has decoded no other large film."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.dcm")
        path.write_bytes(content)
        command = [sys.executable, "-m", "tests.benchmarks.bench_rendering", "--film", str(path), "--stage", stage]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def grown_by(content, stage):
    """In copies of the stored values."""
    # Loads all decoders, and compiles what they need.
    for syntax in LARGE_SYNTAXES:
        STAGES[stage](dicom_file(film(16, (64, 64)), syntax=syntax))
    # The peak begins anew at what is used now.
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before = peak_mib()
    STAGES[stage](content)
    return round((peak_mib() - before) * 1024**2 / (2 * LARGE[0] * LARGE[1]), 2)


STAGES = {
    "decoded": lambda content: read_frame(parse_dicom(content)),
    "prepared": lambda content: prepare(content, Preprocessing(rule=2)),
}


def peak_mib():
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024


if __name__ == "__main__":
    main()
