"""A film's stored values are read exactly, whatever its encoding, or not at all."""

import io
import struct

import numpy as np
import pydicom
import pytest
from imagecodecs import jpeg2k_encode
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from db.errors import PermanentError
from trainer.phantoms import dicom_file as writer
from trainer.phantoms.dicom_file import LOSSLESS_SYNTAXES, SYNTAXES, dicom_file
from worker.dicom.dataset import parse_dicom
from worker.dicom.frames import frame_size, read_frame

DEPTHS = [(8, "u1"), (8, "i1"), (10, "u2"), (12, "u2"), (12, "i2"), (14, "u2"), (15, "u2"), (16, "u2"), (16, "i2")]
#: The greatest error in gray levels of 4096.
LOSSY = {JPEGExtended12Bit: 12, JPEGLSNearLossless: 2, JPEG2000: 8, HTJ2K: 16}
COMPRESSED = [syntax for syntax in SYNTAXES if syntax.is_encapsulated]


def film(bits=12, kind="u2", shape=(37, 51)):
    """A smooth image with noise over the whole range of its bits."""
    rng = np.random.default_rng(bits)
    down, across = np.mgrid[: shape[0], : shape[1]]
    wave = (np.sin(across / 9) * np.cos(down / 7) + 1) / 2 * (2**bits - 1) + rng.normal(0, 2, shape)
    lowest = 2 ** (bits - 1) if kind[0] == "i" else 0
    return (wave.clip(0, 2**bits - 1) - lowest).astype(kind)


FILM = film()


def read(encoded):
    return read_frame(parse_dicom(encoded))


def refusal(encoded):
    with pytest.raises(PermanentError) as caught:
        dataset = parse_dicom(encoded)
        frame_size(dataset)
        read_frame(dataset)
    return caught.value.reason, str(caught.value)


def stored_bits(values, bits):
    """The values as the bits say them, with the sign that the highest of them is."""
    shift = values.itemsize * 8 - bits
    return (values << shift) >> shift


def frame_of(encoded):
    pixels = pydicom.dcmread(io.BytesIO(encoded)).PixelData
    return next(pydicom.encaps.generate_frames(pixels, number_of_frames=1))


def with_frame(frame, encoded):
    """A film whose compressed frame is another one."""
    dataset = pydicom.dcmread(io.BytesIO(encoded))
    dataset.PixelData = encapsulate([frame])
    return saved(dataset)


def saved(dataset):
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: syntax.name)
def test_lossless_encodings_give_what_was_stored(syntax):
    """At every depth, signed and unsigned, with a meta header and without."""
    for bits, kind in DEPTHS:
        values = film(bits, kind)
        for preamble in (True, False):
            encoded = dicom_file(values, syntax=syntax, preamble=preamble, BitsStored=bits)
            assert frame_size(parse_dicom(encoded)) == (51, 37)
            stored = read(encoded)
            assert stored.dtype == values.dtype
            assert (stored_bits(stored, bits) == values).all(), (bits, kind, preamble)


@pytest.mark.parametrize("syntax", LOSSY, ids=lambda syntax: syntax.name)
def test_lossy_encodings_are_close(syntax):
    """Every gray level is near what was stored."""
    stored = read(dicom_file(FILM, syntax=syntax, BitsStored=12))
    assert 0 < np.abs(stored.astype(int) - FILM).max() <= LOSSY[syntax]


def test_a_baseline_jpeg_is_close():
    """It has 8 bits."""
    assert np.abs(read(dicom_file(film(8, "u1"), syntax=JPEGBaseline8Bit)).astype(int) - film(8, "u1")).max() < 8


@pytest.mark.parametrize("syntax", [*SYNTAXES[:4], RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=str)
def test_pydicom_reads_the_same(syntax):
    """With its own decoders and its plugins."""
    for bits, kind in DEPTHS[2:]:
        encoded = dicom_file(film(bits, kind), syntax=syntax, BitsStored=bits)
        judged = pydicom.dcmread(io.BytesIO(encoded)).pixel_array
        assert (stored_bits(read(encoded), bits) == stored_bits(judged, bits)).all()


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_fragments_are_joined(syntax):
    """However many there are, with the table of offsets, an empty one, an extended one, and none."""
    values = film(8, "u1")
    whole = dicom_file(values, syntax=syntax)
    expected = read(whole)
    for fragments, table in ((1, False), (3, True), (9, False)):
        assert (read(dicom_file(values, syntax=syntax, fragments=fragments, offset_table=table)) == expected).all()
    dataset = pydicom.dcmread(io.BytesIO(whole))
    frame = frame_of(whole)
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended([frame])
    assert (read(saved(dataset)) == expected).all()
    if syntax != RLELossless:
        # Some programs write no table at all.
        dataset.PixelData = encapsulate([frame], has_bot=False)[8:]
        assert (read(saved(dataset)) == expected).all()


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_half_a_frame_is_no_film(syntax):
    """Wherever the file ends, and wherever bytes are missing though the last ones are there."""
    bits = 8 if syntax == JPEGBaseline8Bit else 12
    values = film(bits, "u1" if bits == 8 else "u2")
    encoded = dicom_file(values, syntax=syntax, BitsStored=bits)
    for length in range(40, len(encoded) - 8, 29):
        assert refusal(encoded[:length])[0] in ("truncated", "not_image")
    frame = frame_of(encoded)
    if syntax != RLELossless:
        # Without it CharLS can take seconds for a small frame.
        assert "its end is missing" in refusal(with_frame(frame.rstrip(b"\0")[:-2], encoded))[1]
    for start in range(len(frame) // 3, len(frame) - 40, len(frame) // 11):
        assert refusal(with_frame(frame[:start] + frame[-2:], encoded))[0] == "truncated"
        # The codes of a sequential JPEG may fit together after a cut.
        if syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit):
            assert refusal(with_frame(frame[:start] + frame[start + 31 :], encoded))[0] == "truncated"


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_the_frame_must_say_what_the_header_says(syntax):
    """Else it is of another film, or one of both is damaged."""
    values = film(8, "u1")
    # Run lengths do not say where a row ends.
    for rows, columns in ((36, 51), (37, 52), (60000, 60000), *([(51, 37)] if syntax != RLELossless else [])):
        assert refusal(dicom_file(values, syntax=syntax, Rows=rows, Columns=columns))[0] == "truncated"


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGExtended12Bit, JPEGLSLossless, JPEG2000Lossless], ids=str)
def test_nothing_is_allocated_for_what_a_codestream_claims(syntax):
    """Its header is read before it is decoded."""
    encoded = dicom_file(FILM, syntax=syntax, BitsStored=12)
    kind, order = (">L", (51, 37)) if syntax == JPEG2000Lossless else (">H", (37, 51))
    size = b"".join(struct.pack(kind, side) for side in order)
    claimed = frame_of(encoded).replace(size, struct.pack(kind, 60000) * 2, 1)
    assert "60000 x 60000 pixels and the header 51 x 37" in refusal(with_frame(claimed, encoded))[1]


@pytest.mark.parametrize("syntax", SYNTAXES[:4], ids=lambda syntax: syntax.name)
def test_an_uncompressed_film_has_all_its_pixels(syntax):
    """Missing ones are not filled in; padding is left out, but further pixels mean that the size is wrong."""
    for rows in (36, 18, 38):
        assert refusal(dicom_file(FILM, syntax=syntax, Rows=rows))[0] == "truncated"
    padded = pydicom.dcmread(io.BytesIO(dicom_file(FILM, syntax=syntax)))
    for padding in (b"\1" * 100, b"\0" * 4096):
        padded.PixelData = FILM.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes() + padding
        assert (read(saved(padded)) == FILM).all()


def test_a_large_film_is_not_copied():
    """The values are those of the file."""
    values = np.arange(1024 * 1024, dtype=np.uint16).reshape(1024, 1024)
    stored = read(dicom_file(values))
    assert not stored.flags.owndata and not stored.flags.writeable
    assert (stored == values).all()


def test_bytes_in_words_of_big_endian_are_swapped():
    """8-bit pixels that are stored as OW, of an odd number."""
    values = film(8, "u1", (3, 5))
    dataset = pydicom.dcmread(io.BytesIO(dicom_file(values, syntax=ExplicitVRBigEndian)))
    dataset["PixelData"].VR = "OW"
    dataset.PixelData = np.frombuffer(values.tobytes() + b"\0", "<u2").astype(">u2").tobytes()
    assert (read(saved(dataset)) == values).all()


def test_high_bits_are_moved_down():
    """Before 1993 the 12 bits could be the upper ones of 16."""
    for kind in ("u2", "i2"):
        values = film(12, kind)
        assert (read(dicom_file(values << 4, BitsStored=12, HighBit=15)) == values).all()
    assert refusal(dicom_file(FILM, BitsStored=12, HighBit=15))[0] == "unsupported"
    assert refusal(dicom_file(FILM, syntax=JPEGLosslessSV1, BitsStored=12, HighBit=15))[0] == "unsupported"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "in colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette"),
        ({"PhotometricInterpretation": "YBR_FULL"}, "neither MONOCHROME1 nor MONOCHROME2"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 bits"),
        ({"BitsAllocated": 1, "BitsStored": 1}, "1 bits"),
    ],
    ids=str,
)
def test_what_no_chest_film_has_is_refused_by_its_header(header, words):
    """Each kind with a sentence of its own, before a pixel is decoded."""
    with pytest.raises(PermanentError, match=words) as caught:
        frame_size(parse_dicom(dicom_file(FILM, **header)))
    assert caught.value.reason == "unsupported"


def test_an_unknown_encoding_is_named():
    """By its name in the standard, or by its UID; whatever else stands there is not repeated."""
    encoded = dicom_file(FILM)
    uid = ExplicitVRLittleEndian.encode() + b"\0"
    for other, words in ((MPEG2MPML, MPEG2MPML.name), ("1.2.3.4", "1.2.3.4"), ("Doe^Jane", "an unknown UID")):
        assert len(other) <= 24
        reason, sentence = refusal(replaced_uid(encoded, uid, other))
        assert reason == "unsupported"
        assert words in sentence
        assert "Jane" not in sentence


def replaced_uid(encoded, uid, other):
    value = other.encode() + b"\0" * (len(other) % 2)
    at = encoded.index(b"\x02\0\x10\0UI")
    return encoded[:at] + b"\x02\0\x10\0UI" + struct.pack("<H", len(value)) + value + encoded[at + 8 + len(uid) :]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=str
)
def test_what_holds_no_pixels_is_named(syntax):
    """A report beside the films is no damaged film."""
    dataset = pydicom.dcmread(io.BytesIO(dicom_file(FILM, syntax=syntax)))
    del dataset.PixelData
    assert refusal(saved(dataset))[0] == "truncated"
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        del dataset[keyword]
    dataset.SOPClassUID = pydicom.uid.BasicTextSRStorage
    reason, sentence = refusal(saved(dataset))
    assert reason == "not_image"
    assert "Basic Text SR" in sentence
    dataset.FloatPixelData = b"\0" * 4
    assert refusal(saved(dataset))[0] == "unsupported"


def test_bits_that_contradict_each_other_are_damage():
    """As are bits that the frame has and the header does not."""
    for header in ({"BitsStored": 17}, {"HighBit": 3, "BitsStored": 12}, {"Rows": 0}, {"BitsStored": 0}):
        assert refusal(dicom_file(FILM, **header))[0] == "truncated"
    coded = dicom_file(FILM, syntax=JPEGLossless, BitsStored=12)
    assert (read(with_frame(writer.encode_lossless_jpeg(FILM, 14), coded)) == FILM).all()
    assert refusal(with_frame(writer.encode_lossless_jpeg(FILM >> 2, 10), coded))[0] == "truncated"
    assert refusal(with_frame(frame_of(coded), dicom_file(film(8, "u1"), syntax=JPEGBaseline8Bit)))[0] == "truncated"


@pytest.mark.parametrize("vr", [b"SQ", b"UN"])
def test_pixel_data_that_claims_to_be_a_sequence_is_damage(vr):
    """pydicom reads its items as elements of their own, so there are no bytes to decode."""
    encoded = dicom_file(FILM[:2, :4], syntax=RLELossless)
    pixels = encoded.index(b"\xe0\x7f\x10\0OB")
    item = b"\xfe\xff\0\xe0" + struct.pack("<L", 10) + b"\x28\0\x10\0US\2\0\2\0"
    damaged = encoded[:pixels] + b"\xe0\x7f\x10\0" + vr + b"\0\0" + b"\xff" * 4 + item
    reason, sentence = refusal(damaged + b"\xfe\xff\xdd\xe0" + bytes(4))
    assert reason == "truncated"
    assert "sequence" in sentence


def test_the_codestream_decides_and_not_its_transfer_syntax():
    """Programs copy frames under the wrong one."""
    coded = dicom_file(FILM, syntax=JPEGLossless, BitsStored=12)
    for frame in (writer.encode_jpeg_ls(FILM, 12), writer.encode_jpeg_2000(FILM, 12)):
        assert (read(with_frame(frame, coded)) == FILM).all()


def test_a_jp2_file_within_a_film_is_read():
    """The standard forbids its boxes, and programs write them."""
    boxed = bytes(jpeg2k_encode(FILM, codecformat="JP2", reversible=True, bitspersample=12))
    assert (read(with_frame(boxed, dicom_file(FILM, syntax=JPEG2000Lossless, BitsStored=12))) == FILM).all()
