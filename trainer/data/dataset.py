"""The labelled scans of a CSV, as pixels in the cache and labels in arrays."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.findings import ABNORMAL, NIH_FINDINGS, NO_FINDING
from db.labels.csv_file import LabelRow
from db.ledger.scans import FoundImage
from trainer.console.progress import say, stage
from trainer.data.decoded_images import load_decoded_images
from worker.images.pixels import Pixels
from worker.images.preprocessing import Preprocessing
from worker.storage.image_store import find_images

#: More bad images than this and the data set, not an image, is at fault.
MAX_BAD_SHARE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Scans that can be learned from, or judged on."""

    rows: tuple[LabelRow, ...]
    #: uint8 (M, H, W, C), a memory map of the cache.
    pixels: Pixels
    #: (N,) where in `pixels` each of `rows` lies, for it holds bad scans too.
    places: NDArray[np.int64]
    #: Reason code to the number of labelled scans that could not be read.
    left_out: Mapping[str, int]


def read_scans(
    csv: Path, images: str | None, rows: Sequence[LabelRow], rule: Preprocessing, *, cache: Path
) -> Examples:
    """Find the images of these rows and read them, showing how it goes and saying what is left out.

    Raises:
        UserError: there are no images, or more than 5% of them cannot be read.
    """
    found = find_images(csv, images, {row.image_name for row in rows}).images
    with stage("reading scans", total=len(rows)) as advance:
        examples = load_examples(rows, found, rule, cache=cache, advance=advance)
    for reason, count in examples.left_out.items():
        say(f"left out: {count} scans, {reason}")
    return examples


def load_examples(
    rows: Sequence[LabelRow],
    found: Mapping[str, FoundImage],
    rule: Preprocessing,
    *,
    cache: Path,
    advance: Callable[[int], None] | None = None,
) -> Examples:
    """Read the scans of these rows, through the cache.

    `found` is what `worker.storage.image_store.find_images` lists; `advance` is told of further scans.

    Raises:
        UserError: more than 5% of them cannot be read.
    """
    cached = load_decoded_images(cache, [found.get(row.image_name) for row in rows], rule, advance=advance)
    left_out = Counter(cached.unreadable.values())
    _check_share(left_out, len(rows))
    places = [place for place in range(len(rows)) if place not in cached.unreadable]
    return Examples(
        rows=tuple(rows[place] for place in places),
        pixels=cached.pixels,
        places=np.array(places, np.int64),
        left_out=left_out,
    )


def labelled_rows(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """The rows that have labels: an unlabelled scan teaches nothing.

    Raises:
        UserError: there are none.
    """
    labelled = [row for row in rows if row.findings]
    if not labelled:
        raise UserError("no row of the CSV has a label: there is nothing to learn")
    return labelled


def learnable_findings(rows: Sequence[LabelRow], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The wanted findings, or `Abnormal` and every NIH finding, that occur: a model cannot score what it never saw.

    Raises:
        UserError: a finding was named that does not occur.
    """
    seen = {finding for row in rows for finding in row.findings}
    known = (ABNORMAL, *(finding for finding in NIH_FINDINGS if finding in seen))
    unseen = [finding for finding in wanted if finding not in known]
    if unseen:
        raise UserError(f"--target {unseen[0]}: no scan to fit on has it; there are {', '.join(known)}")
    return tuple(finding for finding in known if not wanted or finding in wanted)


def label_matrix(rows: Sequence[LabelRow], findings: Sequence[str]) -> NDArray[np.float32]:
    """Labels as float32 (N, findings), 0 or 1."""
    return np.array([[_has(row, finding) for finding in findings] for row in rows], np.float32)


def _has(row: LabelRow, finding: str) -> bool:
    return row.findings != (NO_FINDING,) if finding == ABNORMAL else finding in row.findings


def _check_share(left_out: Counter[str], total: int) -> None:
    bad = left_out.total()
    if bad > MAX_BAD_SHARE * total:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        raise UserError(f"{bad} of {total} labelled scans cannot be read ({reasons}); up to {MAX_BAD_SHARE:.0%} may")
