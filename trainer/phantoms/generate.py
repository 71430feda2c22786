"""A data set of synthetic radiographs in NIH's layout, for trying everything out without a patient's data."""

import csv
import io
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
from db.findings import NO_FINDING
from trainer.phantoms.anatomy import draw_anatomy
from trainer.phantoms.exposure import encode_png, expose
from trainer.phantoms.opacities import DRAWN, draw_abnormal_chest
from worker.files import write_atomically

CSV_NAME: Final = "sample_labels.csv"
#: The header of Kaggle's `sample_labels.csv`, letter by letter.
NIH_HEADER: Final = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
)
#: NIH's own share, roughly: half of its scans show nothing.
_NORMAL_SHARE: Final = 0.5
_MOST_SCANS: Final = 5
#: Keeps the random numbers of plans and of images apart.
_PLAN, _PATIENT, _SCAN = range(3)


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """One scan of a synthetic patient."""

    patient: int
    follow_up: int
    #: Empty is normal.
    findings: tuple[str, ...]
    age: int
    sex: str
    view: str

    @property
    def image_name(self) -> str:
        """NIH's form, `00000001_000.png`."""
        return f"{self.patient:08}_{self.follow_up:03}.png"


@dataclass(frozen=True, kw_only=True)
class PhantomsMade:
    """What a call found and did."""

    csv: Path
    images: Path
    scans: int
    #: Images drawn by this call; the others were there.
    drawn: int


def plan_phantoms(*, patients: int, seed: int) -> list[Phantom]:
    """Decide who is scanned how often and what is found: the same for the same arguments."""
    return [phantom for patient in range(1, patients + 1) for phantom in _plan_patient(patient, seed)]


def draw_phantom(phantom: Phantom, *, seed: int) -> bytes:
    """Draw one scan as an 8-bit gray 1024x1024 PNG: the same for the same arguments."""
    anatomy = draw_anatomy(np.random.default_rng([seed, _PATIENT, phantom.patient]))
    rng = np.random.default_rng([seed, _SCAN, phantom.patient, phantom.follow_up])
    return encode_png(expose(draw_abnormal_chest(anatomy, phantom.findings, rng).density, rng))


def make_phantoms(
    out: Path, *, patients: int, seed: int, processes: int | None = None, advance: Callable[[int], None] | None = None
) -> PhantomsMade:
    """Write `out/images/*.png` and `out/sample_labels.csv`, drawing only the images that are not there yet.

    As many processes as asked for draw at once, one a core by default; `advance` is told of each further image.

    Raises:
        UserError: the folder holds something else; nothing of it is touched.
    """
    plan = plan_phantoms(patients=patients, seed=seed)
    images = out / "images"
    _claim(out, images, _csv_bytes(plan))
    missing = [phantom for phantom in plan if not (images / phantom.image_name).exists()]
    for _ in _draw_all(missing, images, seed, processes or os.cpu_count() or 1):
        if advance:
            advance(1)
    return PhantomsMade(csv=out / CSV_NAME, images=images, scans=len(plan), drawn=len(missing))


def _plan_patient(patient: int, seed: int) -> Iterator[Phantom]:
    rng = np.random.default_rng([seed, _PLAN, patient])
    age, sex = int(rng.integers(18, 90)), str(rng.choice(("F", "M")))
    for follow_up in range(rng.integers(1, _MOST_SCANS + 1)):
        yield Phantom(
            patient=patient,
            follow_up=follow_up,
            findings=_plan_findings(rng),
            age=age + follow_up // 2,
            sex=sex,
            view=str(rng.choice(("PA", "AP"), p=(0.6, 0.4))),
        )


def _plan_findings(rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() < _NORMAL_SHARE:
        return ()
    count = rng.choice((1, 2, 3), p=(0.65, 0.28, 0.07))
    return tuple(sorted(str(finding) for finding in rng.choice(DRAWN, size=count, replace=False)))


def _csv_bytes(plan: Sequence[Phantom]) -> bytes:
    text = io.StringIO()
    text.write(NIH_HEADER + "\r\n")
    rows = csv.writer(text, lineterminator="\r\n")
    for scan in plan:
        labels = "|".join(scan.findings) or NO_FINDING
        person = (f"{scan.patient:08}", f"{scan.age:03}Y", scan.sex, scan.view)
        rows.writerow((scan.image_name, labels, f"{scan.follow_up:03}", *person, 1024, 1024, 0.3, 0.3))
    return text.getvalue().encode()


def _claim(out: Path, images: Path, content: bytes) -> None:
    # The CSV comes first: it marks the folder as ours, so that an interrupted call can go on where it stopped.
    path = out / CSV_NAME
    if path.exists() and path.read_bytes() != content:
        raise UserError(f"{path}: holds other scans than asked for; choose another --out, or delete it first")
    if not path.exists() and images.is_dir() and any(images.iterdir()):
        raise UserError(f"{images}: holds images that are no phantoms of this command; choose another --out")
    try:
        images.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error


def _draw_all(phantoms: Sequence[Phantom], images: Path, seed: int, processes: int) -> Iterator[None]:
    draw = partial(_draw_file, images=images, seed=seed)
    if processes == 1 or len(phantoms) < processes:
        yield from map(draw, phantoms)
        return
    # Spawned, for a fork copies locks that threads of this process hold.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_become_helper)
    try:
        for done in as_completed([pool.submit(draw, phantom) for phantom in phantoms]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _become_helper() -> None:
    # Ctrl+C reaches the whole group of processes; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _draw_file(phantom: Phantom, *, images: Path, seed: int) -> None:
    write_atomically(images / phantom.image_name, draw_phantom(phantom, seed=seed))
