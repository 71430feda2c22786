"""Imports Keras with its own defaults, on the backend that `KERAS_BACKEND` names. Import it only from here.

By default Keras reads `keras.json` in `KERAS_HOME` or `~/.keras` when it is imported, or writes it. Another program's
settings in that file change how a model computes, and a damaged or unreadable file ends the import with a traceback.
"""

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar, cast

from db.errors import UserError

_BACKENDS: Final = ("tensorflow", "jax")
_Value = TypeVar("_Value")


@contextmanager
def _replaced(mapping: MutableMapping[str, _Value], key: str, value: _Value) -> Iterator[None]:
    former = {key: mapping[key]} if key in mapping else {}
    mapping[key] = value
    try:
        yield
    finally:
        del mapping[key]
        mapping.update(former)


_backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
if _backend not in _BACKENDS:
    raise UserError(f"KERAS_BACKEND is {_backend!r}; set it to {' or '.join(_BACKENDS)}, or unset it")

# TensorFlow reads this when it is imported, and prints a page of logs without it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with (
    # Below a device there is no file to read, and none can be written.
    _replaced(os.environ, "KERAS_HOME", f"{os.devnull}/keras"),
    # Keras imports it where it is installed, and then it writes to the home folder. Keras works without it.
    _replaced(sys.modules, "matplotlib", cast("ModuleType", None)),
):
    import keras  # noqa: TID251 -- the one place that may import it

__all__ = ["keras", "set_download_folder"]


def set_download_folder() -> None:
    """Let Keras download weights to, and find them in, the folder that it would use by itself."""
    # Where this folder cannot be made, or a user has no home, Keras uses one in /tmp.
    with suppress(OSError, RuntimeError):
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        keras.src.backend.config._KERAS_DIR = str(folder)  # noqa: SLF001 -- Keras has no public way
