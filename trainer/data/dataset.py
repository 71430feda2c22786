"""The labelled scans of a CSV: their images, their rows, and their pixels in the cache."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.labels.csv_file import LabelRow
from db.ledger.scans import FoundImage
from db.settings import load_settings
from trainer.console.progress import print_status, stage
from trainer.data.decoded_images import load_decoded_images
from worker.dicom.admission import REFUSED
from worker.images.pixels import Pixels
from worker.images.preprocessing import Preprocessing
from worker.settings import ModelSettings

#: If a larger share of the scans is unreadable, something is wrong with the data set and not with single images.
MAX_UNREADABLE_SHARE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Readable scans, to learn from or to evaluate on."""

    rows: tuple[LabelRow, ...]
    #: uint8 (M, H, W, C), a memory map of the cache; it has entries for unreadable scans too.
    pixels: Pixels
    #: (N,) index in `pixels` of each of `rows`.
    indices: NDArray[np.int64]
    #: `sha256:...` of the encoded image of each of `rows`.
    contents: tuple[str, ...]
    #: Reason code to the number of labelled scans that could not be read.
    unreadable: Mapping[str, int]

    @property
    def content_by_name(self) -> dict[str, str]:
        """`contents` by image name."""
        return {row.image_name: content for row, content in zip(self.rows, self.contents, strict=True)}

    def select(self, rows: Collection[LabelRow]) -> "Examples":
        """The examples of these rows; they keep their order."""
        wanted = set(rows)
        kept = [number for number, row in enumerate(self.rows) if row in wanted]
        return replace(
            self,
            rows=tuple(self.rows[number] for number in kept),
            indices=self.indices[kept],
            contents=tuple(self.contents[number] for number in kept),
        )


def read_scans(
    rows: Sequence[LabelRow], found: Mapping[str, FoundImage], rule: Preprocessing, *, cache: Path
) -> Examples:
    """As `load_examples`; shows the progress and prints how many scans were left out.

    Raises:
        UserError: more than 5% of the scans cannot be read.
    """
    with stage("reading scans", total=len(rows)) as advance:
        examples = load_examples(rows, found, rule, cache=cache, advance=advance)
    for reason, count in examples.unreadable.items():
        print_status(f"left out {count} unreadable scans ({reason})")
    return examples


def load_examples(
    rows: Sequence[LabelRow],
    found: Mapping[str, FoundImage],
    rule: Preprocessing,
    *,
    cache: Path,
    advance: Callable[[int], None] | None = None,
) -> Examples:
    """Read the scans of these rows through the cache.

    Args:
        rows: the scans.
        found: the images by name, as `worker.storage.image_store.find_images` lists them.
        rule: the preprocessing.
        cache: the folder of pixel caches.
        advance: called with the number of scans just done.

    Raises:
        UserError: more than 5% of the scans cannot be read.
    """
    # A fit takes no film that a worker with these settings refuses, except for lateral ones: that choice is the CSV's.
    refused = REFUSED - load_settings(ModelSettings).admitted
    images = [found.get(row.image_name) for row in rows]
    cached = load_decoded_images(cache, images, rule, refused=refused, advance=advance)
    unreadable = Counter(cached.unreadable.values())
    check_unreadable_share(unreadable, len(rows))
    indices = [index for index in range(len(rows)) if index not in cached.unreadable]
    return Examples(
        rows=tuple(rows[index] for index in indices),
        pixels=cached.pixels,
        indices=np.array(indices, np.int64),
        contents=tuple(f"sha256:{cached.hashes[index].tobytes().hex()}" for index in indices),
        unreadable=unreadable,
    )


def check_unreadable_share(unreadable: Counter[str], total: int) -> None:
    """Refuse a data set of which too much cannot be read; `unreadable` counts scans by reason.

    Raises:
        UserError: more than 5% cannot be read.
    """
    count = unreadable.total()
    if count > MAX_UNREADABLE_SHARE * total:
        reasons = ", ".join(f"{number} {reason}" for reason, number in unreadable.most_common())
        raise UserError(
            f"{count} of {total} labelled scans cannot be read ({reasons});"
            f" at most {MAX_UNREADABLE_SHARE:.0%} may be unreadable"
        )
