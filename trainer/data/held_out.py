"""Which rows a model has not seen, by the rule of `db.metrics.held_out`, for rows in memory."""

from collections.abc import Container, Sequence

from db.labels.csv_file import LabelRow
from worker.artifacts.manifest import Artifact
from worker.artifacts.split_file import read_split


def unseen_rows(
    dataset: str, rows: Sequence[LabelRow], artifact: Artifact, *, used: Container[str] = ("train", "validation")
) -> list[LabelRow]:
    """The rows of which neither the scan nor the patient is in these subsets of the artifact's split."""
    split_rows = [row for row in read_split(artifact.folder) if row.subset in used]
    # Patient ids of another dataset stand for other people.
    patients = {row.patient_id for row in split_rows} if dataset == artifact.manifest.dataset else set()
    seen = set(used_rows(rows, artifact, used=used))
    patients |= {row.patient_id for row in seen}
    patients.discard(None)
    return [row for row in rows if row not in seen and row.patient_id not in patients]


def used_rows(rows: Sequence[LabelRow], artifact: Artifact, *, used: Container[str]) -> list[LabelRow]:
    """The rows whose scan is in these subsets of the artifact's split: the same image name, and no other patient."""
    patients = {row.image_name: row.patient_id for row in read_split(artifact.folder) if row.subset in used}

    def is_used(row: LabelRow) -> bool:
        patient = patients.get(row.image_name)
        return row.image_name in patients and (None in {patient, row.patient_id} or patient == row.patient_id)

    return [row for row in rows if is_used(row)]
