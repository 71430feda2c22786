"""Recognises pickles, which are never read: to read one runs the code in it. Needs neither Keras nor safetensors."""

from pathlib import Path
from typing import Final

from db.errors import UserError

#: The first bytes of a pickle, and of PyTorch's zip of pickles.
_PICKLE_STARTS: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
#: A .safetensors file begins with its header's length in 8 bytes, which may look like a pickle's first two.
_MAX_HEADER: Final = 100_000_000
#: Endings of the names of files that PyTorch and Python write as pickles.
_PICKLE_SUFFIXES: Final = frozenset({".pt", ".pth", ".tar", ".pkl", ".pickle", ".bin", ".ckpt"})
_SNIFFED_BYTES: Final = 8


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
    if suffix in _PICKLE_SUFFIXES or (is_pickle and suffix != ".keras"):
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
