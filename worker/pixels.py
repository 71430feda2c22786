"""From encoded bytes to pixels: the one preprocessing that training and serving share.

The rule for gray: a gray image stays as it is; in RGB(A), alpha is dropped and luma is
0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, cv2's integer arithmetic, exact where R = G = B). So a
radiograph stored as gray, RGB or RGBA gives the same pixels.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError
from worker.manifest import Preprocessing

Pixels = NDArray[np.uint8]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
#: 100 megapixels: four times the largest detector, far below what exhausts a worker.
MAX_PIXELS: Final = 100_000_000
_INTERPOLATION: Final = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


def decode(encoded: bytes) -> Pixels:
    """Decode an 8-bit PNG or JPEG, chosen by content, fully or not at all.

    Returns:
        uint8 (height, width), (height, width, 3) BGR or (height, width, 4) BGRA.

    Raises:
        PermanentError: `empty`, `not_image`, `truncated` (damaged counts too), `too_large` or `unsupported`.
    """
    _check_content(encoded)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PermanentError("truncated", "the image is damaged: the decoder gave up") from error
    if image is None:
        raise PermanentError("truncated", "the image is truncated or damaged: its content ends or contradicts itself")
    if image.dtype != np.uint8:
        raise PermanentError("unsupported", f"the image has {8 * image.itemsize} bits a channel, 8 are supported")
    return image.astype(np.uint8, copy=False)


def preprocess(image: Pixels, rule: Preprocessing) -> Pixels:
    """Turn a decoded image into pixels of `rule.shape`, uint8 in 0..255."""
    colored = _gray(image) if rule.color == "gray" else _bgr(image)
    resized = cv2.resize(colored, (rule.width, rule.height), interpolation=_INTERPOLATION[rule.interpolation])
    return np.ascontiguousarray(resized.reshape(rule.shape), dtype=np.uint8)


def to_pixels(encoded: bytes, rule: Preprocessing) -> Pixels:
    """`decode`, then `preprocess`."""
    return preprocess(decode(encoded), rule)


def _check_content(encoded: bytes) -> None:
    if not encoded:
        raise PermanentError("empty", "the file is empty")
    if encoded.startswith(_PNG):
        width, height = (int.from_bytes(encoded[at : at + 4]) for at in (16, 20))
    elif encoded.startswith(_JPEG):
        width, height = _jpeg_size(encoded)
    else:
        raise PermanentError("not_image", "the content is neither PNG nor JPEG")
    if width * height > MAX_PIXELS:
        raise PermanentError("too_large", f"the image claims {width} x {height} pixels")


def _jpeg_size(encoded: bytes) -> tuple[int, int]:
    """Width and height from the frame header (ITU-T T.81, B.2.2); 0, 0 where there is none before the scan data."""
    at = 2
    while at + 9 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(encoded[at + 7 : at + 9]), int.from_bytes(encoded[at + 5 : at + 7])
        # Fill bytes and markers without a length are skipped alone, segments by their length.
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4])
    return 0, 0


def _gray(image: Pixels) -> Pixels:
    if image.ndim == 2:
        return image
    code = cv2.COLOR_BGRA2GRAY if image.shape[2] == 4 else cv2.COLOR_BGR2GRAY
    return cv2.cvtColor(image, code).astype(np.uint8, copy=False)


def _bgr(image: Pixels) -> Pixels:
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    return image[:, :, :3]
