"""Checkpoints: the state of a fit after each epoch on disk, so that the same command resumes it after kill -9."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from worker.files import open_atomically

#: The input that names the code which makes pixels. Older files lack it.
PIXELS: Final = "pixels"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that the next epoch depends on."""

    #: Of the compiled model and its optimizer, in Keras' order.
    variables: Sequence[NDArray[Any]]
    #: The compiled model's weights after its best epoch so far.
    best: Sequence[NDArray[Any]]
    #: For each epoch, the figures of `trainer.fitting.history.Epoch.as_row`.
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """The file of one fit's checkpoint."""

    path: Path
    #: The recipe and a fingerprint of the data; a fit resumes only if they are the same. JSON values.
    inputs: Mapping[str, Any]

    def read(self) -> Checkpoint | None:
        """The checkpoint after the last complete epoch; None if there is none.

        Raises:
            UserError: the file belongs to a fit with other inputs, or it is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                checkpoint = Checkpoint(
                    variables=_numbered_arrays(arrays, "v"),
                    best=_numbered_arrays(arrays, "b"),
                    history=about["history"],
                )
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise UserError(f"{self.path}: the checkpoint is damaged ({error}); delete it to start over") from error
        # The key in the file is older than the name of the field.
        differing = sorted(name for name, value in self.inputs.items() if about["purpose"].get(name) != value)
        if PIXELS in differing:
            raise UserError(
                f"{self.path}: an unfinished fit of this name was begun by a version of nightread that makes other"
                " pixels; finish it with that version, delete the file to start over, or choose another --name"
            )
        if differing:
            raise UserError(
                f"{self.path}: an unfinished fit of this name differs in {', '.join(differing)};"
                " give the same flags to resume it, delete the file to start over, or choose another --name"
            )
        return checkpoint

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the file atomically.

        Raises:
            UserError: the file cannot be written.
        """
        about = json.dumps({"purpose": self.inputs, "history": checkpoint.history})
        arrays: dict[str, Any] = _by_number("v", checkpoint.variables) | _by_number("b", checkpoint.best)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomically(self.path, durable=True) as file:
                np.savez(file, allow_pickle=False, about=np.array(about), **arrays)
        except OSError as error:
            raise UserError(f"{self.path}: the checkpoint cannot be written ({error.strerror})") from error

    def remove(self) -> None:
        """Delete the file after the fit. One that cannot be deleted is no reason to lose what follows."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _by_number(letter: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{letter}{number}": array for number, array in enumerate(arrays)}


def _numbered_arrays(arrays: Any, letter: str) -> list[NDArray[Any]]:
    count = sum(name.startswith(letter) and name[1:].isdigit() for name in arrays.files)
    return [arrays[f"{letter}{number}"] for number in range(count)]
