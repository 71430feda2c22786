"""A lossless JPEG is decoded as libjpeg decodes it, but only if its codes give every pixel and then end."""

import struct

import numpy as np
import pytest
from imagecodecs import jpeg8_decode, jpeg8_encode

from trainer.phantoms.dicom_file import encode_jpeg, encode_lossless_jpeg
from worker.dicom.jpeg_stream import check_blocks, decode_lossless_jpeg, read_jpeg_header

RNG = np.random.default_rng(0)
DAMAGE = (ValueError, LookupError, struct.error)


def noise(bits, shape=(29, 43)):
    return RNG.integers(0, 1 << bits, shape).astype(np.uint16)


def decode(stream):
    stream = memoryview(stream)
    return decode_lossless_jpeg(stream, read_jpeg_header(stream))


def check(stream):
    stream = memoryview(stream)
    check_blocks(stream, read_jpeg_header(stream))


def with_restarts(values, rows, bits=12):
    """A lossless JPEG with a restart marker after so many rows, which libjpeg writes only with other rows."""
    flat = np.vstack([values, values])
    tables = bytes(jpeg8_encode(flat, lossless=True, predictor=1, bitspersample=bits))
    header = read_jpeg_header(memoryview(tables))
    codes = []
    for number, top in enumerate(range(0, len(values), rows)):
        codes += [encoded_row_block(values[top : top + rows], header, bits), bytes([0xFF, 0xD0 + number % 8])]
    start = tables[: header.start].replace(struct.pack(">HH", *flat.shape), struct.pack(">HH", *values.shape))
    interval = b"\xff\xdd\0\x04" + struct.pack(">H", rows * values.shape[1])
    at = start.index(b"\xff\xda")
    return start[:at] + interval + start[at:] + b"".join(codes[:-1]) + b"\xff\xd9"


def encoded_row_block(values, header, bits):
    """Codes of rows by predictor 1, written bit by bit."""
    counts, symbols = header.tables[0, header.table_numbers[0]]
    codes, code, used = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[used : used + count]:
            codes[symbol] = f"{code:0{length}b}"
            code += 1
        used += count
        code <<= 1
    written = ""
    for row in range(len(values)):
        left = 1 << (bits - 1) if row == 0 else int(values[row - 1, 0])
        for value in map(int, values[row]):
            difference, left = value - left, value
            size = abs(difference).bit_length()
            extra = difference if difference > 0 else difference + (1 << size) - 1
            written += codes[size] + (f"{extra:0{size}b}" if size else "")
    written += "1" * (-len(written) % 8)
    return int(written, 2).to_bytes(len(written) // 8, "big").replace(b"\xff", b"\xff\0")


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_gives_what_libjpeg_gives(predictor):
    """Of noise, which uses every code, at every depth."""
    for bits in (8, 10, 12, 15, 16):
        values = noise(bits)
        encoded = encode_lossless_jpeg(values, bits, predictor=predictor)
        assert (decode(encoded) == values).all()
        assert (jpeg8_decode(encoded) == values).all()
    for shape in ((1, 1), (1, 40), (40, 1)):
        values = noise(12, shape)
        assert (decode(encode_lossless_jpeg(values, 12, predictor=predictor)) == values).all()


@pytest.mark.parametrize("rows", [1, 4, 28])
def test_restart_markers_begin_a_new_prediction(rows):
    """After each the codes start at a whole byte."""
    values = noise(12)
    encoded = with_restarts(values, rows)
    assert (jpeg8_decode(encoded) == values).all()
    assert (decode(encoded) == values).all()


def test_restart_markers_must_be_in_order():
    """A missing one means that rows are missing."""
    values = noise(12)
    encoded = with_restarts(values, 4)
    first, second = (encoded.index(bytes([0xFF, marker])) for marker in (0xD1, 0xD2))
    with pytest.raises(DAMAGE):
        decode(encoded[:first] + encoded[second:])
    with pytest.raises(DAMAGE):
        decode(encoded.replace(b"\xff\xd3", b"\xff\xd4"))


def test_codes_must_give_every_pixel_and_then_end():
    """Neither fewer pixels, nor further codes, nor values beyond the depth."""
    values = noise(12)
    encoded = encode_lossless_jpeg(values, 12)
    start = read_jpeg_header(memoryview(encoded)).start
    for length in range(start, len(encoded) - 2):
        with pytest.raises(DAMAGE):
            decode(encoded[:length] + b"\xff\xd9")
    with pytest.raises(DAMAGE):
        decode(encoded[:-2] + b"\0\0\xff\xd9")
    with pytest.raises(DAMAGE):
        decode(encoded.replace(b"\xff\xc3\0\x0b\x0c", b"\xff\xc3\0\x0b\x0a"))


def test_blocks_must_all_be_there():
    """Of a sequential JPEG, with and without zeros before its end marker."""
    smooth = (np.add.outer(np.arange(61), np.arange(50)) * 20 + noise(6, (61, 50))).astype(np.uint16)
    encoded = encode_jpeg(smooth, 12)
    check(encoded)
    start = read_jpeg_header(memoryview(encoded)).start
    for length in range(start, len(encoded) - 3):
        with pytest.raises(DAMAGE):
            check(encoded[:length] + b"\xff\xd9")
    with pytest.raises(DAMAGE):
        check(encoded[:-2] + encoded[-40:])


def test_damage_in_the_header_is_found():
    """Each byte of it changed: the same pixels, others, or an error of damage, but no other error."""
    encoded = encode_lossless_jpeg(noise(12), 12)
    for at in range(2, read_jpeg_header(memoryview(encoded)).start):
        for change in (1, 0x80, 0xFF):
            damaged = bytearray(encoded)
            damaged[at] ^= change
            stream = memoryview(bytes(damaged))
            try:
                header = read_jpeg_header(stream)
                if (header.rows, header.columns) == (29, 43) and 2 <= header.bits <= 16:
                    decode_lossless_jpeg(stream, header)
            except DAMAGE:
                continue
