"""Reads a .safetensors file: tensors by name, in float32. Nothing in such a file is ever executed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from db.errors import UserError
from trainer.importing.weights.network_weights import Weights
from trainer.importing.weights.pickles import refuse_pickle

#: The largest DenseNet here has 0.6 GB in float64, so a larger file holds something else.
MAX_BYTES: Final = 1 << 30
#: The types that become float32.
_FLOATS: Final = frozenset({"F16", "F32", "F64"})


def read_tensors(path: Path, *, ignored: Callable[[str], bool]) -> Mapping[str, Weights]:
    """Read the tensors of a .safetensors file. They take at most twice the file's size.

    Args:
        path: the file.
        ignored: tells of a tensor's name whether the tensor is left out, whatever it holds.

    Returns:
        The other tensors by name: finite, float32.

    Raises:
        UserError: the file cannot be read, is damaged, too large, a pickle or another kind of file, or a tensor is of
            another type or not finite.
    """
    refuse_pickle(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError(
            f"{path}: has {size / 1e9:.1f} GB, more than any DenseNet that can be imported; choose a file of a DenseNet"
        )
    with _open(path) as file:
        return {name: _read_tensor(file, name, path) for name in file.offset_keys() if not ignored(name)}


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        # Read by `pread`: a file that shrinks meanwhile would kill a process that mapped it into memory.
        with safe_open(path, framework="numpy", backend="pread") as file:
            yield file
    except SafetensorError as error:
        cause = str(error).removeprefix("Error while deserializing header: ")
        raise UserError(
            f"{path}: is damaged, or not a .safetensors file ({cause:.200}); download or convert it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); download it again") from error


def _read_tensor(file: Any, name: str, path: Path) -> Weights:
    kind = file.get_slice(name).get_dtype()
    if kind not in _FLOATS:
        raise UserError(
            f"{path}: tensor {name!r:.120} has the type {kind}, and weights here are F16, F32 or F64;"
            " convert it to float32 where the file was made"
        )
    with np.errstate(over="ignore"):
        tensor: Weights = np.asarray(file.get_tensor(name), np.float32)
    if not np.isfinite(tensor).all():
        raise UserError(
            f"{path}: tensor {name!r:.120} has values that are infinite or not numbers in float32; choose other weights"
        )
    return tensor
