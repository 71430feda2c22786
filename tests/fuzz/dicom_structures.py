"""Mutates DICOM files by their structure: elements, lengths, types, sequences, fragments and headers of codestreams."""

import re
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

from tests.fuzz.mutate import mutated

_EXPLICIT, _IMPLICIT, _BIG, _DEFLATED = (
    b"1.2.840.10008.1.2.1",
    b"1.2.840.10008.1.2",
    b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.1.99",
)
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_PIXELS = 0x7FE00010
_SYNTAX = re.compile(rb"\x02\0\x10\0UI(..)([\d.]+\0?)", re.DOTALL)
#: Transfer syntaxes of every kind, and some that are none.
_SYNTAXES = [
    *(_EXPLICIT, _IMPLICIT, _BIG, _DEFLATED, b"1.2.840.10008.1.2.5", b"1.2.3", b"", b"1.2.840.10008.1.2.4.100"),
    *(b"1.2.840.10008.1.2.4." + number for number in b"50 51 57 70 80 81 90 91 201 202 203".split()),
]
_LENGTHS = (0, 1, 2, 3, 0x7FFFFFFF, 0xFFFFFFFE, _UNDEFINED, 0xFFFF, 1 << 20, (1 << 20) + 1)
_TYPES = [
    b"US",
    b"SS",
    b"OB",
    b"OW",
    b"UN",
    b"SQ",
    b"DS",
    b"IS",
    b"CS",
    b"UI",
    b"PN",
    b"AT",
    b"FD",
    b"UT",
    b"OF",
    b"??",
    b"\0\0",
]
_SIZES = (0, 1, 2, 19, 20, 24, 25, 48, 512, 65535)
_BITS = (0, 1, 7, 8, 9, 11, 12, 15, 16, 17, 24, 32, 64, 255, 65535)
_NUMBERS = (
    *b"0 -0 1 -1 0.5 1e-300 1e308 -1e38 nan inf 65535 4096 4096\\1 1\\2 \\ abc 99999999999999999999 1.5.2 1,5".split(),
    *(b"", b" 12 "),
)
#: By tag: the type of an element, and values that contradict others, lie at an edge, or are none. Numbers are US.
_VALUES = {
    **dict.fromkeys((0x00280010, 0x00280011), (b"US", _SIZES)),
    **dict.fromkeys((0x00280100, 0x00280101, 0x00280102), (b"US", _BITS)),
    **dict.fromkeys((0x00280103, 0x00280002, 0x00280006), (b"US", (0, 1, 2, 3, 65535))),
    **dict.fromkeys((0x00280120, 0x00280121, 0x00280106, 0x00280107), (b"US", (0, 1, 4095, 32768, 65535))),
    **dict.fromkeys((0x00281050, 0x00281051, 0x00281052, 0x00281053), (b"DS", _NUMBERS)),
    0x00280008: (b"IS", (b"0", b"1", b"2", b"-1", b"99999999999", b"", b"x", b"1\\2", b"1.5")),
    0x00281056: (b"CS", (b"LINEAR", b"LINEAR_EXACT", b"SIGMOID", b"sigmoid", b"", b"OTHER", b"LINEAR\\SIGMOID")),
    0x20500020: (b"CS", (b"INVERSE", b"IDENTITY", b"", b"X")),
    0x00280004: (b"CS", (b"MONOCHROME1", b"MONOCHROME2", b"RGB", b"PALETTE COLOR", b"", b"YBR_FULL", b"monochrome1")),
    0x00080016: (
        b"UI",
        (
            b"1.2.840.10008.5.1.4.1.1.1",
            b"1.2.840.10008.5.1.4.1.1.7",
            b"1.2.840.10008.1.3.10",
            b"",
            b"1.2.840.10008.5.1.4.1.1.1.1.1",
        ),
    ),
    0x00080018: (b"UI", (b"", b"1", b"1." * 40, b"a.b", b"1.2\\1.3", b"\0" * 64)),
    0x00080068: (b"CS", (b"FOR PROCESSING", b"FOR PRESENTATION", b"")),
    0x00080005: (
        b"CS",
        (b"ISO_IR 192", b"ISO 2022 IR 87", b"\\ISO 2022 IR 149", b"none", b"", b"ISO_IR 100\\ISO_IR 101"),
    ),
    0x00080020: (b"DA", (b"20200230", b"2020", b"20200101-20210101", b"", b"\xff" * 8)),
    0x00080070: (b"LO", (b"A" * 64, b"Doe^Jane", b"\x1b$B\x00", b"\xff\xfe")),
    0x00100020: (b"LO", (b"", b"7" * 64, b"7" * 300, b"\x1b$)C\xff", b"1\\2", b"1\n2")),
    0x00100040: (b"CS", (b"M", b"F", b"O", b"?", b"")),
    0x00101010: (b"AS", (b"060Y", b"999Y", b"12", b"-1Y", b"0Y0Y", b"")),
    0x00180015: (b"CS", (b"CHEST", b"HAND", b"", b"CHEST\\HAND")),
    0x00185101: (b"CS", (b"PA", b"LL", b"LATERAL", b"", b"PA\\LL", b"\xe9")),
    0x00280301: (b"CS", (b"YES", b"NO", b"")),
    0x00283002: (b"US", (0, 1, 16)),
    0x00283006: (b"OW", (b"", b"\0", bytes(512), bytes(range(256)) * 2)),
    0x60000010: (b"US", (0, 20, 65535)),
    0x60003000: (b"OW", (b"", bytes(60))),
    0x7FE00008: (b"OF", (bytes(1920),)),
    0x7FE00001: (b"OV", (bytes(8), b"\xff" * 8)),
}
#: The headers of codestreams, in which a changed byte matters most.
_HEADER_BYTES = 100
_END_OF_IMAGE = b"\xff\xd9"


@dataclass
class _Element:
    tag: int
    #: Empty in implicit VR.
    vr: bytes
    value: bytes
    #: What the file states; None is the length of the value.
    length: int | None = None


@dataclass
class _File:
    """A file in parts."""

    start: bytes
    syntax: bytes
    #: '<' or '>'.
    order: str
    is_explicit: bool
    elements: list[_Element] = field(default_factory=list)


def structure_changed(content, random, others):
    """Apply one to four mutations to the elements of a DICOM file; content that is none is mutated as bytes."""
    try:
        file = _parsed(content)
    except (struct.error, IndexError, zlib.error):
        file = None
    if file is None or not file.elements:
        return mutated(content, random, others)
    for _ in range(random.randint(1, 4)):
        random.choice(_MUTATIONS)(file, random)
    if random.random() < 0.05:
        file.start = _with_syntax(file.start, random.choice(_SYNTAXES))
    return _joined(file)


def frame_cut(content, random):
    """A DICOM file that is intact but for its compressed frame, which lacks bytes before its end marker; or None."""
    file = _parsed(content)
    pixels = _pixels(file)
    items = _items(pixels.value)
    frame = b"".join(items[1:])
    end = len(frame.rstrip(b"\0")) - len(_END_OF_IMAGE)
    if not frame.startswith(b"\xff") or end < 40:
        return None
    cut = frame[: random.randrange(end // 8, end)] + _END_OF_IMAGE
    pixels.value = _fragmented([b"", cut + b"\0" * (len(cut) % 2)])
    return _joined(file)


def _parsed(content):
    start = 132 if content[128:132] == b"DICM" else 0
    syntax = _IMPLICIT if content[4:6].strip(b"\0") == b"" or not content[4:6].isalpha() else _EXPLICIT
    if start:
        while content[start : start + 2] == b"\2\0":
            (length,) = struct.unpack_from(
                "<L" if content[start + 4 : start + 6] in _LONG else "<H",
                content,
                start + 8 if content[start + 4 : start + 6] in _LONG else start + 6,
            )
            start += length + (12 if content[start + 4 : start + 6] in _LONG else 8)
        found = _SYNTAX.search(content[:start])
        syntax = found[2].rstrip(b"\0") if found else _EXPLICIT
    body = zlib.decompress(content[start:], -zlib.MAX_WBITS) if syntax == _DEFLATED else content[start:]
    file = _File(
        start=content[:start], syntax=syntax, order=">" if syntax == _BIG else "<", is_explicit=syntax != _IMPLICIT
    )
    file.elements = _elements(body, file)
    return file


def _elements(body, file):
    at, elements = 0, []
    while at + 8 <= len(body):
        group, element = struct.unpack_from(f"{file.order}HH", body, at)
        vr = body[at + 4 : at + 6] if file.is_explicit else b""
        if file.is_explicit and vr not in _LONG:
            (length,) = struct.unpack_from(f"{file.order}H", body, at + 6)
            at += 8
        else:
            at += 8 if file.is_explicit else 4
            (length,) = struct.unpack_from(f"{file.order}L", body, at)
            at += 4
        is_rest = length == _UNDEFINED or at + length > len(body)
        value = body[at:] if is_rest else body[at : at + length]
        elements.append(_Element(group << 16 | element, vr, value, length if is_rest else None))
        at += len(value)
    return elements


def _joined(file):
    body = b"".join(_written(element, file) for element in file.elements)
    if file.syntax == _DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return file.start + body


def _written(element, file):
    length = len(element.value) if element.length is None else element.length
    tag = struct.pack(f"{file.order}HH", element.tag >> 16, element.tag & 0xFFFF)
    if file.is_explicit and element.vr not in _LONG:
        return tag + element.vr + struct.pack(f"{file.order}H", length & 0xFFFF) + element.value
    reserved = b"\0\0" if file.is_explicit else b""
    return tag + element.vr + reserved + struct.pack(f"{file.order}L", length) + element.value


def _with_syntax(start, syntax):
    padded = syntax + b"\0" * (len(syntax) % 2)
    return _SYNTAX.sub(lambda _: b"\x02\0\x10\0UI" + struct.pack("<H", len(padded)) + padded, start)


def _of(tag, file, vr, value):
    encoded = struct.pack(f"{file.order}H", value) if isinstance(value, int) else value + b" " * (len(value) % 2)
    return _Element(tag, vr if file.is_explicit else b"", encoded)


def _put(file, element):
    """Replace an element, or insert it where it belongs."""
    kept = [other for other in file.elements if other.tag != element.tag]
    place = next((index for index, other in enumerate(kept) if other.tag > element.tag), len(kept))
    file.elements = [*kept[:place], element, *kept[place:]]


def _set_value(file, random):
    tag, (vr, values) = random.choice(list(_VALUES.items()))
    _put(file, _of(tag, file, vr, random.choice(values)))


def _set_table(file, random):
    """A modality or VOI LUT whose descriptor and data need not fit together."""
    entries = random.choice([0, 1, 2, 256, 4095, 4096, 65535])
    shape = [
        random.choice([entries, 0, 256]),
        random.choice([0, 1, 60000, 65535]),
        random.choice([8, 10, 16, 12, 0, 17]),
    ]
    shape = shape[: random.choice([3, 3, 3, 3, 2, 1, 0])]
    values = np.arange(random.choice([entries, 300, 0])) * random.choice([1, -1, 7, 4095])
    inner = _File(start=b"", syntax=b"", order=file.order, is_explicit=file.is_explicit)
    descriptor = struct.pack(f"{file.order}{len(shape)}H", *shape)
    data = values.astype(f"{file.order}u2").tobytes()[: random.choice([None, None, -1])]
    inner.elements = [
        _of(0x00283002, inner, random.choice([b"US", b"SS", b"OW"]), descriptor),
        _of(0x00283006, inner, random.choice([b"US", b"OW", b"SS"]), data),
    ]
    items = b"".join(_item(_joined(inner), file, random) for _ in range(random.choice([0, 1, 1, 1, 2])))
    _put(file, _of(random.choice([0x00283000, 0x00283010]), file, b"SQ", items))


def _nest(file, random):
    """Sequences in sequences."""
    content = b""
    for _ in range(random.choice([1, 5, 100, 1500])):
        tag = struct.pack(f"{file.order}HH", 0x0040, 0xA730)
        undefined = random.random() < 0.5
        item = _item(content, file, random)
        length = struct.pack(f"{file.order}L", _UNDEFINED if undefined else len(item))
        content = tag + (b"SQ\0\0" if file.is_explicit else b"") + length + item
        content += struct.pack(f"{file.order}HHL", 0xFFFE, 0xE0DD, 0) if undefined else b""
    tag = random.choice([0x00080096, 0x00283010, 0x00185100, 0x00540220])
    _put(file, _of(tag, file, b"SQ", _item(content, file, random)))


def _item(content, file, random):
    if random.random() < 0.3:
        return (
            struct.pack(f"{file.order}HHL", 0xFFFE, 0xE000, _UNDEFINED)
            + content
            + struct.pack(f"{file.order}HHL", 0xFFFE, 0xE00D, 0)
        )
    return struct.pack(f"{file.order}HHL", 0xFFFE, 0xE000, len(content)) + content


def _change_length(file, random):
    element = random.choice(file.elements)
    near = len(element.value) + random.choice([-2, -1, 1, 2, 8])
    element.length = random.choice([*_LENGTHS, max(near, 0), len(element.value) * 2])


def _change_type(file, random):
    random.choice(file.elements).vr = random.choice(_TYPES) if file.is_explicit else b""


def _change_tag(file, random):
    random.choice(file.elements).tag = random.choice([*_VALUES, _PIXELS, random.randrange(1 << 32), 0xFFFEE00D])


def _change_bytes(file, random):
    element = random.choice(file.elements)
    element.value = mutated(element.value, random, [other.value for other in file.elements])


def _rearrange(file, random):
    elements = file.elements
    match random.randrange(4):
        case 0 if len(elements) > 1:
            del elements[random.randrange(len(elements))]
        case 1:
            elements.insert(random.randrange(len(elements)), random.choice(elements))
        case 2:
            elements.append(elements.pop(random.randrange(len(elements))))
        case _:
            del elements[random.randrange(1, len(elements) + 1) :]


def _add_private(file, random):
    size = random.choice([2, 300, 70_000])
    _put(file, _of(0x00091001, file, random.choice([b"UN", b"OB", b"LO"]), random.randbytes(size)[:60_000]))


def _change_pixels(file, random):
    """Of a compressed frame: fragments, offset table, headers. Of others: the number of bytes."""
    pixels = _pixels(file)
    if pixels.length != _UNDEFINED:
        pixels.value = random.choice(
            [pixels.value[:-1], pixels.value[:-2], pixels.value * 2, b"", pixels.value + b"\0"]
        )
        return
    items = _items(pixels.value)
    match random.randrange(9):
        case 0:
            items = [items[0], *items[1:], *items[1:]]
        case 1:
            items[0] = random.choice([b"", bytes(4), b"\xff" * 4, struct.pack("<LL", 0, 8), b"\1", bytes(8000)])
        case 2:
            at = random.randrange(1, len(items) + 1)
            items.insert(at, random.choice([b"", b"\0", bytes(64), b"\xff\xd8", _END_OF_IMAGE]))
        case 3:
            del items[random.randrange(len(items))]
        case 4:
            frame = b"".join(items[1:])
            cuts = sorted(random.randrange(len(frame) + 1) for _ in range(random.choice([1, 2, 300])))
            items = [items[0], *(frame[a:b] for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True))]
        case 5 | 6 | 7:
            items[1:] = [_header_changed(b"".join(items[1:]), random)]
        case _:
            items[1:] = [mutated(b"".join(items[1:]), random, items)]
    pixels.value = _fragmented(items)
    if random.random() < 0.1:
        pixels.value = mutated(pixels.value, random, [pixels.value])


def _header_changed(frame, random):
    changed = bytearray(frame)
    for _ in range(random.choice([1, 1, 2, 4])):
        if changed:
            at = random.randrange(min(len(changed), _HEADER_BYTES))
            changed[at] = random.choice([0, 1, 255, changed[at] ^ 1 << random.randrange(8), random.randrange(256)])
    return bytes(changed)


def _pixels(file):
    return next((element for element in file.elements if element.tag == _PIXELS), file.elements[-1])


def _items(value):
    """The offset table and the fragments."""
    at, items = 0, []
    while value[at : at + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(value[at + 4 : at + 8], "little")
        items.append(value[at + 8 : at + 8 + length])
        at += 8 + length
    return items if len(items) > 1 else [b"", value]


def _fragmented(items):
    return (
        b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(item)) + item for item in items)
        + b"\xfe\xff\xdd\xe0"
        + bytes(4)
    )


_MUTATIONS = (
    *(_set_value,) * 6,
    *(_set_table,) * 3,
    *(_change_pixels,) * 5,
    *(_change_length, _change_type, _change_tag, _change_bytes, _rearrange, _add_private, _nest),
)
