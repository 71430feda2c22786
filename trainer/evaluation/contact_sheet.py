"""A contact sheet of the scans where model and label disagree most: where labels are wrong, they are here first."""

import io
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from db.labels.csv_file import LabelRow
from trainer.data.training_data import Subset
from worker.images.pixels import Pixels

_COLUMNS: Final = 6
#: Of either kind: labelled and scored low, not labelled and scored high.
_EACH: Final = 12
_ROWS: Final = 2 * _EACH // _COLUMNS


def draw_sheet(subset: Subset, scores: NDArray[np.float32], finding: str) -> bytes:
    """A PNG: above, scans with the finding and the lowest scores; below, scans without it and the highest.

    Scores, float32 (N,), are of the subset's first finding. Names and pixels of patients: not for publication.
    """
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.7 * _ROWS), layout="constrained")
    figure.suptitle(f"{finding}: labelled but scored low (above), not labelled but scored high (below)")
    tiles = figure.subplots(_ROWS, _COLUMNS).ravel()
    for axes in tiles:
        axes.axis("off")
    missed, alarms = most_confident(subset.labels[:, 0] > 0, scores)
    for start, chosen in ((0, missed), (_EACH, alarms)):
        for axes, at in zip(tiles[start : start + _EACH], chosen, strict=False):
            _draw(axes, subset.pixels[subset.places[at]], subset.rows[at], float(scores[at]))
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()


def most_confident(truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> tuple[list[int], list[int]]:
    """The positives with the lowest scores, lowest first, and the negatives with the highest, highest first."""
    order = np.argsort(scores, kind="stable")
    missed = [int(at) for at in order if truth[at]]
    alarms = [int(at) for at in order[::-1] if not truth[at]]
    return missed[:_EACH], alarms[:_EACH]


def _draw(axes: Axes, pixels: Pixels, row: LabelRow, score: float) -> None:
    if pixels.shape[2] == 3:
        axes.imshow(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    else:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(f"{row.image_name}\n{score:.2f}  {_short(row.findings)}", fontsize=7)


def _short(findings: Sequence[str]) -> str:
    return ", ".join(findings) if len(findings) < 3 else f"{findings[0]} and {len(findings) - 1} more"
