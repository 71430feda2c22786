"""The scans that count as those that an imported network was fitted on."""

from pathlib import Path

from db.labels.csv_file import read_labels_csv
from worker.artifacts.split_file import SplitRow


def read_fitted_scans(csv: Path) -> tuple[SplitRow, ...]:
    """All scans of a labels CSV, as if the network was fitted on each. A list that has too many is honest, too.

    Raises:
        UserError: see `db.labels.csv_file.read_labels_csv`.
    """
    file = read_labels_csv(csv)
    return tuple(
        SplitRow(image_name=row.image_name, patient_id=row.patient_id, subset="train", dataset=file.dataset)
        for row in file.rows
    )
