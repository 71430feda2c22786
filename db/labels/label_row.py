"""What a labels CSV says: a file and its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from db.findings import NIH_FINDINGS, NO_FINDING


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRow:
    """One scan of a labels CSV, its labels and its patient."""

    #: The image's path relative to the images' folder, with its parts joined by '/'.
    image_name: str
    #: The positive ones, sorted; (`No Finding`,) means normal.
    findings: tuple[str, ...]
    patient_id: str | None
    view: str | None
    sex: str | None
    age_years: float | None
    follow_up: int | None
    #: Findings that may be there or not. They are neither positive nor negative.
    uncertain: tuple[str, ...] = ()
    #: Findings that the row says are absent, and are not in `LabelsFile.covered`; `No Finding` if the row is labelled
    #: but names nothing. A row that has no finding in any of the three is unlabelled.
    negative: tuple[str, ...] = ()

    @property
    def is_labelled(self) -> bool:
        """Whether the row says anything of its scan's findings."""
        return bool(self.findings or self.uncertain or self.negative)

    def joined(self, other: "LabelRow") -> "LabelRow | None":
        """Both rows as one, where each names one finding or box of the same scan, and they differ.

        `No Finding` does not stay: of several readers, one who finds something counts.

        Returns:
            None if the rows differ in more than their findings.
        """
        if replace(self, findings=other.findings, negative=other.negative) != other:
            return None
        if not (self.is_labelled and other.is_labelled):
            return self if self.is_labelled else other
        findings = {*self.findings, *other.findings} - {NO_FINDING}
        return replace(self, findings=tuple(sorted(findings)), negative=() if findings else (NO_FINDING,))


@dataclass(frozen=True, kw_only=True)
class LabelsFile:
    """A labels CSV as it was read."""

    path: Path
    #: Hash of the file's bytes as they are stored, gzipped or not, and of all that made the file be read otherwise than
    #: NIH's is: other columns or other meanings give other labels.
    sha256: str
    #: The CSV's stem. Image names are unique within a dataset.
    dataset: str
    #: One row for each image, in the order in which the file first names them.
    rows: tuple[LabelRow, ...]
    #: Findings that are absent wherever a labelled row does not name them, in the order of `SPECIFIC_FINDINGS`. What
    #: the file says nothing of is unknown: NIH's labels do not tell whether a rib is broken.
    covered: tuple[str, ...] = NIH_FINDINGS
    #: How the file was read where that decides a label: its layout, what -1 and blanks mean, which terms were mapped,
    #: and which words were ignored. For people.
    reading: Mapping[str, str] = field(default_factory=dict)
    #: Words that were left out because they are unknown, and the number of rows that have them.
    ignored: Mapping[str, int] = field(default_factory=dict)
    #: What each column that was read holds, by its name in the file.
    columns: Mapping[str, str] = field(default_factory=dict)
    #: The names of the columns that were not read.
    unread: tuple[str, ...] = ()
    #: Rows of the file; an image may have several.
    line_count: int = 0
