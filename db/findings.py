"""The vocabulary of NIH ChestX-ray14: fourteen findings, `No Finding`, and `Abnormal`.

Source: Wang et al., ChestX-ray8, CVPR 2017; the fourteen terms are those of `Data_Entry_2017.csv`.
"""

from typing import Final

NIH_FINDINGS: Final = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
#: A label in its own right: the scan was read and nothing was found.
NO_FINDING: Final = "No Finding"
#: Positive if any of the fourteen findings is.
ABNORMAL: Final = "Abnormal"
#: The findings that a model may score, in the order of columns everywhere.
FINDINGS: Final = (ABNORMAL, *NIH_FINDINGS)


def column_of(finding: str) -> str:
    """The SQL column that holds a finding's score: `Pleural_Thickening` is `pleural_thickening`."""
    return finding.lower()
