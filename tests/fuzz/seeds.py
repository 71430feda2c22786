"""The seeds: real unusual files if they are there, and images, tables and messages of every kind that is read."""

import csv
import gzip
import io
import json
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from db.findings import NIH_FINDINGS
from tests.support.encoded_images import DEFLATE, LZW, bmp_of, chunk, encode, interlaced_png_of, png_of, tiff_of
from tests.support.world import HEADER, radiograph
from worker.artifacts.manifest import Manifest
from worker.images.preprocessing import Preprocessing
from worker.messaging.messages import Chunk, ChunkScan

#: Outside the checkout.
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
#: A small table of each layout.
_LAYOUTS = Path(__file__).parents[1] / "support" / "label_layouts"
#: A mutation of a larger file would rarely change anything that is read.
_MAX_BYTES = 48_000


def real_files(*folders):
    """The real unusual files of these folders, cut to a header and some content; empty if the folders are absent."""
    paths = [path for folder in folders for path in sorted((DATA / folder).glob("*")) if path.is_file()]
    return [path.read_bytes()[:_MAX_BYTES] if path.suffix in (".csv", ".dcm") else path.read_bytes() for path in paths]


def images():
    """Real unusual files and DICOMs, and one radiograph in every depth, colour and compression."""
    real = [content for content in real_files("odd", "dicom") if len(content) < 2 * _MAX_BYTES]
    return [*real, *_made_of(_real_radiograph())]


def tables():
    """Real unusual tables, one of each layout, and one of NIH's in every encoding, separator and quoting."""
    nih = _nih_table(",")
    return [
        *(path.read_bytes() for path in sorted(_LAYOUTS.glob("*.csv"))),
        *(content[: content.rfind(b"\n", 0, 4_000) + 1] for content in real_files("csv_variants")),
        *(nih.encode(), nih.encode("utf-8-sig"), nih.encode("utf-16"), gzip.compress(nih.encode(), mtime=0)),
        *(_nih_table(separator).encode() for separator in ";\t"),
        *(_nih_table(",", quoting=csv.QUOTE_ALL).encode(), b"sep=;\r\n" + _nih_table(";").encode()),
    ]


def wires():
    """Messages, manifests and splits; the first byte tells them apart."""
    scans = tuple(ChunkScan(outcome_id=number, location=f"/scans/{number}.png") for number in range(1, 5))
    message = Chunk(ledger="b" * 12, model="a" * 64, scans=scans).to_message()
    manifest = Manifest(
        name="m", findings=NIH_FINDINGS, dataset="d", files={"model.keras": "b" * 64}, thresholds={"Mass": {"y": 0.4}}
    )
    newer = manifest.model_copy(
        update={
            "format_version": 2,
            "preprocessing": Preprocessing(rule=2, crop="center", bits=12, range=(-1024, 1024)),
            "views": ("AP", "PA"),
        }
    )
    split = "image_name,patient_id,subset\n00000001_000.png,1,train\n00000002_000.png,2,test\n"
    return [
        *(b"\0" + json.dumps(message).encode(), b"\0" + json.dumps({**message, "version": 1}).encode()),
        *(
            b"\1" + manifest.model_dump_json().encode(),
            b"\1" + newer.model_dump_json().encode(),
            b"\2" + split.encode(),
        ),
    ]


def _real_radiograph():
    path = next((DATA / "nih1024" / "images").glob("*.png"), None)
    if path is None:
        return radiograph(1, side=61)[:, :53].copy()
    return cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (53, 61), interpolation=cv2.INTER_AREA)


def _made_of(gray):
    wide = gray.astype(np.uint16)
    colors = np.dstack([gray, gray[::-1], gray[:, ::-1]])
    palette = chunk(b"PLTE", bytes(range(256)) * 3)
    return [
        *(png_of(gray >> (8 - bits), bits) for bits in (1, 2, 4)),
        *(
            png_of(gray),
            png_of(wide * 257, 16),
            png_of(wide << 4, 16),
            interlaced_png_of(gray),
            png_of(colors, color=2),
        ),
        *(png_of(np.dstack([gray, ~gray]), color=4), png_of(np.dstack([colors, gray]), color=6)),
        *(
            png_of(gray, color=3, extra=palette),
            png_of(gray, color=3, extra=palette + chunk(b"tRNS", bytes(range(256)))),
        ),
        *(png_of(gray, extra=extra) for extra in (chunk(b"gAMA", b"\0\0\xb1\x8f"), chunk(b"tEXt", b"Title\0chest"))),
        *(_by_pillow(gray, form, exif=6) for form in ("PNG", "JPEG")),
        *(encode(gray, ".jpg"), encode(colors, ".jpg"), _by_pillow(colors, "JPEG", progressive=True)),
        *(cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes(), _cmyk(colors)),
        *(tiff_of(gray), tiff_of(gray, compression=DEFLATE, rows_per_strip=8), tiff_of(colors, compression=DEFLATE)),
        *(tiff_of(gray, compression=LZW, rows_per_strip=8), tiff_of(wide * 257, order=">"), tiff_of(wide << 4)),
        *(tiff_of(wide * 257, compression=DEFLATE), tiff_of(gray >> 4, bits=4, photometric=0, compression=DEFLATE)),
        tiff_of(gray, photometric=3, t320=tuple(range(0, 3 * 256 * 85, 85)), t274=(6,)),
        *(bmp_of(gray, 8, palette=range(256)), bmp_of(colors, 24), bmp_of(gray >> 7, 1, palette=(0, 255))),
    ]


def _by_pillow(image, form, *, exif=None, **options):
    stored, tags = io.BytesIO(), Image.Exif()
    if exif:
        tags[0x0112] = exif
    Image.fromarray(image).save(stored, form, exif=tags, **options)
    return stored.getvalue()


def _cmyk(colors):
    stored = io.BytesIO()
    Image.fromarray(colors).convert("CMYK").save(stored, "JPEG")
    return stored.getvalue()


def _nih_table(separator, quoting=csv.QUOTE_MINIMAL):
    stored = io.StringIO()
    writer = csv.writer(stored, delimiter=separator, quoting=quoting)
    writer.writerow(HEADER)
    for number, finding in islice(enumerate(NIH_FINDINGS), 6):
        writer.writerow([f"{number:08d}_000.png", f"{finding}|Mass", 0, number, "060Y", "M", "PA", 96, 96, 0.1, 0.1])
    return stored.getvalue()
