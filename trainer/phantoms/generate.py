"""Makes a data set of synthetic radiographs in NIH's layout, to try everything out without a patient's data."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from db.errors import UserError
from trainer.phantoms.anatomy import draw_anatomy
from trainer.phantoms.exposure import encode_png, expose
from trainer.phantoms.marker import mark_synthetic
from trainer.phantoms.opacities import draw_abnormal_chest
from trainer.phantoms.plan import PATIENT_STREAM, SCAN_STREAM, Phantom, labels_csv, plan_phantoms
from worker.files import make_folder, write_atomically

CSV_NAME: Final = "sample_labels.csv"


@dataclass(frozen=True, kw_only=True)
class PhantomsMade:
    """The result of `make_phantoms`."""

    csv: Path
    images: Path
    scans: int
    #: Number of images drawn by this call; the others were already there.
    drawn: int


def draw_phantom(phantom: Phantom, *, seed: int) -> bytes:
    """Draw one scan as an 8-bit gray 1024x1024 PNG; the same arguments give the same bytes."""
    anatomy = draw_anatomy(np.random.default_rng([seed, PATIENT_STREAM, phantom.patient]))
    rng = np.random.default_rng([seed, SCAN_STREAM, phantom.patient, phantom.follow_up])
    return encode_png(expose(draw_abnormal_chest(anatomy, phantom.findings, rng).density, rng))


def make_phantoms(
    out: Path, *, patients: int, seed: int, processes: int | None = None, advance: Callable[[int], None] | None = None
) -> PhantomsMade:
    """Write `out/images/*.png`, `out/sample_labels.csv` and the marker. Only images that are missing are drawn.

    Args:
        out: the folder.
        patients: the number of patients, each with one to five scans.
        seed: seed of all random numbers.
        processes: the number of processes that draw; by default one per core.
        advance: called with 1 after each image.

    Raises:
        UserError: the folder holds other scans, which are left untouched, or it cannot be written.
    """
    plan = plan_phantoms(patients=patients, seed=seed)
    images = out / "images"
    _prepare_folder(out, images, labels_csv(plan))
    missing = [phantom for phantom in plan if not (images / phantom.image_name).exists()]
    for _ in _draw_all(missing, images, seed, processes or os.cpu_count() or 1):
        if advance:
            advance(1)
    return PhantomsMade(csv=out / CSV_NAME, images=images, scans=len(plan), drawn=len(missing))


def _prepare_folder(out: Path, images: Path, content: bytes) -> None:
    # Before the images, so that the next call after an interruption recognizes the folder.
    path = out / CSV_NAME
    if path.exists() and path.read_bytes() != content:
        raise UserError(f"{path}: holds other scans than this command makes; choose another --out, or delete the file")
    if not path.exists() and images.is_dir() and any(images.iterdir()):
        raise UserError(f"{images}: holds images that this command did not draw; choose another --out")
    try:
        make_folder(images)
        mark_synthetic(out)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error


def _draw_all(phantoms: Sequence[Phantom], images: Path, seed: int, processes: int) -> Iterator[None]:
    draw = partial(_draw_file, images=images, seed=seed)
    if processes == 1 or len(phantoms) < processes:
        yield from map(draw, phantoms)
        return
    # Spawned, because a fork would copy locks that other threads hold.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_init_drawing_process)
    try:
        for future in as_completed([pool.submit(draw, phantom) for phantom in phantoms]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _init_drawing_process() -> None:
    # Ctrl+C reaches every process of the group, and only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _draw_file(phantom: Phantom, *, images: Path, seed: int) -> None:
    write_atomically(images / phantom.image_name, draw_phantom(phantom, seed=seed))
