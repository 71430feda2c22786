"""The figures of a fit's epochs: which epoch is the best, and when a fit stops early."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

#: Columns of `history.csv`, keys in checkpoints and TensorBoard's names, where they differ from `Epoch`'s fields.
_COLUMNS: Final = {
    "validation_loss": "watched_loss",
    "validation_accuracy": "watched_accuracy",
    "validation_auroc": "watched_auroc",
    "validation_mean_auroc": "watched_mean_auroc",
}
_FIELDS: Final = {column: field for field, column in _COLUMNS.items()}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The figures of one epoch. Without a validation subset, the test subset is used for validation figures.

    Accuracy is the first finding's, at a score of 0.5.
    """

    #: Counted from 1.
    epoch: int
    #: Means over the epoch's steps, on augmented scans; the loss is weighted as the recipe's `balance` says.
    loss: float
    accuracy: float
    #: Crossentropy of the known labels, without weights; None if the subset has none.
    validation_loss: float | None
    #: None if the first finding is known of no scan.
    validation_accuracy: float | None
    #: Of the first finding; None if the subset has only one class.
    validation_auroc: float | None
    #: Mean over the findings that have both classes in the subset; None if there are none.
    validation_mean_auroc: float | None
    seconds: float
    images_per_second: float

    def as_row(self) -> dict[str, Any]:
        """The figures by the column names of `history.csv`."""
        return {_COLUMNS.get(field, field): figure for field, figure in asdict(self).items()}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Epoch":
        """The epoch that `as_row` gave this row."""
        return cls(**{_FIELDS.get(column, column): figure for column, figure in row.items()})


def read_history(path: Path) -> list[Epoch]:
    """The epochs of a `history.csv`."""
    with path.open(newline="", encoding="utf-8") as file:
        figures = [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]
    return [Epoch.from_row({**row, "epoch": number}) for number, row in enumerate(figures, start=1)]


def best_epoch(history: Sequence[Epoch]) -> int:
    """The index of the epoch with the highest validation AUROC; of equal ones the last, which has learned longest."""
    return max(range(len(history)), key=lambda index: (history[index].validation_auroc or 0.0, index))


def stops_early(history: Sequence[Epoch], patience: int) -> bool:
    """Whether the last `patience` epochs brought no better validation AUROC."""
    return bool(history) and len(history) - 1 - best_epoch(history) >= patience
