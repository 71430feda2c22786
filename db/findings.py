"""The vocabulary: NIH ChestX-ray14's findings, CheXpert's further ones, `No Finding`, and `Abnormal`.

Sources: Wang et al., ChestX-ray8, CVPR 2017, whose fourteen terms are those of `Data_Entry_2017.csv`; Irvin et al.,
CheXpert, AAAI 2019, whose other terms torchxrayvision has too.
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
#: CheXpert's findings that NIH has not. Its Pleural Effusion is NIH's Effusion.
CHEXPERT_FINDINGS: Final = (
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Other",
    "Support Devices",
)
#: The findings that a label may name.
SPECIFIC_FINDINGS: Final = (*NIH_FINDINGS, *CHEXPERT_FINDINGS)
#: A label in its own right: the scan was read and nothing was found.
NO_FINDING: Final = "No Finding"
#: Positive if any of NIH's fourteen findings is; CheXpert's others do not count.
ABNORMAL: Final = "Abnormal"
#: The findings that a model may score, in the order of columns everywhere.
FINDINGS: Final = (ABNORMAL, *SPECIFIC_FINDINGS)


def column_of(finding: str) -> str:
    """The SQL column that holds a finding's score: that of `Lung Opacity` is `lung_opacity`."""
    return finding.lower().replace(" ", "_")
