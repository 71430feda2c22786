"""Draws a contact sheet of the scans where model and label disagree most, which shows wrong labels first."""

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
#: Half of the sheet shows labelled scans with low scores, the other half unlabelled scans with high scores.
_SCANS_PER_HALF: Final = 12
_ROWS: Final = 2 * _SCANS_PER_HALF // _COLUMNS


def draw_contact_sheet(subset: Subset, scores: NDArray[np.float32], finding: str) -> bytes:
    """A PNG: above, scans with the finding and the lowest scores; below, scans without it and the highest scores.

    `scores`, float32 (N,), are of `finding`, the subset's first. The sheet must not be published, because it shows
    names and pixels of patients.
    """
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.7 * _ROWS), layout="constrained")
    figure.suptitle(f"{finding}: labelled but scored low (above), not labelled but scored high (below)")
    tiles = figure.subplots(_ROWS, _COLUMNS).ravel()
    for axes in tiles:
        axes.axis("off")
    missed, false_alarms = most_confident_errors(subset.labels[:, 0], scores)
    for start, chosen in ((0, missed), (_SCANS_PER_HALF, false_alarms)):
        for axes, number in zip(tiles[start : start + _SCANS_PER_HALF], chosen, strict=False):
            _draw_scan(axes, subset.pixels[subset.indices[number]], subset.rows[number], float(scores[number]))
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()


def most_confident_errors(labels: NDArray[np.float32], scores: NDArray[np.float32]) -> tuple[list[int], list[int]]:
    """Indices of the positives with the lowest scores, and of the negatives with the highest, each worst first.

    Labels are (N,): 1, 0, or NaN for unknown.
    """
    order = np.argsort(scores, kind="stable")
    missed = [int(index) for index in order if labels[index] == 1]
    false_alarms = [int(index) for index in order[::-1] if labels[index] == 0]
    return missed[:_SCANS_PER_HALF], false_alarms[:_SCANS_PER_HALF]


def _draw_scan(axes: Axes, pixels: Pixels, row: LabelRow, score: float) -> None:
    if pixels.shape[2] == 3:
        axes.imshow(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    else:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(f"{row.image_name}\n{score:.2f}  {_shortened(row.findings)}", fontsize=7)


def _shortened(findings: Sequence[str]) -> str:
    return ", ".join(findings) if len(findings) < 3 else f"{findings[0]} and {len(findings) - 1} more"
