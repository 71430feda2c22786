"""From encoded bytes to pixels: the one preprocessing that training and serving share.

The rule for gray, so that a radiograph gives the same pixels in whatever lossless way it is stored:

- A gray image stays as it is. Of colour, alpha is dropped and luma is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, cv2's
  integer arithmetic, exact where R = G = B). A palette is looked up first.
- 1, 2 and 4 bits are spread over 0..255. 16 bits are cut to 8 by `>> 8`, which undoes v * 257 and v << 8 alike; but
  where the greatest value fits 8, 10, 12 or 14 bits, those are the bits that a detector used, and the upper 8 of them
  count. So a film stored at 16 bits whose brightest gray is below 64 of 255 comes out brighter than at 8.
- Where 0 means white (TIFF), gray is inverted. Orientation tags are obeyed. CMYK in a JPEG is taken as inverted, as
  Adobe's programs write it, with their marker or without.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError
from worker.images.bit_depth import eight_bits
from worker.images.fast.lazy_import import Deferred
from worker.images.fast.plain_png import read_plain_gray
from worker.images.formats import Format, check_content
from worker.images.jpeg import check_stream
from worker.images.preprocessing import Preprocessing
from worker.images.tiff import decode_tiff
from worker.settings import MAX_PIXELS

Pixels = NDArray[np.uint8]

#: Raised whenever an image that could be decoded before would give other pixels.
PIXELS_VERSION: Final = 1

_INTERPOLATION: Final = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}
#: Every depth, alpha dropped, EXIF's orientation obeyed (IMREAD_UNCHANGED would keep the one and ignore the other).
_AS_STORED: Final = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR

#: Bytes of PNGs that are cv2's alone before what is quicker is loaded: about 20 radiographs. That takes 0.5 s, which 80
#: of them make good (and 4 s where it is compiled first): who decodes a few must not pay for it.
_WORTH: Final = 8_000_000
_compiled: Final = Deferred("worker.images.fast.png_unfilter", "worker.images.fast.area_resize", worth=_WORTH)

# What cv2 logs of a damaged image ends as the outcome's sentence.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(encoded: bytes, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode a PNG, JPEG, TIFF or BMP, chosen by content, fully or not at all.

    Args:
        encoded: the whole content of a file.
        max_pixels: an image that claims more is refused before it is decoded.

    Returns:
        uint8 (height, width) or (height, width, 3) BGR, upright.

    Raises:
        PermanentError: `empty`, `not_image`, `dicom`, `truncated` (damaged counts too), `too_large`, `unsupported`, or
            `constant` (nothing to score: a model would give it a confident score without meaning).
    """
    form = check_content(encoded, max_pixels)
    image = eight_bits(_DECODERS[form](encoded))
    if _is_constant(image):
        raise PermanentError("constant", "every pixel of the image has the same value: there is nothing to score")
    return image


def preprocess(image: Pixels, rule: Preprocessing) -> Pixels:
    """Turn a decoded image into pixels of `rule.shape`, uint8 in 0..255."""
    colored = _gray(image) if rule.color == "gray" else _bgr(image)
    return np.ascontiguousarray(_resized(colored, rule).reshape(rule.shape), dtype=np.uint8)


def to_pixels(encoded: bytes, rule: Preprocessing, max_pixels: int = MAX_PIXELS) -> Pixels:
    """`decode`, then `preprocess`."""
    return preprocess(decode(encoded, max_pixels), rule)


def _decode_png(encoded: bytes) -> NDArray[Any]:
    plain = read_plain_gray(encoded) if _compiled.is_ready(len(encoded)) else None
    return _decode_by_cv2(encoded) if plain is None else plain


def _decode_jpeg(encoded: bytes) -> NDArray[Any]:
    check_stream(encoded)
    return _decode_by_cv2(encoded)


def _decode_by_cv2(encoded: bytes) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), _AS_STORED)
    except cv2.error as error:
        raise PermanentError("truncated", "the image is damaged: the decoder gave up") from error
    if image is None:
        raise PermanentError("truncated", "the image is truncated or damaged: its content ends or contradicts itself")
    return image


_DECODERS: Final[Mapping[Format, Callable[[bytes], NDArray[Any]]]] = {
    "png": _decode_png,
    "jpeg": _decode_jpeg,
    "tiff": decode_tiff,
    "bmp": _decode_by_cv2,
}


def _is_constant(image: Pixels) -> bool:
    # One row tells of almost all images that they are not.
    return bool((image[len(image) // 2] == image[0, 0]).all() and (image == image[0, 0]).all())


def _resized(image: Pixels, rule: Preprocessing) -> NDArray[Any]:
    if rule.interpolation == "area" and image.ndim == 2 and _compiled.is_ready(0):
        # Compiled as it is imported.
        from worker.images.fast.area_resize import shrink

        small = shrink(image, rule.height, rule.width)
        if small is not None:
            return small
    return cv2.resize(image, (rule.width, rule.height), interpolation=_INTERPOLATION[rule.interpolation])


def _gray(image: Pixels) -> Pixels:
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)


def _bgr(image: Pixels) -> Pixels:
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    return image
