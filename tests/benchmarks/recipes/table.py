"""The table of tries: validation AUROCs with intervals clustered by patient, and differences to the baseline.

The figures are those of `db.evaluation`, as in a run's report. It needs the finished tries' files alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Cohort, number_patients
from db.evaluation.estimate import Statistic, difference, estimate
from db.evaluation.evaluate import mean_auroc_statistic
from db.evaluation.format import format_estimate, format_rate
from db.evaluation.ranking import auroc_statistic
from db.findings import ABNORMAL
from tests.benchmarks.recipes.tries import BASELINE
from worker.files import open_atomically

#: The ways in which a finished fit scores: as `trainer fit` does; by the mean of a scan's scores and those of its
#: mirror image; and with the mean of the weights after the best epochs.
SINGLE, MIRRORED, BEST_EPOCHS = "", "mirrored", "mean of best epochs"
_HEADER: Final = ("try", ABNORMAL, "difference", "mean of findings", "difference", "best epoch", "hours", "machine")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A try that has just been finished."""

    #: JSON values.
    figures: dict[str, Any]
    #: The validation scans' labels (N, findings), patients (N,), and scores (N, findings) by way of scoring.
    labels: NDArray[np.float32]
    patients: list[str]
    scores: dict[str, NDArray[np.float32]]


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write a finished try to `NAME.npz` and then to `NAME.json`."""
    name = outcome.figures["try"]
    arrays: dict[str, Any] = {f"scores {way}": scores for way, scores in outcome.scores.items()}
    with open_atomically(folder / f"{name}.npz") as file:
        np.savez_compressed(file, labels=outcome.labels, patients=np.array(outcome.patients), **arrays)
    finished = FinishedTry(figures=outcome.figures, arrays=_read_arrays(folder, name))
    with open_atomically(folder / f"{name}.json") as file:
        file.write(json.dumps({**outcome.figures, "auroc": finished.aurocs()}, indent=1).encode())


def read_outcomes(folder: Path) -> dict[str, "FinishedTry"]:
    """The finished tries of a folder by name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        figures = json.loads(path.read_text())
        if isinstance(figures, dict):
            found[path.stem] = FinishedTry(figures=figures, arrays=_read_arrays(folder, path.stem))
    return found


@dataclass(frozen=True, kw_only=True)
class FinishedTry:
    """A try that was fitted and scored."""

    figures: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def ways(self) -> list[str]:
        """The ways of scoring."""
        return [name.removeprefix("scores ") for name in self.arrays if name.startswith("scores ")]

    def statistics(self, way: str) -> tuple[Statistic, Statistic]:
        """The AUROC of `Abnormal`, and the mean of the other findings'."""
        cohort = self._cohort(way)
        abnormal = auroc_statistic(cohort.sample(ABNORMAL))
        mean = mean_auroc_statistic(cohort, [name for name in cohort.findings if name != ABNORMAL])
        if abnormal is None or mean is None:
            raise ValueError(f"the validation scans of {self.figures['try']} lack a class")
        return abnormal, mean

    def aurocs(self) -> dict[str, dict[str, float | None]]:
        """The AUROC of each finding by way of scoring."""
        return {way: {name: self._auroc(way, name) for name in self.figures["findings"]} for way in self.ways}

    def is_comparable(self, other: "FinishedTry") -> bool:
        """Whether both were validated on the same scans."""
        return all(
            np.array_equal(self.arrays[name], other.arrays[name], equal_nan=name == "labels")
            for name in ("labels", "patients")
        )

    def _auroc(self, way: str, finding: str) -> float | None:
        statistic = auroc_statistic(self._cohort(way).sample(finding))
        return statistic.value if statistic else None

    def _cohort(self, way: str) -> Cohort:
        labels, (patients, has_patient) = self.arrays["labels"], self._patients
        return Cohort(
            findings=tuple(self.figures["findings"]),
            scores=self.arrays[f"scores {way}"].astype(np.float64),
            labels=labels > 0,
            known=~np.isnan(labels),
            patients=patients,
            has_patient=has_patient,
        )

    @cached_property
    def _patients(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return number_patients(self.arrays["patients"].tolist())


def markdown(outcomes: Mapping[str, FinishedTry]) -> str:
    """The table in Markdown, the baseline first; a difference is in bold if its interval lies above 0 or below."""
    lines = [" | ".join(_HEADER), "---|" * (len(_HEADER) - 1) + "---", *_rows(outcomes)]
    return "\n".join(f"| {line} |" for line in lines).replace("| ---|", "|---|").replace("--- |", "---|")


def _rows(outcomes: Mapping[str, FinishedTry]) -> Iterator[str]:
    baseline = outcomes.get(BASELINE)
    for name in sorted(outcomes, key=lambda name: (name != BASELINE, name)):
        one = outcomes[name]
        for way in one.ways:
            title = f"{name}, {way}" if way else name
            cells = list(_figures(one, way, baseline, is_baseline=name == BASELINE and way == SINGLE))
            epochs = f"{one.figures['best_epoch']} of {one.figures['epochs']}"
            cost = [epochs, f"{one.figures['hours']:.2f}", _machine(one)] if way == SINGLE else ["", "", ""]
            yield " | ".join([title, *cells, *cost])


def _figures(one: FinishedTry, way: str, baseline: FinishedTry | None, *, is_baseline: bool) -> Iterator[str]:
    compared = baseline.statistics(SINGLE) if baseline and one.is_comparable(baseline) and not is_baseline else None
    for number, statistic in enumerate(one.statistics(way)):
        yield format_estimate(estimate(statistic, "logit"))
        yield _difference(difference(statistic, compared[number])) if compared else "-"


def _machine(one: FinishedTry) -> str:
    machine = one.figures["machine"]
    return f"{'GPU' if machine['gpu'] else str(machine['cores']) + ' cores'}, {machine['backend']}"


def _difference(statistic: Statistic) -> str:
    found = estimate(statistic, "identity")
    if found.value is None or found.low is None or found.high is None:
        return "-"
    text = f"{_signed(found.value)} ({_signed(found.low)} to {_signed(found.high)})"
    return text if found.low <= 0 <= found.high else f"**{text}**"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{format_rate(value)}"


def _read_arrays(folder: Path, name: str) -> dict[str, NDArray[Any]]:
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)
