"""Marks phantoms as synthetic: a folder by a file that a copy of the folder has too, a DICOM file by its header."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from worker.files import write_atomically

MARKER_FILE: Final = "SYNTHETIC.txt"
_CONTENT: Final = b"""These radiographs are synthetic: 'trainer phantoms' drew them, and they show no patient.
'trainer fit' looks for this file, and marks a model that was fitted on them. Keep it beside their CSV.
"""
#: What the header of every DICOM phantom says of itself. `SyntheticData` is of PS3.3 C.12.1.
SYNTHETIC_HEADER: Final[Mapping[str, Any]] = {
    "SyntheticData": "YES",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "SYNTHETIC, drawn by trainer phantoms, shows no patient",
}


def mark_synthetic(folder: Path) -> None:
    """Write the marker into a folder of phantoms.

    Raises:
        OSError: the folder cannot be written.
    """
    write_atomically(folder / MARKER_FILE, _CONTENT)


def is_marked(csv: Path, images: str | None) -> bool:
    """Whether a labels CSV or the folder of its images is part of a marked folder; None looks beside the CSV only."""
    folders = [csv.parent] if images is None else [csv.parent, Path(images), Path(images).parent]
    return any((folder / MARKER_FILE).is_file() for folder in folders)
