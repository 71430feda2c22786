"""Words the questions that a person must settle: which of two scans, images or patients is meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db.labels.csv_file import LabelRow
from db.ledger.scans import Conflict
from worker.storage.matching import Listing
from worker.storage.rows import contradicted_patients


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """What a source itself says in two ways of one scan."""

    #: Of two images with one SOP Instance UID and different bytes; else None.
    locations: tuple[str, str] | None = None
    #: The header's and the CSV's, where they differ; else None.
    patients: tuple[str, str] | None = None

    @property
    def sentence(self) -> str:
        """What differs, without any name."""
        if self.locations:
            return "the source has two different images with this SOP Instance UID; 'producer enqueue' names both"
        return "the CSV names another patient for this scan than the image's header"


def find_contradictions(rows: Sequence[LabelRow], listing: Listing) -> dict[str, Contradiction]:
    """The contradictions of a source, by image name.

    Args:
        rows: as `rows_with_headers` completed them.
        listing: their images.
    """
    found = {name: Contradiction(patients=patients) for name, patients in contradicted_patients(rows, listing)}
    names = {row.image_name for row in rows} if listing.conflicts else set[str]()
    return found | {
        name: Contradiction(locations=places) for name, places in listing.conflicts.items() if name in names
    }


def describe_contradictions(contradictions: Mapping[str, Contradiction], source: str) -> str:
    """One sentence with both places or patients of the first scan, and what settles it.

    Args:
        contradictions: at least one, by image name.
        source: the CSV or folder, as people know it.
    """
    name = min(contradictions)
    first = contradictions[name]
    count = f" ({len(contradictions):,} scans are in doubt)" if len(contradictions) > 1 else ""
    if first.locations:
        return (
            "{}: two different images have the SOP Instance UID {}: {!r} and {!r}{}; remove one of them, score their "
            "folders as two datasets, each with its own --images and --dataset, or let 'producer nightly --now' reject "
            "such scans and score the others"
        ).format(source, name, *first.locations, count)
    patients = first.patients or ("", "")
    return (
        "{}: the header of {!r} names patient {!r} and the CSV patient {!r}{}; correct the CSV, or add "
        "--correct-patients if the CSV's patients are right"
    ).format(source, name, *patients, count)


def describe_conflicts(conflicts: Mapping[str, Conflict], source: str, dataset: str) -> str:
    """One sentence with both places or patients of the first scan, and the flags that settle it.

    Args:
        conflicts: at least one, by image name.
        source: the CSV or folder, as people know it.
        dataset: the dataset in which the names are known.
    """
    first = conflicts[min(conflicts)]
    differences = []
    if first.patients:
        differences.append("is of patient {} there and of patient {} here".format(*first.patients))
    if first.locations:
        differences.append("is {} there and {}, with other bytes, here".format(*first.locations))
    remedies = ["--dataset NAME if they are other scans"]
    if any(conflict.locations for conflict in conflicts.values()):
        remedies.append("--moved if the same scans lie there now")
    if any(conflict.patients for conflict in conflicts.values()):
        remedies.append("--correct-patients if the source's patients are right")
    which = f"{len(conflicts):,} scans are others" if len(conflicts) > 1 else "one scan is another"
    both = " (both, if both are so)" if len(remedies) > 2 else ""
    return (
        f"{source}: {which} in dataset {dataset!r}: {first.image_name!r} {' and '.join(differences)}; "
        f"add {', or '.join(remedies)}{both}"
    )
