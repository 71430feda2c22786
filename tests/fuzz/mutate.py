"""Mutates bytes, also so that the checksums of a PNG stay valid."""

import struct
import zlib

from tests.support.encoded_images import checksums_mended

#: Values that matter most if a length, an offset or a count is read.
_EDGES = (b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\1", b"\1\0")


def mutated(content, random, others):
    """Apply one to six mutations: flip a bit; change, delete or repeat bytes; splice in another file; cut."""
    result = bytearray(content)
    for _ in range(random.randint(1, 6)):
        _mutate_once(result, random, others)
    return bytes(result)


def _mutate_once(content, random, others):
    # A changed byte matters most in a header.
    at = random.randrange(min(len(content), 120) + 1 if random.random() < 0.5 else len(content) + 1)
    match random.randrange(7):
        case 0 if at < len(content):
            content[at] ^= 1 << random.randrange(8)
        case 1:
            content[at : at + random.randint(1, 4)] = random.randbytes(random.randint(1, 4))
        case 2:
            del content[at : at + random.choice([1, 2, 4, 40, 400])]
        case 3:
            content[at:at] = content[at : at + random.choice([1, 8, 40, 400])]
        case 4:
            edge = random.choice(_EDGES)
            content[at : at + len(edge)] = edge
        case 5:
            other = random.choice(others)
            start = random.randrange(len(other) + 1)
            content[at : at + 60] = other[start : start + 60]
        case _ if random.random() < 0.3:
            del content[at:]


def pixels_changed(content, random):
    """A PNG whose filtered rows were changed and compressed again, with valid checksums."""
    try:
        at = content.index(b"IDAT")
        (length,) = struct.unpack_from(">I", content, at - 4)
        rows = bytearray(zlib.decompress(content[at + 4 : at + 4 + length]))
    except (ValueError, struct.error, zlib.error):
        return content
    for _ in range(random.randint(1, 4)):
        spot = random.randrange(len(rows) + 1)
        rows[spot : spot + random.randint(0, 2)] = random.randbytes(random.randint(0, 2))
    packed = zlib.compress(bytes(rows), 1)
    return checksums_mended(
        content[: at - 4] + struct.pack(">I", len(packed)) + b"IDAT" + packed + content[at + 4 + length :]
    )
