"""Encodes images in modes that cv2 cannot write, and images with one wrong byte."""

import struct
import zlib

import cv2
import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UNPACKED, LZW, DEFLATE = 1, 5, 8


def encode(image, suffix=".png"):
    return cv2.imencode(suffix, image)[1].tobytes()


def chunk(kind, content, crc=None):
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def checksums_mended(content):
    """A PNG with correct chunk checksums, so that decoders read the chunks; other content is returned unchanged."""
    if not content.startswith(SIGNATURE):
        return content
    at, chunks = len(SIGNATURE), SIGNATURE
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        body = content[at + 4 : at + 8 + length]
        chunks += content[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return chunks


def png(width, height, rows, *, depth=8, color=0, extra=b"", crc=None):
    """A PNG from its filtered rows."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return SIGNATURE + header + extra + chunk(b"IDAT", zlib.compress(rows), crc) + chunk(b"IEND", b"")


def png_of(image, depth=8, color=0, extra=b""):
    """A PNG of uint8 or uint16 (height, width) or (height, width, channels), packed if `depth` is below 8 bits."""
    stored = image.astype(">u2") if depth == 16 else pack(image, depth)
    return png(image.shape[1], image.shape[0], rows_of(stored), depth=depth, color=color, extra=extra)


def interlaced_png_of(image):
    """A PNG of 8-bit gray pixels, interlaced by Adam7."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(rows_of(image[top::down, left::right]) for top, left, down, right in passes)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 0, 0, 0, 1))
    return SIGNATURE + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows_of(image):
    return b"".join(b"\0" + row.tobytes() for row in image)


def pack(values, bits):
    """Rows of bytes that hold values of 1, 2, 4 or 8 bits."""
    if bits == 8:
        return values
    return np.packbits(np.unpackbits(values[..., np.newaxis], axis=2)[..., -bits:].reshape(len(values), -1), axis=1)


def bmp_of(values, bits, *, palette=None, top_down=False):
    """A BMP of values (height, width) with a palette of gray, or of 24 or 32 bits (height, width, 3 or 4)."""
    stored = pack(values, bits) if bits < 8 else values
    rows = b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in (stored if top_down else stored[::-1]))
    colors = b"" if palette is None else b"".join(bytes([gray, gray, gray, 0]) for gray in palette)
    height, width = values.shape[:2]
    size = struct.pack("<IiiHH", 40, width, -height if top_down else height, 1, bits)
    header = size + struct.pack("<IIiiII", 0, len(rows), 2835, 2835, 0, 0)
    start = 14 + len(header) + len(colors)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + colors + rows


def tiff_of(image, *, photometric=None, compression=UNPACKED, order="<", bits=None, rows_per_strip=None, **tags):
    """A TIFF of uint8 or uint16 (height, width) or (height, width, samples) whose strips follow its directory.

    Further tags are named `t<number>` and given as tuples of SHORT.
    """
    image = np.atleast_3d(image)
    height, width, samples = image.shape
    bits = bits or 8 * image.itemsize
    rows_per_strip = rows_per_strip or height
    stored = image.astype(image.dtype.newbyteorder(order)) if bits >= 8 else pack(image[..., 0], bits)
    strips = [_strip(stored[top : top + rows_per_strip], compression) for top in range(0, height, rows_per_strip)]
    entries = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * samples),
        259: ("H", (compression,)),
        262: ("H", ((2 if samples >= 3 else 1) if photometric is None else photometric,)),
        277: ("H", (samples,)),
        278: ("I", (rows_per_strip,)),
        279: ("I", tuple(map(len, strips))),
        **{int(tag[1:]): ("H", values) for tag, values in tags.items()},
    }
    if compression == LZW:
        entries[317] = ("H", (1,))
    return _directory_and_strips(entries, strips, order)


def _strip(rows, compression):
    content = rows.tobytes()
    return {UNPACKED: bytes, DEFLATE: zlib.compress, LZW: lzw}[compression](content)


def lzw(content):
    """TIFF's LZW, written after the pseudocode of the specification."""
    literals = {bytes([value]): value for value in range(256)}
    bits, table, string = [f"{256:09b}"], literals.copy(), b""
    for value in content:
        longer = string + bytes([value])
        if longer in table:
            string = longer
            continue
        bits.append(f"{table[string]:0{_code_bits(table)}b}")
        table[longer] = len(table) + 2
        if len(table) + 2 == 4094:
            bits.append(f"{256:012b}")
            table = literals.copy()
        string = longer[-1:]
    if string:
        bits.append(f"{table[string]:0{_code_bits(table)}b}")
        table[b"the entry of the last code"] = -1
    bits.append(f"{257:0{_code_bits(table)}b}")
    joined = "".join(bits)
    return int(joined + "0" * (-len(joined) % 8), 2).to_bytes(-(-len(joined) // 8))


def _code_bits(table):
    # 256 and 257 are control codes.
    return (len(table) + 2).bit_length()


def _directory_and_strips(entries, strips, order):
    entries = entries | {273: ("I", (0,) * len(strips))}
    beyond = 8 + 2 + 12 * len(entries) + 4
    first_strip = beyond + sum(size for size in map(_size, entries.values()) if size > 4)
    ends = np.cumsum([0, *map(len, strips)])
    entries[273] = ("I", tuple(int(first_strip + end) for end in ends[:-1]))
    directory, tail = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(values)}{kind}", *values)
        where = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack(order + "I", beyond + len(tail))
        tail += content if len(content) > 4 else b""
        directory += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + where
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return start + directory + struct.pack(order + "I", 0) + tail + b"".join(strips)


def _size(entry):
    return struct.calcsize(f"{len(entry[1])}{entry[0]}")
