"""A file's first bytes tell what it is."""

import numpy as np
import pytest

from trainer.phantoms.dicom_file import dicom_file
from worker.storage.content import OTHER_CONTENTS, image_format, other_content

PNG, DICOM = b"\x89PNG\r\n\x1a\n" + bytes(90), dicom_file(np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("head", "form"),
    [
        *((PNG, "png"), (b"\xff\xd8\xff\xe0", "jpeg"), (b"II*\0", "tiff"), (b"MM\0*", "tiff"), (DICOM, "dicom")),
        *((b"BM" + bytes(12) + b"\x28\0\0\0", "bmp"), (b"BM and so on, a text", None), (PNG[1:], None), (b"", None)),
    ],
)
def test_a_supported_image_is_told_by_its_first_bytes(head, form):
    """A BMP also by its header, because any text may begin with BM."""
    assert image_format(head[:512]) == form


@pytest.mark.parametrize(
    ("head", "key"),
    [
        *((b"GIF89a", "gif"), (b"RIFF\0\0\0\0WEBP", "webp"), (b"\0\0\0\x0cjP  ", "jpeg2000"), (b"II+\0", "bigtiff")),
        *((b"\0\0\0\x20ftypheic", "heif"), (b"%PDF-1.7\n%\xe2\xe3", "pdf"), (b"PK\x03\x04\0", "zip")),
        *((b"\x1f\x8b\x08\0", "gzip"), (b"  <!DOCTYPE html><p>", "html"), (b"<?xml version='1.0'?>", "xml")),
        *((b"version https://git-lfs", "lfs"), (b"", "empty"), (b"name;finding\r\n1;\xfc\r\n", "text")),
        *(("ü".encode() * 300, "text"), (b"\xff\xfea\0b\0", "text"), (bytes(600), "other"), (b"\x7fELF\1\1", "other")),
    ],
)
def test_everything_else_has_a_kind_under_which_it_is_counted(head, key):
    """The keys are in JSON: public interface."""
    assert other_content(head).key == key


def test_no_two_kinds_share_a_key():
    """They would be counted as one."""
    assert len({kind.key for kind in OTHER_CONTENTS}) == len(OTHER_CONTENTS)
