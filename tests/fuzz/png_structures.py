"""Builds small gray PNGs whose chunks and zlib stream break the rules in every way that one decoder might overlook."""

import struct
import zlib
from itertools import pairwise

import numpy as np

from tests.support.encoded_images import SIGNATURE, chunk

_IMAGE_HEADER = ">IIBBBBB"
#: What may stand in chunks beside the pixels, most of it wrong in part.
_EXIF = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
_TEXTS = (b"Title\0chest", b"\0", b"no end", b"k" * 80 + b"\0x", b" a  b \0\0\0", b"a\0\0" + zlib.compress(b"chest"))
_TEXTS = (
    *_TEXTS,
    b"a\0\0" + zlib.compress(bytes(9_000_000))[:-3],
    b"Raw profile type exif\0\nexif\n  26\n" + _EXIF.hex().encode(),
)
_CONTENTS = {
    **dict.fromkeys((b"tEXt", b"zTXt", b"iTXt", b"tExt", b"t3Xt"), _TEXTS),
    b"tIME": (bytes(7), b"\x07\xd0\1\1\1\1\1", b"\xff" * 7),
    b"pHYs": (struct.pack(">IIB", 2835, 2835, 1), b"\xff" * 9),
    b"eXIf": (_EXIF,),
    b"IDAT": (b"", b"x"),
    b"gAMA": (b"\0\0\xb1\x8f", bytes(4)),
    b"sBIT": (b"\5", b"\0"),
    b"tRNS": (b"\0\7",),
    b"PLTE": (bytes(768), b"x"),
    **dict.fromkeys((b"IEND", b"bKGD", b"hIST", b"sRGB", b"iCCP", b"sPLT", b"abCd", b"ABCD", b"CgBI", b"fcTL"), (b"",)),
}


def built_png(random):
    """A PNG that is whole, or has a few faults in its chunks, its stream or its rows; all chunk checksums fit."""
    width, height = random.choice([1, 17, 64, 257]), random.choice([1, 13, 130])
    fields = [width, height, 8, 0, 0, 0, 0]
    if random.random() < 0.05:
        fields[random.randrange(2, 7)] = random.choice([1, 2, 4, 64])
    header = struct.pack(_IMAGE_HEADER, *fields)
    stream = _stream(_rows(width, height, random), random)
    edges = sorted({0, len(stream), *(random.randrange(len(stream)) for _ in range(random.randrange(4)))})
    chunks = [(b"IHDR", header), *((b"IDAT", stream[start:end]) for start, end in pairwise(edges)), (b"IEND", b"")]
    for _ in range(random.choice([0, 0, 1, 1, 2])):
        chunks.insert(random.choice([1, 1, random.randrange(len(chunks)), len(chunks) - 1]), _other(header, random))
    if random.random() < 0.05:
        del chunks[random.randrange(len(chunks))]
    if random.random() < 0.05:
        random.shuffle(chunks)
    return SIGNATURE + b"".join(chunk(*each) for each in chunks) + random.choice([b"", b"", b"x", bytes(40)])


def _other(header, random):
    kind = random.choice([b"IHDR", *_CONTENTS])
    if kind == b"IHDR":
        return kind, header
    return kind, random.choice(_CONTENTS[kind]) if random.random() < 0.8 else random.randbytes(random.choice([0, 1, 9]))


def _rows(width, height, random):
    rows = np.random.default_rng(random.randrange(1 << 32)).integers(0, 256, (height, width + 1), np.uint8)
    # Repeated rows make references that reach far back.
    rows = np.tile(rows[: random.choice([1, 7, height])], (height, 1))[:height]
    rows[:, 0] %= 5 if random.random() < 0.97 else 6
    return (rows.tobytes() + bytes(random.choice([0] * 20 + [1, width + 1])))[: -1 if random.random() < 0.03 else None]


def _stream(rows, random):
    """A zlib stream whose header states a window of its own, and whose end may be damaged."""
    packer = zlib.compressobj(random.choice([0, 1, 9]), zlib.DEFLATED, -random.choice([9, 12, 15]))
    packed = packer.compress(rows) + packer.flush()
    window, method, dictionary = random.choice([7, 7, 7, random.randrange(16)]), 8, 0
    if random.random() < 0.05:
        method, dictionary = random.choice([(7, 0), (8, 1)])
    header = (window << 4 | method) << 8 | random.randrange(4) << 6 | dictionary << 5
    header += -header % 31 + (random.random() < 0.02)
    checksum = zlib.adler32(rows).to_bytes(4)
    ends = [checksum[:-1], b"", bytes(4), checksum + b"x"]
    return header.to_bytes(2) + packed + (random.choice(ends) if random.random() < 0.1 else checksum)
