"""Turns encoded bytes into pixels: the one preprocessing that training and serving share.

These rules give a radiograph the same pixels in whatever lossless way it is stored:

- A gray image stays as it is. In a colour image alpha is dropped, and luma is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601
  in cv2's integer arithmetic, exact if R = G = B). A palette is looked up first.
- 1, 2 and 4 bits are spread over 0..255. 16 bits are cut to 8 by `>> 8`, which undoes v * 257 and v << 8 alike. But if
  the values fit 8, 10, 12 or 14 bits, a detector used only those bits, and the upper 8 of them are taken. So an image
  stored with 16 bits whose brightest gray is below 64 of 255 comes out brighter than with 8. Under rule 1 the largest
  value decides. Under rule 2 the brightest hundredth does not, nor does any number of pixels of 65535: they may be
  defects, markers or a border, and become white if they do not fit. 15 bits are known too.
- If 0 means white (TIFF), gray is inverted. Orientation tags are obeyed. CMYK in a JPEG is taken as inverted, as
  Adobe's programs write it, with or without their marker.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError
from worker.dicom.admission import REFUSED
from worker.dicom.dataset import SNIFFED_BYTES, is_dicom
from worker.dicom.film import decode_film
from worker.images.bit_depth import to_uint8
from worker.images.colour import has_colour
from worker.images.fast.lazy_import import LazyImport
from worker.images.fast.plain_png import read_plain_gray
from worker.images.formats import Format, check_content
from worker.images.jpeg import check_stream
from worker.images.preprocessing import RULE_1, Preprocessing
from worker.images.tiff import decode_tiff
from worker.settings import MAX_PIXELS

Pixels = NDArray[np.uint8]

#: Increased whenever an image that could be decoded before would give different pixels or notes under the same rule.
PIXELS_VERSION: Final = 2
#: The note, and the reason of a rejection, of an image that has colour in it.
COLOUR: Final = "colour"

_INTERPOLATION: Final = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}
#: Any depth, alpha dropped, EXIF's orientation obeyed. IMREAD_UNCHANGED would keep alpha and ignore the orientation.
_AS_STORED: Final = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR

#: Bytes of PNGs that cv2 decodes before the faster code is loaded: about 20 radiographs. Loading takes 0.5 s, which 80
#: radiographs make up for (4 s if it is compiled first). A process that decodes only a few does not pay for it.
_LOAD_FAST_AFTER_BYTES: Final = 8_000_000
_fast_code: Final = LazyImport(
    "worker.images.fast.png_unfilter", "worker.images.fast.area_resize", threshold=_LOAD_FAST_AFTER_BYTES
)

# The outcome of a damaged image says what is wrong with it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """An image at its full resolution, as a model's rule decodes it, before it is cropped and resized."""

    #: uint8 (height, width), or (height, width, 3) BGR, upright.
    image: Pixels
    #: Codes of what is unusual about the image, such as `COLOUR`.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """What an image has become for a model."""

    #: uint8 (height, width, channels).
    pixels: Pixels
    #: Codes of what is unusual about the image, such as `COLOUR`.
    notes: tuple[str, ...] = ()


def keep_to_cv2() -> None:
    """Have this process decode and resize by cv2 alone, to the same pixels.

    For one that shows images as a person asks for them: the faster code takes 0.5 s and 60 MB to load, 4 s and 150 MB
    if it is compiled first, and saves 5 ms an image.
    """
    _fast_code.disable()


def made_by(rule: Preprocessing) -> str:
    """Names the rule and all code that decides pixels: a cache must not mix the pixels of two such names."""
    decoders = ("pydicom", "imagecodecs") if rule.rule >= 2 else ()
    codecs = "".join(f" {name} {version(name)}" for name in decoders)
    # Another version of cv2 may round differently.
    return f"{PIXELS_VERSION} cv2 {cv2.__version__}{codecs} {rule.model_dump_json()}"


def decode(encoded: bytes, max_pixels: int = MAX_PIXELS, rule: Preprocessing = RULE_1) -> Pixels:
    """Decode a PNG, JPEG, TIFF or BMP, told by its content, completely or not at all.

    Args:
        encoded: the whole content of a file.
        max_pixels: an image that claims more pixels is refused before it is decoded.
        rule: says how 16 bits become 8.

    Returns:
        uint8 (height, width) or (height, width, 3) BGR, upright.

    Raises:
        PermanentError: `empty`, `not_image`, `dicom`, `truncated` (or damaged), `too_large`, `unsupported`, or
            `constant` (all pixels are equal: a model would give it a confident score without meaning).
    """
    image, _ = _decode(encoded, max_pixels, rule)
    return image


def preprocess(image: Pixels, rule: Preprocessing) -> Pixels:
    """Turn a decoded image, as `decode` returns it, into pixels: uint8 of `rule.shape`."""
    cropped = _square(image) if rule.crop == "center" else image
    colored = _gray(cropped) if rule.color == "gray" else _bgr(cropped)
    return np.ascontiguousarray(_resized(colored, rule).reshape(rule.shape), dtype=np.uint8)


def prepare(
    encoded: bytes,
    rule: Preprocessing,
    max_pixels: int = MAX_PIXELS,
    refused: AbstractSet[str] = REFUSED,
) -> PreparedImage:
    """Decode an image, note what is unusual about it, and preprocess it. Takes and raises what `decode_full` does."""
    decoded = decode_full(encoded, rule, max_pixels, refused)
    return PreparedImage(pixels=preprocess(decoded.image, rule), notes=decoded.notes)


def decode_full(
    encoded: bytes,
    rule: Preprocessing,
    max_pixels: int = MAX_PIXELS,
    refused: AbstractSet[str] = REFUSED,
) -> DecodedImage:
    """Decode an image of any supported format, and note what is unusual about it.

    Args:
        encoded: the whole content of a file.
        rule: the preprocessing. Its size, colour and crop are not applied.
        max_pixels: an image that claims more pixels is refused before it is decoded.
        refused: the codes that reject a DICOM film, see `worker.dicom.admission.refused_codes`.

    Raises:
        PermanentError: as `decode`, or one of `refused`.
    """
    if rule.rule >= 2 and is_dicom(encoded[:SNIFFED_BYTES]):
        film = decode_film(encoded, rendering=rule.rendering, max_pixels=max_pixels, refused=refused)
        return DecodedImage(image=_varied(film.image), notes=film.notes)
    image, notes = _decode(encoded, max_pixels, rule)
    return DecodedImage(image=image, notes=(*notes, COLOUR) if has_colour(image) else notes)


def to_pixels(encoded: bytes, rule: Preprocessing, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels alone, uint8 of `rule.shape`. Raises what `decode` raises."""
    return prepare(encoded, rule, max_pixels).pixels


def _decode(encoded: bytes, max_pixels: int, rule: Preprocessing) -> tuple[Pixels, tuple[str, ...]]:
    """What `decode` returns, and notes on it."""
    stored, is_inverted = _DECODERS[check_content(encoded, max_pixels)](encoded)
    image, notes = to_uint8(stored, rule)
    return _varied(~image if is_inverted else image), notes


def _decode_png(encoded: bytes) -> NDArray[Any]:
    plain = read_plain_gray(encoded) if _fast_code.is_ready(len(encoded)) else None
    return _decode_by_cv2(encoded) if plain is None else plain


def _decode_jpeg(encoded: bytes) -> NDArray[Any]:
    check_stream(encoded)
    return _decode_by_cv2(encoded)


def _decode_by_cv2(encoded: bytes) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), _AS_STORED)
    except cv2.error as error:
        raise PermanentError("truncated", "the image is damaged: it cannot be decoded") from error
    if image is None:
        raise PermanentError(
            "truncated", "the image is truncated or damaged: its content ends early or contradicts itself"
        )
    return image


#: To uint8 or uint16 (height, width) or (height, width, 3) BGR, and whether 0 is white in it.
_DECODERS: Final[Mapping[Format, Callable[[bytes], tuple[NDArray[Any], bool]]]] = {
    "png": lambda encoded: (_decode_png(encoded), False),
    "jpeg": lambda encoded: (_decode_jpeg(encoded), False),
    "tiff": decode_tiff,
    "bmp": lambda encoded: (_decode_by_cv2(encoded), False),
}


def _varied(image: Pixels) -> Pixels:
    if _is_constant(image):
        raise PermanentError("constant", "all pixels of the image have the same value, so there is nothing to score")
    return image


def _is_constant(image: Pixels) -> bool:
    # One row is enough to rule out almost all images.
    return bool((image[len(image) // 2] == image[0, 0]).all() and (image == image[0, 0]).all())


def _square(image: Pixels) -> Pixels:
    """The middle of an image, a view without a copy.

    Where it begins: `XRayCenterCrop` in torchxrayvision/datasets.py, for which many public models were fitted.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = height // 2 - side // 2, width // 2 - side // 2
    return image[top : top + side, left : left + side]


def _resized(image: Pixels, rule: Preprocessing) -> NDArray[Any]:
    if rule.interpolation == "area" and image.ndim == 2 and _fast_code.is_ready(0):
        # Importing it compiles it.
        from worker.images.fast.area_resize import resize_area

        small = resize_area(image, rule.height, rule.width)
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
