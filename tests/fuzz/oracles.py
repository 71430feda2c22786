"""The oracles of the fuzzer: bytes are read correctly or refused with a documented reason; all else is a finding.

Each oracle returns a word for what happened, which is counted, and raises `AssertionError` for a finding.
"""

import io
import json
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from db.errors import PermanentError, UserError
from db.labels.csv_file import Reading, read_labels_csv
from db.ledger.outcomes import REASONS
from tests.support.encoded_images import SIGNATURE
from worker.artifacts.manifest import parse_manifest
from worker.artifacts.split_file import read_split
from worker.images.bit_depth import to_uint8
from worker.images.pixels import _decode_by_cv2, _fast_code, decode
from worker.images.preprocessing import RULE_1
from worker.messaging.messages import Chunk, InvalidMessage

#: Modes in which Pillow shows what cv2 shows. Other modes have rules of our own.
_COMPARABLE_MODES = {"L": "L", "1": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "P": "RGB"}
# The fast code decodes from the first image on.
_fast_code.load()
_SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def check_image(encoded, max_pixels):
    """Accept the pixels of a whole file, if Pillow sees the same ones, or a documented reason."""
    try:
        image = decode(encoded, max_pixels)
    except PermanentError as error:
        assert error.reason in REASONS, f"an undocumented reason: {error.reason}"
        assert str(error).isprintable()
        return error.reason
    assert image.dtype == np.uint8
    if encoded.startswith(SIGNATURE):
        assert is_whole_png(encoded), "a score from a damaged PNG"
        assert np.array_equal(image, to_uint8(_decode_by_cv2(encoded), RULE_1)[0]), "not cv2's pixels"
    if not encoded.startswith((b"II", b"MM")):
        _check_by_pillow(encoded, image)
    return "pixels"


def check_table(content):
    """Accept rows that SQL can store, or an error of one sentence."""
    path = _SCRATCH / "labels.csv"
    path.write_bytes(content)
    try:
        # Chosen by content, so that a finding can be reproduced.
        rows = read_labels_csv(path, Reading(ignore_unknown=len(content) % 2 == 0)).rows
    except UserError as error:
        _check_sentence(error)
        return "refused"
    assert rows
    "".join(f"{row.image_name}{row.patient_id}{row.view}{row.sex}" for row in rows).encode()
    return "rows"


def check_wire(content):
    """Accept a message, a manifest or a split, or the error that is documented for it."""
    kind, content = content[:1], content[1:]
    try:
        if kind == b"\0":
            return _check_message(content)
        if kind == b"\1":
            return parse_manifest(content, "here") and "manifest"
        (_SCRATCH / "split.csv").write_bytes(content)
        return _check_split()
    except UserError as error:
        _check_sentence(error)
    except InvalidMessage:
        pass
    return "refused"


def is_whole_png(encoded):
    """Whether every chunk up to IEND has its checksum, and the stream of the pixels reaches its end.

    The stream's own checksum is not checked: libpng ignores it, and no accident damages it alone.
    """
    at, kind, packed = len(SIGNATURE), b"", b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, at)
        body = encoded[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", encoded, at + 8 + length)
        if zlib.crc32(kind + body) != checksum:
            return False
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    return _has_end(packed)


def _has_end(packed):
    # Inflated as a raw stream, because a wrong checksum would be an error otherwise.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflater.decompress(packed[2:])
    except zlib.error:
        return False
    return inflater.eof


def _check_message(content):
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        # kombu refuses it.
        return "no json"
    return Chunk.from_message(message).printed and "message"


def _check_split():
    for row in read_split(_SCRATCH):
        assert "\0" not in f"{row.image_name}{row.patient_id}"
        assert row.image_name
        assert row.image_name.encode()
    return "split"


def _check_by_pillow(encoded, image):
    """Check that Pillow sees the same pixels or none, in any orientation if the orientation itself may be damaged."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG", "BMP")) as opened:
            opened.load()
            seen, turned = _shown(opened, encoded), "exif" in opened.info
    except Exception:  # noqa: BLE001 - the other decoder may fail in any way
        return
    if seen is not None:
        # Both use the same library, but they round the colours of a JPEG in different places.
        allowed = 3 if encoded.startswith(b"\xff\xd8") else 0
        views = [_colors(seen)] if not turned else list(_every_way_up(_colors(seen)))
        distance = min(_distance(_colors(image)[..., ::-1], view) for view in views)
        assert distance <= allowed, f"Pillow's pixels differ by {distance}"


def _every_way_up(pixels):
    for quarter in range(4):
        yield np.rot90(pixels, quarter)
        yield np.rot90(pixels[:, ::-1], quarter)


def _shown(view, encoded):
    """Pillow's pixels by our rule for gray; None if the rules differ."""
    if view.mode in _COMPARABLE_MODES and not _is_wide_color(encoded):
        return np.asarray(view.convert(_COMPARABLE_MODES[view.mode]))
    return to_uint8(np.asarray(view).astype(np.uint16), RULE_1)[0] if view.mode.startswith("I;16") else None


def _distance(ours, theirs):
    return int(np.abs(ours.astype(np.int16) - theirs).max()) if ours.shape == theirs.shape else 256


def _colors(image):
    return np.broadcast_to(np.atleast_3d(image), (*image.shape[:2], 3))


def _is_wide_color(encoded):
    """Whether it is a colour PNG of 16 bits per channel: Pillow takes the upper 8 bits, we take those that are used."""
    return encoded.startswith(SIGNATURE) and encoded[24] == 16 and encoded[25] != 0


def _check_sentence(error):
    assert str(error).isprintable(), "the error has unprintable characters"
    assert len(str(error)) < 800
