"""What a fit leaves on disk after each epoch, so that the same command goes on after kill -9."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from worker.files import open_atomically


@dataclass(frozen=True, kw_only=True)
class FitState:
    """All that the next epoch depends on."""

    #: Of the learner and its optimizer, in Keras' order.
    variables: Sequence[NDArray[Any]]
    #: The learner's weights in its best epoch so far.
    best: Sequence[NDArray[Any]]
    #: One mapping of figures for each epoch.
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class StateFile:
    """One fit's file; `purpose` says what is fitted on what, by which recipe."""

    path: Path
    purpose: Mapping[str, Any]

    def read(self) -> FitState | None:
        """The state after the last whole epoch, or None before the first.

        Raises:
            UserError: the file is of another fit, or damaged.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as held:
                about = json.loads(str(held["about"]))
                state = FitState(variables=_many(held, "v"), best=_many(held, "b"), history=about["history"])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise UserError(f"{self.path}: damaged ({error}); delete it to begin anew") from error
        differs = sorted(name for name, value in self.purpose.items() if about["purpose"].get(name) != value)
        if differs:
            raise UserError(
                f"{self.path}: an unfinished fit of this name differs in {', '.join(differs)};"
                " give the same flags to go on, delete the file to begin anew, or choose another --name"
            )
        return state

    def write(self, state: FitState) -> None:
        """Replace the file, whole or not at all.

        Raises:
            UserError: it cannot be written.
        """
        about = json.dumps({"purpose": self.purpose, "history": state.history})
        arrays: dict[str, Any] = _numbered("v", state.variables) | _numbered("b", state.best)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomically(self.path, durable=True) as file:
                np.savez(file, allow_pickle=False, about=np.array(about), **arrays)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from error

    def remove(self) -> None:
        """The fit is done."""
        self.path.unlink(missing_ok=True)


def _numbered(letter: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{letter}{number}": array for number, array in enumerate(arrays)}


def _many(held: Any, letter: str) -> list[NDArray[Any]]:
    count = sum(name.startswith(letter) and name[1:].isdigit() for name in held.files)
    return [held[f"{letter}{number}"] for number in range(count)]
