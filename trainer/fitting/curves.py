"""How a fit went, as a picture: loss, accuracy and AUROC over the epochs."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.figure import Figure

CURVES_FILE: Final = "curves.png"
_PANELS: Final = (
    ("loss", {"fitted (augmented, weighted)": "loss", "watched": "watched_loss"}),
    ("accuracy at 0.5, first finding", {"fitted (augmented)": "accuracy", "watched": "watched_accuracy"}),
    ("watched AUROC", {"first finding": "watched_auroc", "mean of findings": "watched_mean_auroc"}),
)


def draw_curves(history: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG of three panels; `history` has one mapping of `trainer.fitting.training_loop.Epoch`'s figures an epoch."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    epochs = [epoch["epoch"] for epoch in history]
    for axes, (title, curves) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for label, key in curves.items():
            axes.plot(epochs, [_or_gap(epoch[key]) for epoch in history], marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    png = io.BytesIO()
    figure.savefig(png, dpi=110)
    return png.getvalue()


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value
