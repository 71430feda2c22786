"""Draws how a fit went: loss, accuracy and AUROC over the epochs."""

import io
from collections.abc import Sequence
from typing import Final

from matplotlib.figure import Figure

from trainer.fitting.history import Epoch

CURVES_FILE: Final = "curves.png"
#: Title of a panel, and its curves: label to the field of `Epoch`. "Other scans" are those of validation; without it,
#: of test.
_PANELS: Final = (
    ("loss", {"training (augmented, weighted)": "loss", "other scans": "validation_loss"}),
    ("accuracy at 0.5, first finding", {"training (augmented)": "accuracy", "other scans": "validation_accuracy"}),
    ("AUROC, other scans", {"first finding": "validation_auroc", "mean of findings": "validation_mean_auroc"}),
)


def draw_curves(history: Sequence[Epoch]) -> bytes:
    """A PNG of three panels."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    epochs = [epoch.epoch for epoch in history]
    for axes, (title, curves) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for label, field in curves.items():
            axes.plot(epochs, [_nan_if_none(getattr(epoch, field)) for epoch in history], marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    png = io.BytesIO()
    figure.savefig(png, dpi=110)
    return png.getvalue()


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value
