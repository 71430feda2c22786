"""Reads a .safetensors file: tensors by name, in float32. Nothing in such a file is ever executed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from db.errors import UserError
from trainer.importing.weights.network_weights import Weights

#: The largest DenseNet here has 0.6 GB in float64, so a larger file holds something else.
MAX_BYTES: Final = 1 << 30
#: The first bytes of a pickle, and of PyTorch's zip of pickles.
_PICKLE_STARTS: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
#: A .safetensors file begins with its header's length in 8 bytes, which may look like a pickle's first two.
_MAX_HEADER: Final = 100_000_000
#: Endings of the names of files that PyTorch and Python write as pickles.
PICKLE_SUFFIXES: Final = frozenset({".pt", ".pth", ".tar", ".pkl", ".pickle", ".bin", ".ckpt"})
#: The types that become float32.
_FLOATS: Final = frozenset({"F16", "F32", "F64"})
_SNIFFED_BYTES: Final = 8


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


def refuse_pickle(path: Path) -> None:
    """Check that a file can be read, and is none of PyTorch's own: these are pickles, and to read one runs its code.

    Raises:
        UserError: its name or its first bytes say that it is a pickle; or it is missing, a folder, empty or cannot be
            read.
    """
    start = _first_bytes(path)
    suffix = path.suffix.lower()
    is_pickle = start.startswith(_PICKLE_STARTS) and int.from_bytes(start, "little") > _MAX_HEADER
    # A .keras file is a zip, too.
    if suffix in PICKLE_SUFFIXES or (is_pickle and suffix != ".keras"):
        raise UserError(
            f"{path}: is a pickle as PyTorch writes it, which can run code and is never read here; convert it where"
            " PyTorch is installed, as docs/import.md shows"
        )


def _first_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is not a file; give the file of the weights")
        with path.open("rb") as file:
            start = file.read(_SNIFFED_BYTES)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the file of the weights") from error
    if not start:
        raise UserError(f"{path}: is empty; download it again")
    return start


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
