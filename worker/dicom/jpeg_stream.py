"""Reads the markers of a JPEG of one component (ITU-T T.81), and checks or decodes its codes to the last one.

A JPEG has no checksum. So a missing part and most changed bytes are found, but a changed byte that gives other codes
of the same length is not.
"""

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

LOSSLESS_FRAME: Final = 0xC3
JPEG_LS_FRAME: Final = 0xF7
#: Baseline and extended sequential with Huffman codes.
DCT_FRAMES: Final = (0xC0, 0xC1)
_FRAMES: Final = frozenset({*range(0xC0, 0xD0), JPEG_LS_FRAME} - {0xC4, 0xC8, 0xCC})
_HUFFMAN_TABLES: Final = 0xC4
_RESTART_INTERVAL: Final = 0xDD
_START_OF_SCAN: Final = 0xDA
_FIRST_RESTART: Final = 0xD0
_END_OF_IMAGE: Final = b"\xff\xd9"


@dataclass(kw_only=True)
class JpegHeader:
    """What stands before the codes."""

    #: The marker of the frame, and what it says.
    frame: int = 0
    bits: int = 0
    rows: int = 0
    columns: int = 0
    components: int = 0
    #: Pixels or blocks between two restart markers; 0 if there are none.
    restart_interval: int = 0
    #: Counts and symbols by class (0 is DC or lossless, 1 is AC) and number.
    tables: dict[tuple[int, int], tuple[bytes, bytes]] = field(default_factory=dict)
    #: The numbers of the tables, for DC and AC.
    table_numbers: tuple[int, int] = (0, 0)
    #: Of a lossless JPEG, and by how many bits its pixels were shifted.
    predictor: int = 0
    shift: int = 0
    #: Where the codes begin.
    start: int = 0


def read_jpeg_header(stream: memoryview) -> JpegHeader:
    """Read all segments before the codes.

    Raises:
        ValueError, struct.error, IndexError: they are damaged, or of more than one component.
    """
    header = JpegHeader()
    at = 2
    while not header.start:
        if stream[at] != 0xFF:
            raise ValueError("a segment does not begin with a marker")
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", stream, at + 2)
        segment = bytes(stream[at + 4 : at + 2 + length])
        at += 2 + length
        if marker in _FRAMES:
            header.frame = marker
            header.bits, header.rows, header.columns, header.components = struct.unpack_from(">BHHB", segment)
        elif marker == _HUFFMAN_TABLES:
            _read_tables(segment, header)
        elif marker == _RESTART_INTERVAL:
            (header.restart_interval,) = struct.unpack(">H", segment)
        elif marker == _START_OF_SCAN:
            _read_scan(segment, header)
            header.start = at
    return header


def _read_tables(segment: bytes, header: JpegHeader) -> None:
    at = 0
    while at < len(segment):
        counts = segment[at + 1 : at + 17]
        symbols = segment[at + 17 : at + 17 + sum(counts)]
        if len(symbols) != sum(counts):
            raise ValueError("a table of codes is incomplete")
        header.tables[segment[at] >> 4, segment[at] & 15] = (counts, symbols)
        at += 17 + len(symbols)


def _read_scan(segment: bytes, header: JpegHeader) -> None:
    count, _, numbers, header.predictor, _, approximation = struct.unpack_from(">6B", segment)
    if count != 1:
        raise ValueError("the scan has several components")
    header.table_numbers = numbers >> 4, numbers & 15
    header.shift = approximation & 15


def decode_lossless_jpeg(stream: memoryview, header: JpegHeader) -> NDArray[np.uint16]:
    """Decode a lossless JPEG of one component.

    Args:
        stream: up to and with its end marker.
        header: of the stream.

    Returns:
        uint16 (rows, columns).

    Raises:
        ValueError, LookupError: it is damaged.
    """
    # Importing it compiles it.
    from worker.dicom import huffman

    table = huffman.code_table(*header.tables[0, header.table_numbers[0]])
    rows_between = -(-(header.restart_interval or header.rows * header.columns) // header.columns)
    if header.restart_interval % header.columns or not 1 <= header.predictor <= 7 or (table >> 8).max() > 16:
        raise ValueError("the scan contradicts itself")
    bits = header.bits - header.shift
    rule = header.predictor, 1 << (bits - 1), (1 << bits) - 1
    words, intervals = _intervals(stream, header, -(-header.rows // rows_between), padding=4 * header.columns)
    pixels = np.empty((header.rows, header.columns), np.uint16)
    for number, interval in enumerate(intervals):
        part = pixels[number * rows_between : (number + 1) * rows_between]
        _check_end(huffman.read_lossless(words, interval, table, rule, part))
    return np.left_shift(pixels, header.shift, dtype=np.uint16) if header.shift else pixels


def check_blocks(stream: memoryview, header: JpegHeader) -> None:
    """Check that the codes of a sequential JPEG of one component give all blocks, and then end.

    Raises:
        ValueError, LookupError: it is damaged.
    """
    from worker.dicom import huffman

    dc, ac = (huffman.code_table(*header.tables[kind, header.table_numbers[kind]]) for kind in (0, 1))
    if (dc >> 8).max() > 15:
        raise ValueError("a table of codes has symbols that it cannot have")
    blocks = -(-header.rows // 8) * -(-header.columns // 8)
    between = header.restart_interval or blocks
    words, intervals = _intervals(stream, header, -(-blocks // between), padding=huffman.MAX_BLOCK_BYTES)
    for number, interval in enumerate(intervals):
        _check_end(huffman.read_blocks(words, interval, dc, ac, min(between, blocks - number * between)))


def _check_end(remaining_bits: int) -> None:
    if not 0 <= remaining_bits < 8:
        raise ValueError("the codes are damaged, or end too early or too late")


def _intervals(
    stream: memoryview, header: JpegHeader, count: int, *, padding: int
) -> tuple[NDArray[np.uint32], list[tuple[int, int]]]:
    """The codes without stuffed zeros, as 32 bits and followed by padding; and the bits of each restart interval.

    Raises:
        ValueError: there are other markers than those of restarts, or these are not in order.
    """
    from worker.dicom import huffman

    end = len(stream) - len(_END_OF_IMAGE)
    while end > header.start and stream[end - 1] == 0xFF:
        end -= 1
    values = np.frombuffer(stream[header.start : end], np.uint8)
    at = np.flatnonzero(values == 0xFF)
    followers = values[at + 1]
    is_restart = followers != 0
    if not np.array_equal(followers[is_restart], _FIRST_RESTART + np.arange(count - 1) % 8):
        raise ValueError("restart markers are missing, or there are other markers within the codes")
    removed = np.cumsum(1 + is_restart)
    plain = np.zeros((values.size + padding + 16) // 4 * 4, np.uint8)
    huffman.copy_pieces(values, np.r_[0, at + 2], np.r_[at + ~is_restart, values.size], plain)
    size = values.size - int(removed[-1] if at.size else 0)
    edges = [0, *(at[is_restart] + 2 - removed[is_restart]), size]
    return plain.view(">u4").astype(np.uint32), [(8 * int(a), 8 * int(b)) for a, b in pairwise(edges)]
