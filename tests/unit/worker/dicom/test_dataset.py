"""Whatever a file claims, parsing it takes bounded memory and says nothing of a patient."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from db.errors import PermanentError
from trainer.phantoms.dicom_file import SYNTAXES, dicom_file
from worker.dicom import dataset as dataset_module
from worker.dicom.dataset import SNIFFED_BYTES, is_dicom, parse_dicom, text_of
from worker.dicom.frames import read_frame

FILM = np.arange(24 * 20, dtype=np.uint16).reshape(24, 20)
#: An element of group 0009 of the type UN, and its length.
PRIVATE = b"\x09\0\x01\x10UN\0\0"


def reason(encoded, **options):
    with pytest.raises(PermanentError) as caught:
        parse_dicom(encoded, **options)
    return caught.value.reason


def before_group_10(encoded, element):
    """The file with an element before its patient's."""
    at = encoded.index(b"\x10\0\x20\0LO")
    return encoded[:at] + element + encoded[at:]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=str)
@pytest.mark.parametrize("stray", [b"", b" "], ids=["at once", "after a stray byte"])
def test_a_file_without_a_preamble_is_read(syntax, stray):
    """In either byte order, with types and without, and after the one byte that some programs write first."""
    encoded = stray + dicom_file(FILM, syntax=syntax, preamble=False)
    assert is_dicom(encoded[:SNIFFED_BYTES])
    assert (read_frame(parse_dicom(encoded)) == FILM).all()
    assert text_of(parse_dicom(io.BytesIO(encoded), tags=["PatientID"], with_pixels=False), "PatientID") == "1"


def test_a_deflated_file_whose_syntax_has_a_damaged_type_is_read_or_refused():
    """Found by fuzzing: the type of an element of the meta header may be any."""
    encoded = dicom_file(FILM, syntax=DeflatedExplicitVRLittleEndian)
    for kind in (b"DS", b"IS", b"AT", b"OB"):
        damaged = encoded.replace(b"\x02\0\x10\0UI", b"\x02\0\x10\0" + kind, 1)
        try:
            parse_dicom(damaged)
        except PermanentError as error:
            assert error.reason == "truncated"


def test_a_file_is_read_from_its_start_or_not_at_all():
    """A file that ends anywhere has a header, or is truncated; nothing else is raised."""
    for syntax in SYNTAXES[:4]:
        encoded = dicom_file(FILM, syntax=syntax)
        for length in range(0, len(encoded), 7):
            for options in ({}, {"tags": ["PatientID"], "with_pixels": False}):
                try:
                    parse_dicom(encoded[:length], **options)
                except PermanentError as error:
                    assert error.reason == "truncated"


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFE], ids=hex)
def test_an_element_may_claim_four_gigabytes(length, tmp_path):
    """No memory is taken for it, from memory or from a file, whether it is wanted or not."""
    encoded = before_group_10(dicom_file(FILM), PRIVATE + struct.pack("<L", length))
    (tmp_path / "film").write_bytes(encoded)
    tracemalloc.start()
    parse_dicom(encoded)
    with (tmp_path / "film").open("rb") as file:
        for tags in (None, ["PatientID"]):
            parse_dicom(file, tags=tags, with_pixels=False)
            file.seek(0)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_a_large_element_is_dropped():
    """A megabyte that no rendering needs is not read later by mistake."""
    encoded = before_group_10(dicom_file(FILM), PRIVATE + struct.pack("<L", 1 << 21) + bytes(1 << 21))
    dataset = parse_dicom(encoded)
    assert (0x0009, 0x1001) not in dataset
    assert (read_frame(dataset) == FILM).all()


def test_a_header_of_a_million_elements_is_refused():
    """Each takes 8 bytes in the file, hundreds in memory, and microseconds."""
    items = b"".join(struct.pack("<HHL", 9, number, 0) for number in range(0x8000))
    sequence = b"\x08\0\x15\x11" + b"\xff" * 4 + (b"\xfe\xff\0\xe0" + struct.pack("<L", len(items)) + items) * 30
    sequence += b"\xfe\xff\xdd\xe0" + bytes(4)
    assert reason(sequence + dicom_file(FILM, syntax=ImplicitVRLittleEndian, preamble=False)) == "truncated"


def test_a_deflated_bomb_is_not_inflated(monkeypatch):
    """A megabyte of it would be a gigabyte; its header is read nevertheless."""
    monkeypatch.setattr(dataset_module, "_MAX_INFLATED_BYTES", 1 << 20)
    encoded = dicom_file(FILM, syntax=DeflatedExplicitVRLittleEndian)
    at = len(encoded) - len(deflated_part(encoded))
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = zlib.decompress(encoded[at:], -zlib.MAX_WBITS) + bytes(64 << 20)
    bomb = encoded[:at] + deflate.compress(body) + deflate.flush()
    del body
    tracemalloc.start()
    assert reason(bomb) == "too_large"
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    assert text_of(parse_dicom(bomb, tags=["PatientID"], with_pixels=False), "PatientID") == "1"
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


def test_what_only_pydicom_takes_for_deflated_is_refused():
    """Its transfer syntax stands behind more than a meta header holds, and pydicom would inflate without a limit."""
    encoded = dicom_file(FILM, syntax=DeflatedExplicitVRLittleEndian)
    at = encoded.index(b"\x02\0\x10\0UI")
    private = b"\x02\0\x01\0OB\0\0" + struct.pack("<L", 4096) + bytes(4096)
    assert reason(encoded[:at] + private + encoded[at:]) == "truncated"


def deflated_part(encoded):
    for start in range(132, len(encoded)):
        try:
            if zlib.decompress(encoded[start:], -zlib.MAX_WBITS)[:2] == b"\x08\0":
                return encoded[start:]
        except zlib.error:
            continue
    raise AssertionError


def test_a_deflated_file_keeps_its_transfer_syntax():
    """It is what is registered."""
    dataset = parse_dicom(dicom_file(FILM, syntax=DeflatedExplicitVRLittleEndian))
    assert dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian


def test_sequences_may_be_nested_without_end():
    """The file is damaged, or its header is read; no crash."""
    for depth in (10, 300, 20_000):
        nested = (b"\x08\0\x15\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4) * depth
        try:
            parse_dicom(before_group_10(dicom_file(FILM), nested))
        except PermanentError as error:
            assert error.reason == "truncated"


def test_pydicom_says_nothing_of_a_patient():
    """It would log and warn of a damaged value, and quote it."""
    program = """
import io, logging, sys, warnings
import pydicom
warnings.simplefilter("always")
logging.basicConfig(level=0)
from worker.dicom.dataset import numbers_of, parse_dicom, text_of
content = sys.stdin.buffer.read()
for end in (len(content), len(content) - 700, len(content) - 5, 300):
    try:
        dataset = parse_dicom(content[:end])
        for element in list(dataset.keys()):
            keyword = pydicom.datadict.keyword_for_tag(element)
            text_of(dataset, keyword), numbers_of(dataset, keyword)
    except Exception as error:
        print(type(error).__name__, error)
"""
    values = {"PatientAge": "Doe^Jane", "PatientName": "Doe^Jane", "PatientBirthDate": "Doe^Jane"}
    with pytest.warns(UserWarning):
        encoded = dicom_file(FILM, SpecificCharacterSet="Doe^Jane", WindowCenter="1", **values)
    encoded = encoded.replace(b"DS\x02\x001 ", b"DS\x02\x00J ")
    with pytest.warns(UserWarning):
        assert pydicom.dcmread(io.BytesIO(encoded)).PatientAge
    done = subprocess.run([sys.executable, "-c", program], input=encoded, capture_output=True, check=True)
    assert b"Jane" not in done.stdout + done.stderr
    assert done.stderr == b""
