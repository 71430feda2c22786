"""What may come of bytes: what they mean, or a documented refusal, in under two seconds. Anything else is a finding.

Each judge gives a word for what happened, to be counted, and raises `AssertionError` for a finding.
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
from db.labels.csv_file import read_labels_csv
from db.ledger.outcomes import REASONS
from tests.support.encoded_images import SIGNATURE
from worker.artifacts.manifest import parse_manifest
from worker.artifacts.split_file import read_split
from worker.images.bit_depth import to_uint8
from worker.images.pixels import _decode_by_cv2, _fast_code, decode
from worker.messaging.messages import Chunk

#: Pillow's modes that show what cv2 shows; others have rules of our own.
_ALIKE = {"L": "L", "1": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "P": "RGB"}
# The fast code decodes from the first image on.
_fast_code.load()
_SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def judge_image(encoded, max_pixels):
    """Pixels of a whole file, as Pillow sees them, or one of the reasons."""
    try:
        image = decode(encoded, max_pixels)
    except PermanentError as error:
        assert error.reason in REASONS, f"an undocumented reason: {error.reason}"
        assert str(error).isprintable()
        return error.reason
    assert image.dtype == np.uint8
    if encoded.startswith(SIGNATURE):
        assert is_whole_png(encoded), "a score from a damaged PNG"
        assert np.array_equal(image, to_uint8(_decode_by_cv2(encoded))), "not cv2's pixels"
    if not encoded.startswith((b"II", b"MM")):
        _check_by_pillow(encoded, image)
    return "pixels"


def judge_table(content):
    """Rows that SQL can hold, or one sentence."""
    path = _SCRATCH / "labels.csv"
    path.write_bytes(content)
    try:
        rows = read_labels_csv(path).rows
    except UserError as error:
        _check_sentence(error)
        return "refused"
    assert rows
    "".join(f"{row.image_name}{row.patient_id}{row.view}{row.sex}" for row in rows).encode()
    return "rows"


def judge_wire(content):
    """A message, a manifest or a split, or the refusal that is documented for it."""
    kind, content = content[:1], content[1:]
    try:
        if kind == b"\0":
            return _judge_message(content)
        if kind == b"\1":
            return parse_manifest(content, "here") and "manifest"
        (_SCRATCH / "split.csv").write_bytes(content)
        return _judge_split()
    except UserError as error:
        _check_sentence(error)
    except PermanentError as error:
        assert error.reason == "message"
    return "refused"


def is_whole_png(encoded):
    """Every chunk to IEND has its checksum, and the pixels' stream comes to its end.

    The stream's own checksum is not asked for: libpng reads on where it alone is wrong, which no accident brings about.
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
    # Raw, or a wrong checksum of its would be an error.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflater.decompress(packed[2:])
    except zlib.error:
        return False
    return inflater.eof


def _judge_message(content):
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        # kombu's to refuse.
        return "no json"
    return Chunk.from_message(message).printed and "message"


def _judge_split():
    for row in read_split(_SCRATCH):
        assert "\0" not in f"{row.image_name}{row.patient_id}"
        assert row.image_name
        assert row.image_name.encode()
    return "split"


def _check_by_pillow(encoded, image):
    """Pillow sees the same pixels, or none; any way up where the orientation may itself be damaged."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG", "BMP")) as opened:
            opened.load()
            seen, turned = _shown(opened, encoded), "exif" in opened.info
    except Exception:  # noqa: BLE001 - the other decoder may fail as it likes
        return
    if seen is not None:
        # The same library at heart, but JPEG's colours are rounded in different places.
        allowed = 3 if encoded.startswith(b"\xff\xd8") else 0
        views = [_colors(seen)] if not turned else list(_every_way_up(_colors(seen)))
        distance = min(_distance(_colors(image)[..., ::-1], view) for view in views)
        assert distance <= allowed, f"Pillow's pixels differ by {distance}"


def _every_way_up(pixels):
    for quarter in range(4):
        yield np.rot90(pixels, quarter)
        yield np.rot90(pixels[:, ::-1], quarter)


def _shown(view, encoded):
    """Pillow's pixels by our rule for gray; None where the rules differ."""
    if view.mode in _ALIKE and not _is_wide_color(encoded):
        return np.asarray(view.convert(_ALIKE[view.mode]))
    return to_uint8(np.asarray(view).astype(np.uint16)) if view.mode.startswith("I;16") else None


def _distance(ours, theirs):
    return int(np.abs(ours.astype(np.int16) - theirs).max()) if ours.shape == theirs.shape else 256


def _colors(image):
    return np.broadcast_to(np.atleast_3d(image), (*image.shape[:2], 3))


def _is_wide_color(encoded):
    """A PNG of 16 bits a channel in colour: Pillow takes the upper 8, we those that are used."""
    return encoded.startswith(SIGNATURE) and encoded[24] == 16 and encoded[25] != 0


def _check_sentence(error):
    assert str(error).isprintable(), "what no terminal can show"
    assert len(str(error)) < 800
