"""Makes a data set of synthetic radiographs, to try everything out without a patient's data."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2

from db.errors import UserError
from trainer.phantoms.dicom_films import dicom_drawings, dicom_labels_csv
from trainer.phantoms.exposure import encode_png
from trainer.phantoms.film import draw_film
from trainer.phantoms.marker import mark_synthetic
from trainer.phantoms.plan import Phantom, labels_csv, plan_phantoms
from worker.files import make_folder, write_atomically

CSV_NAME: Final = "sample_labels.csv"
#: Another name, and so another dataset: its patients have the same numbers and are not the same.
DICOM_CSV_NAME: Final = "dicom_labels.csv"


@dataclass(frozen=True, kw_only=True)
class PhantomsPlan:
    """The files of a data set of phantoms, before they are drawn."""

    #: Number of radiographs that can be scored; each is in the CSV.
    scans: int
    csv_name: str
    csv: bytes
    #: By its path below `images/`, the function that gives each file's content. It can be pickled.
    files: Mapping[str, Callable[[], bytes]]


@dataclass(frozen=True, kw_only=True)
class PhantomsMade:
    """The result of `make_phantoms`."""

    csv: Path
    images: Path
    scans: int
    #: Number of files beside the scans, each of which has a reason not to be scored.
    others: int
    #: Number of files drawn by this call; those that were already there were kept.
    drawn: int


def plan_files(*, patients: int, seed: int, dicom: bool = False) -> PhantomsPlan:
    """Plan a data set.

    Args:
        patients: the number of patients, each with one to five scans.
        seed: seed of all random numbers.
        dicom: DICOM files as hospitals have them, instead of 8-bit gray PNGs as NIH has them.
    """
    plan = plan_phantoms(patients=patients, seed=seed)
    if dicom:
        return PhantomsPlan(
            scans=len(plan),
            csv_name=DICOM_CSV_NAME,
            csv=dicom_labels_csv(plan, seed),
            files=dicom_drawings(plan, seed),
        )
    files = {phantom.image_name: partial(draw_phantom, phantom, seed=seed) for phantom in plan}
    return PhantomsPlan(scans=len(plan), csv_name=CSV_NAME, csv=labels_csv(plan), files=files)


def draw_phantom(phantom: Phantom, *, seed: int) -> bytes:
    """Draw one scan as an 8-bit gray 1024x1024 PNG; the same arguments give the same bytes."""
    return encode_png(draw_film(phantom, seed=seed))


def make_phantoms(
    out: Path,
    *,
    patients: int,
    seed: int,
    dicom: bool = False,
    processes: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> PhantomsMade:
    """Write the files below `out/images`, the CSV and the marker into `out`. Only missing files are drawn.

    Args:
        out: the folder.
        patients: see `plan_files`.
        seed: see `plan_files`.
        dicom: see `plan_files`.
        processes: the number of processes that draw; by default one per core.
        advance: called with 1 after each file.

    Raises:
        UserError: the folder holds other scans, which are left untouched, or it cannot be written.
    """
    plan = plan_files(patients=patients, seed=seed, dicom=dicom)
    images = out / "images"
    _prepare_folder(out, images, plan)
    missing = {images / name: draw for name, draw in plan.files.items() if not (images / name).exists()}
    for _ in _draw_all(missing, processes or os.cpu_count() or 1):
        if advance:
            advance(1)
    others = len(plan.files) - plan.scans
    return PhantomsMade(csv=out / plan.csv_name, images=images, scans=plan.scans, others=others, drawn=len(missing))


def _prepare_folder(out: Path, images: Path, plan: PhantomsPlan) -> None:
    # Before the images, so that the next call after an interruption recognizes the folder.
    path = out / plan.csv_name
    if path.exists() and path.read_bytes() != plan.csv:
        raise UserError(f"{path}: holds other scans than this command makes; choose another --out, or delete the file")
    if not path.exists() and images.is_dir() and any(images.iterdir()):
        raise UserError(f"{images}: holds images that this command did not draw; choose another --out")
    try:
        for folder in {(images / name).parent for name in plan.files}:
            make_folder(folder)
        mark_synthetic(out)
        write_atomically(path, plan.csv)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error


def _draw_all(files: Mapping[Path, Callable[[], bytes]], processes: int) -> Iterator[None]:
    if processes == 1 or len(files) < processes:
        yield from map(_write, files, files.values())
        return
    # Spawned, because a fork would copy locks that other threads hold.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_init_drawing_process)
    try:
        for future in as_completed([pool.submit(_write, path, draw) for path, draw in files.items()]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _init_drawing_process() -> None:
    # Ctrl+C reaches every process of the group, and only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _write(path: Path, draw: Callable[[], bytes]) -> None:
    write_atomically(path, draw())
