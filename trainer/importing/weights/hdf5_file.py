"""Reads arrays of an HDF5 file that a stranger wrote: only what is in the file itself, and only what is asked for.

HDF5 has links to objects in other files, and arrays whose values are in other files. Neither is followed, or a file of
weights could make this machine read any other file of its own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from db.errors import UserError

#: Names of groups and at last of the dataset, such as ("conv1_conv", "conv1_conv", "kernel").
TensorPath: TypeAlias = tuple[str, ...]

#: What to do about weights that are wrong, as opposed to a file that is damaged.
REMEDY: Final = "save the network again, or choose another file"
#: A DenseNet264 nested in two models needs 9 levels and about 1,400 objects.
_MAX_DEPTH: Final = 16
_MAX_OBJECTS: Final = 20_000


@contextmanager
def open_hdf5(file: Path | BinaryIO, path: Path) -> Iterator[h5py.File]:
    """Open a file of the HDF5 format; `path` is for messages.

    Raises:
        UserError: the file cannot be read, or turns out to be damaged while it is open.
    """
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    # What h5py raises depends on which of HDF5's structures is damaged.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path}: cannot be read as HDF5 ({cause_of(error)}); check that it is a file of Keras, or get it again"
        ) from error


def list_tensors(group: Any, path: Path) -> dict[TensorPath, Any]:
    """The datasets in a group and in the groups in it, none of which is read yet.

    Raises:
        UserError: a link leads elsewhere, or values are in another file.
    """
    found: dict[TensorPath, Any] = {}
    for count, (names, dataset) in enumerate(_walk(group, (), path), start=1):
        if count > _MAX_OBJECTS:
            raise UserError(f"{path}: has over {_MAX_OBJECTS:,} objects, which no DenseNet has; choose another file")
        if dataset is not None:
            found[names] = dataset
    return found


def read_tensor(dataset: Any, shape: tuple[int, ...], name: str, path: Path) -> NDArray[np.float32]:
    """Read one dataset as float32, if it has this shape.

    Args:
        dataset: one of `list_tensors`.
        shape: checked before anything is read, because a small file can claim an array larger than the memory.
        name: for messages.
        path: for messages.

    Raises:
        UserError: the dataset has another shape, holds no floats, or has a value that is not finite.
    """
    if tuple(dataset.shape or ()) != shape:
        raise UserError(f"{path}: {name} has shape {_listed(dataset.shape)}, and {_listed(shape)} is needed; {REMEDY}")
    if dataset.dtype.kind != "f":
        raise UserError(f"{path}: {name} holds {dataset.dtype!s:.40} and no floating-point numbers; {REMEDY}")
    with np.errstate(over="ignore"):
        values = np.asarray(dataset[()]).astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{path}: {name} has a value that is NaN or infinite; {REMEDY}")
    return values


def cause_of(error: Exception) -> str:
    """The cause of a library's error for a message: the last line, because Keras prints a configuration before it."""
    # h5py's own text of an error of the system repeats the path.
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return printed((text.strip().splitlines() or [type(error).__name__])[-1])


def printed(names: TensorPath | str) -> str:
    """A name out of the file for a message, without control characters and not too long."""
    return ascii(names if isinstance(names, str) else "/".join(names))[1:-1][:120]


def _walk(group: Any, above: TensorPath, path: Path) -> Iterator[tuple[TensorPath, Any]]:
    if len(above) >= _MAX_DEPTH:
        raise UserError(f"{path}: has groups nested {_MAX_DEPTH} deep, which no DenseNet has; choose another file")
    for name in group:
        names = (*above, *name.split("/"))
        # Asked of the link itself: `group[name]` would follow it.
        if type(group.get(name, getlink=True)) is not h5py.HardLink:
            raise _foreign(names, path)
        item = group[name]
        if isinstance(item, h5py.Group):
            yield names, None
            yield from _walk(item, names, path)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise _foreign(names, path)
            yield names, item


def _foreign(names: TensorPath, path: Path) -> UserError:
    return UserError(
        f"{path}: {printed(names)} is a link, or its values are in another file, and nothing outside the file is read;"
        " save the network again with Keras"
    )


def _listed(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape or ())) or "()"
