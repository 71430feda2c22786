"""Reads the labelled scans of a CSV as pixels, through the same function that serves them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError, TemporaryError, UserError
from db.findings import ABNORMAL, NIH_FINDINGS, NO_FINDING
from db.labels_csv import LabelRow
from db.scans import FoundImage
from worker.images import read_image
from worker.manifest import Preprocessing
from worker.pixels import Pixels, to_pixels

#: More bad images than this and the data set, not an image, is at fault.
MAX_BAD_SHARE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Scans that can be learned from."""

    rows: tuple[LabelRow, ...]
    #: uint8 (N, H, W, C), in the order of `rows`.
    pixels: Pixels
    #: Reason code to the number of labelled scans that could not be read.
    left_out: Mapping[str, int]


def load_examples(
    rows: Sequence[LabelRow],
    found: Mapping[str, FoundImage],
    rule: Preprocessing,
    *,
    advance: Callable[[int], None] | None = None,
) -> Examples:
    """Read every labelled scan; an unlabelled one teaches nothing and is passed over.

    `found` is what `worker.images.find_images` lists; `advance` is told of each further scan.

    Raises:
        UserError: no scan is labelled, or more than 5% of those that are cannot be read.
    """
    labelled = [row for row in rows if row.findings]
    if not labelled:
        raise UserError("no row of the CSV has a label: there is nothing to learn")
    read: list[Pixels | str] = []
    with ThreadPoolExecutor() as pool:
        for one in pool.map(lambda row: _read(found.get(row.image_name), rule), labelled):
            read.append(one)
            if advance:
                advance(1)
    left_out = Counter(one for one in read if isinstance(one, str))
    _check_share(left_out, len(labelled))
    good = [(row, one) for row, one in zip(labelled, read, strict=True) if not isinstance(one, str)]
    return Examples(
        rows=tuple(row for row, _ in good), pixels=np.stack([pixels for _, pixels in good]), left_out=left_out
    )


def learnable_findings(rows: Sequence[LabelRow]) -> tuple[str, ...]:
    """`Abnormal` and the NIH findings that occur: a model cannot score what it never saw."""
    seen = {finding for row in rows for finding in row.findings}
    return (ABNORMAL, *(finding for finding in NIH_FINDINGS if finding in seen))


def label_matrix(rows: Sequence[LabelRow], findings: Sequence[str]) -> NDArray[np.float32]:
    """Labels as float32 (N, findings), 0 or 1."""
    return np.array([[_has(row, finding) for finding in findings] for row in rows], np.float32)


def _has(row: LabelRow, finding: str) -> bool:
    return row.findings != (NO_FINDING,) if finding == ABNORMAL else finding in row.findings


def _read(image: FoundImage | None, rule: Preprocessing) -> Pixels | str:
    if image is None:
        return "missing"
    try:
        return to_pixels(read_image(image.location).data, rule)
    except PermanentError as error:
        return error.reason
    except TemporaryError:
        return "unreachable"


def _check_share(left_out: Counter[str], total: int) -> None:
    bad = left_out.total()
    if bad > MAX_BAD_SHARE * total:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        raise UserError(f"{bad} of {total} labelled scans cannot be read ({reasons}); up to {MAX_BAD_SHARE:.0%} may")
