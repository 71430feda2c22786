"""What becomes of every file that pydicom ships for its own tests, and of the real ones beside the clone."""

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pydicom
import pytest

from db.errors import PermanentError
from tests.fuzz.seeds import DATA
from worker.dicom.admission import REFUSED
from worker.dicom.dataset import SNIFFED_BYTES, is_dicom, parse_dicom
from worker.dicom.frames import frame_size, read_frame
from worker.images.pixels import prepare
from worker.images.preprocessing import Preprocessing

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
#: By outcome where every code is admitted; patterns of names. None of them is a chest film that is scored unasked.
OUTCOMES = {
    # CT, MR and Secondary Capture in every syntax, and three CR films of other body parts.
    "pixels": (
        *("693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG-lossy.dcm", "JPEG2000.dcm"),
        *("JPEGLSNearLossless_*.dcm", "JPGExtended.dcm", "MR_small*.dcm", "examples_overlay.dcm", "image_dfl.dcm"),
        *("dicomdirtests/77654033/*", "dicomdirtests/98892001/*", "dicomdirtests/98892003/*", "no_meta.dcm"),
    ),
    # Colour, a palette, several frames, 1 and 32 bits.
    "unsupported": (
        *("ExplVR_BigEnd.dcm", "GDCMJ2K_TextGBR.dcm", "SC_*.dcm", "examples_jpeg2k.dcm", "examples_palette.dcm"),
        *("examples_rgb_color.dcm", "examples_ybr_color.dcm", "badVR.dcm", "liver_*.dcm", "rtdose*.dcm"),
    ),
    # They name an image and have no pixels, or too few, or a frame of another size.
    "truncated": (
        *("MR_truncated.dcm", "JPEG2000-embedded-sequence-delimiter.dcm", "UN_sequence.dcm", "priv_SQ.dcm"),
        *("dicomdirtests/TINY_ALPHA/PT*", "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm", "no_meta_group_length.dcm"),
    ),
    # Lists of files, reports, plans, a waveform.
    "not_image": (
        *("*DICOMDIR*", "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "empty_charset_LEI.dcm", "reportsi*.dcm"),
        *("rtplan*.dcm", "rtstruct.dcm", "test-SR.dcm", "waveform_ecg.dcm"),
    ),
    "no dicom": ("*README*", "*.icc", "*.dump", "*.json", "*.gz"),
}
#: The real files that are scored unasked, and their notes; the others are of other body parts or kinds.
REAL_SCORED = {"RG1_J2KI_mono1_15bit.dcm": ()}


def outcome(path, refused=frozenset()):
    encoded = path.read_bytes()
    if not is_dicom(encoded[:SNIFFED_BYTES]):
        return "no dicom", ()
    try:
        return "pixels", prepare(encoded, Preprocessing(rule=2), refused=refused).notes
    except PermanentError as error:
        return error.reason, ()


def check_stored_values(path):
    """Compare the stored bits with pydicom's, if it has a decoder; both read the sign from the highest of them."""
    judge = pydicom.dcmread(path, force=True)
    try:
        theirs = judge.pixel_array
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    dataset = parse_dicom(path.read_bytes())
    frame_size(dataset)
    differing = (read_frame(dataset).astype(np.int64) ^ theirs) & ((1 << judge.BitsStored) - 1)
    assert not differing.any(), path.name
    return True


def shipped_files():
    return [path for path in sorted(SHIPPED.rglob("*")) if path.is_file()]


def test_every_file_that_pydicom_ships_becomes_what_the_table_says():
    """Each file matches patterns of one outcome, and has it."""
    for path in shipped_files():
        name = str(path.relative_to(SHIPPED))
        expected = {what for what, patterns in OUTCOMES.items() if any(fnmatchcase(name, each) for each in patterns)}
        assert {outcome(path)[0]} == expected, name


def test_no_file_that_pydicom_ships_is_scored_unasked():
    """Not one of them is a chest film."""
    assert all(outcome(path, REFUSED)[0] != "pixels" for path in shipped_files())


def test_the_stored_values_are_those_of_pydicom():
    """Of every file that both decode."""
    compared = [check_stored_values(path) for path in shipped_files() if outcome(path)[0] == "pixels"]
    assert compared.count(True) >= 45


def test_the_real_files_become_what_is_known_of_them():
    """A chest film is scored; files of other kinds and body parts have their reasons, and pydicom's stored values."""
    paths = sorted((DATA / "dicom").glob("*.dcm"))
    if not paths:
        pytest.skip("the real DICOM files are not there")
    found = {path.name: outcome(path, REFUSED) for path in paths}
    assert {name: notes for name, (what, notes) in found.items() if what == "pixels"} == REAL_SCORED
    assert [check_stored_values(path) for path in paths if outcome(path)[0] == "pixels"].count(True) >= 4
