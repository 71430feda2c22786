"""Which rows the model has not seen: the rule of db.metrics.held_out, for rows in memory."""

from collections.abc import Container, Sequence

from db.labels.csv_file import LabelRow
from worker.artifacts.manifest import Artifact
from worker.artifacts.split_file import read_split


def unseen_rows(
    dataset: str, rows: Sequence[LabelRow], artifact: Artifact, *, used: Container[str] = ("train", "validation")
) -> list[LabelRow]:
    """Those whose scan and patient the model has not used in these ways, by the rule of `db.metrics.held_out`."""
    seen = [one for one in read_split(artifact.folder) if one.subset in used]
    patients = {one.patient_id for one in seen} if dataset == artifact.manifest.dataset else set()
    itself = set(used_rows(rows, artifact, used=used))
    patients |= {row.patient_id for row in itself}
    patients.discard(None)
    return [row for row in rows if row not in itself and row.patient_id not in patients]


def used_rows(rows: Sequence[LabelRow], artifact: Artifact, *, used: Container[str]) -> list[LabelRow]:
    """Those that the model itself has used in these ways: of the same name, and of no other patient."""
    names = {one.image_name: one.patient_id for one in read_split(artifact.folder) if one.subset in used}

    def itself(row: LabelRow) -> bool:
        fitted = names.get(row.image_name)
        return row.image_name in names and (None in {fitted, row.patient_id} or fitted == row.patient_id)

    return [row for row in rows if itself(row)]
