"""Which scans an artifact's model has seen, by the rule of `db.metrics.held_out`."""

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from db.labels.csv_file import LabelRow
from db.metrics.held_out import FITTED_SUBSETS, ScanIdentity, SeenScans, find_seen_scans
from worker.artifacts.manifest import Artifact
from worker.artifacts.split_file import SplitRow, read_split

_UNKNOWN: Final[Mapping[str, str]] = MappingProxyType({})


def unseen_rows(
    dataset: str,
    rows: Sequence[LabelRow],
    artifact: Artifact,
    *,
    contents: Mapping[str, str] = _UNKNOWN,
    used: Container[str] = FITTED_SUBSETS,
) -> list[LabelRow]:
    """The rows of which neither the scan nor the patient is in these subsets of the artifact's split.

    Args:
        dataset: the rows' dataset.
        rows: the scans of a CSV.
        artifact: the model.
        contents: `sha256:...` of the encoded images by image name, as far as they are known.
        used: subsets of the artifact's split.
    """
    seen = find_seen(_identities(dataset, rows, contents), artifact, used=used)
    return [row for row, itself, patient in zip(rows, seen.itself, seen.patient, strict=True) if not itself | patient]


def used_rows(dataset: str, rows: Sequence[LabelRow], artifact: Artifact, *, used: Container[str]) -> list[LabelRow]:
    """The rows whose scan itself is in these subsets of the artifact's split."""
    seen = find_seen(_identities(dataset, rows, _UNKNOWN), artifact, used=used)
    return [row for row, itself in zip(rows, seen.itself, strict=True) if itself]


def find_seen(scans: Sequence[ScanIdentity], artifact: Artifact, *, used: Container[str]) -> SeenScans:
    """Which of these scans the artifact's model has seen, if it has seen only these subsets of its split."""
    split = read_split(artifact.folder)
    return find_seen_scans(scans, [identity_of(row, artifact.manifest.dataset) for row in split if row.subset in used])


def identity_of(row: SplitRow, dataset: str) -> ScanIdentity:
    """What a row of a split is recognised by; `dataset` is the row's if it names none."""
    return ScanIdentity(
        dataset=row.dataset or dataset, image_name=row.image_name, patient_id=row.patient_id, content=row.content
    )


def _identities(dataset: str, rows: Sequence[LabelRow], contents: Mapping[str, str]) -> list[ScanIdentity]:
    return [
        ScanIdentity(
            dataset=dataset,
            image_name=row.image_name,
            patient_id=row.patient_id,
            content=contents.get(row.image_name),
        )
        for row in rows
    ]
