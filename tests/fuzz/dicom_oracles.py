"""The oracles of DICOM: a whole film is scored or refused with a documented reason; all else is a finding."""

import io
import resource

import numpy as np
from pydicom import dcmread
from pydicom.uid import UID

from db.errors import PermanentError
from db.ledger.outcomes import REASONS
from tests.fuzz.dicom_seeds import films
from worker.dicom.admission import REFUSED, SENTENCES, VIEW_UNKNOWN
from worker.dicom.dataset import SNIFFED_BYTES, is_dicom, text_of
from worker.dicom.header import NoImage, read_header
from worker.dicom.lookup_tables import LUT_LENGTH, VALUE_RANGE
from worker.dicom.rendering import POLARITY, WINDOW_IGNORED
from worker.dicom.stored_values import HIGH_BITS
from worker.images.pixels import prepare
from worker.images.preprocessing import Preprocessing

_RENDERINGS = ("display", "full_range", "equalized")
#: What docs/dicom.md lists.
NOTES = {*SENTENCES, HIGH_BITS, LUT_LENGTH, POLARITY, VALUE_RANGE, VIEW_UNKNOWN, WINDOW_IGNORED}
#: A film of the largest size that the targets allow takes a few megabytes.
_MAX_GROWTH_MB = 64
_UNDEFINED_LENGTH = 0xFFFFFFFF

# Decoders are loaded for the first film that needs them. Their time and memory are not that film's.
for film in films():
    prepare(film, Preprocessing(rule=2), refused=frozenset())


def check_film(encoded, max_pixels):
    """Accept a score of complete pixels, or a documented reason; and no more memory than its size needs."""
    started_at = _memory_peak_mb()
    try:
        return _scored(encoded, max_pixels)
    except PermanentError as error:
        assert error.reason in REASONS, f"an undocumented reason: {error.reason}"
        assert str(error).isprintable()
        return error.reason
    finally:
        assert _memory_peak_mb() - started_at < _MAX_GROWTH_MB, "took too much memory"


def check_header(encoded, _max_pixels=0):
    """Accept a header whose values SQL can store, what the file is instead of an image, or a documented reason."""
    if not is_dicom(encoded[:SNIFFED_BYTES]):
        return "no dicom"
    try:
        header = read_header(encoded)
    except PermanentError as error:
        assert error.reason in REASONS, f"an undocumented reason: {error.reason}"
        return error.reason
    if isinstance(header, NoImage):
        return str(header)
    for text in (header.sop_instance_uid, header.patient_id, header.view, header.manufacturer, header.transfer_syntax):
        assert text is None or (text.isprintable() and text.encode() and len(text) <= 64), f"stores {text!r}"
    assert header.sex in (None, "M", "F", "O")
    assert header.age_years is None or 0 <= header.age_years < 1000
    return "header"


def _scored(encoded, max_pixels):
    # Chosen by content, so that a finding can be reproduced.
    chosen = sum(encoded[-64:])
    rule = Preprocessing(rule=2, rendering=_RENDERINGS[chosen % 3], height=16, width=16)
    prepared = prepare(encoded, rule, max_pixels, REFUSED if chosen % 8 == 0 else frozenset())
    assert prepared.pixels.dtype == np.uint8
    assert prepared.pixels.shape == rule.shape
    if not is_dicom(encoded[:SNIFFED_BYTES]):
        return "no dicom"
    assert set(prepared.notes) <= NOTES, f"an undocumented note: {prepared.notes}"
    assert len(set(prepared.notes)) == len(prepared.notes), f"noted twice: {prepared.notes}"
    is_listed = check_header(encoded) == "header"
    assert is_listed or "sop_class" in prepared.notes, "a film that the list of a folder would leave out"
    _check_is_complete(encoded)
    return "pixels"


def _check_is_complete(encoded):
    """Check that uncompressed pixels are all there, by pydicom's reading of the file."""
    dataset = dcmread(io.BytesIO(encoded), force=True)
    pixels = dataset.get_item("PixelData")
    if pixels is None:
        # pydicom cannot read it where it begins with a stray byte.
        return
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if pixels.length != _UNDEFINED_LENGTH and not (syntax.is_transfer_syntax and syntax.is_encapsulated):
        claimed = np.prod([int(float(text_of(dataset, key))) for key in ("Rows", "Columns", "BitsAllocated")]) // 8
        assert len(pixels.value) >= claimed, "a score from truncated pixels"


def _memory_peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
