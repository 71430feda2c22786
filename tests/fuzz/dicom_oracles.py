"""The oracles of DICOM: a whole film is scored or refused with a documented reason; all else is a finding."""

import io
import resource

import numpy as np
from pydicom import dcmread

from db.errors import PermanentError
from db.ledger.outcomes import REASONS
from worker.dicom.admission import SENTENCES
from worker.dicom.dataset import SNIFFED_BYTES, is_dicom
from worker.dicom.header import read_header
from worker.images.pixels import COLOUR, prepare
from worker.images.preprocessing import Preprocessing

_RENDERINGS = ("display", "full_range", "equalized")
#: What docs/dicom.md lists.
NOTES = {*SENTENCES, COLOUR, "high_bits", "lut_length", "window_ignored", "value_range", "polarity", "view_unknown"}
#: A film of the largest size that the targets allow takes a few megabytes.
_MAX_GROWTH_MB = 64


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
    """Accept a header whose values SQL can store, or a documented reason."""
    if not is_dicom(encoded[:SNIFFED_BYTES]):
        return "no dicom"
    try:
        header = read_header(encoded)
    except PermanentError as error:
        assert error.reason in REASONS, f"an undocumented reason: {error.reason}"
        return error.reason
    for text in (header.sop_instance_uid, header.patient_id, header.view, header.manufacturer, header.transfer_syntax):
        assert text is None or (text.isprintable() and text.encode() and len(text) <= 64), f"stores {text!r}"
    assert header.sex in (None, "M", "F", "O")
    assert header.age_years is None or 0 <= header.age_years < 1000
    return "header"


def _scored(encoded, max_pixels):
    # Chosen by content, so that a finding can be reproduced.
    chosen = sum(encoded[-64:])
    rule = Preprocessing(rule=2, rendering=_RENDERINGS[chosen % 3], height=16, width=16)
    refused = frozenset(SENTENCES) if chosen % 8 == 0 else frozenset()
    prepared = prepare(encoded, rule, max_pixels, views=("PA", "AP"), refused=refused)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.pixels.shape == rule.shape
    if not is_dicom(encoded[:SNIFFED_BYTES]):
        return "no dicom"
    assert set(prepared.notes) <= NOTES, f"an undocumented note: {prepared.notes}"
    assert len(set(prepared.notes)) == len(prepared.notes), f"noted twice: {prepared.notes}"
    _check_is_complete(encoded)
    return "pixels"


def _check_is_complete(encoded):
    """Check that uncompressed pixels are all there, by pydicom's reading of the file."""
    dataset = dcmread(io.BytesIO(encoded), force=True)
    if dataset["PixelData"].is_undefined_length:
        return
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_encapsulated:
        claimed = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
        assert len(dataset.PixelData) >= claimed, "a score from truncated pixels"


def _memory_peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
