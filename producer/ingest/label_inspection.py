"""`producer labels --inspect`: counts what a labels CSV says, without writing anything."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from db.findings import NO_FINDING, SPECIFIC_FINDINGS
from db.labels.csv_file import LabelsFile


@dataclass(frozen=True, kw_only=True)
class FindingCounts:
    """How many scans of a file have a finding, do not, may, or are not said to."""

    positive: int
    negative: int
    uncertain: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class LabelInspection:
    """What a labels CSV says. The fields are keys of JSON, so they are public interface."""

    #: `list`, `bracketed list`, `columns`, `rows` or `unlabelled`.
    layout: str
    #: See `LabelsFile`.
    reading: Mapping[str, str]
    sha256: str
    dataset: str
    #: What each column that is read holds, by its name.
    columns: Mapping[str, str]
    unread_columns: tuple[str, ...]
    rows: int
    scans: int
    #: Distinct patients, and scans without one.
    patients: int
    scans_without_patient: int
    #: Scans of which the file says something.
    labelled: int
    #: `No Finding`, and each finding of which the file says something.
    findings: Mapping[str, FindingCounts]
    #: Rows by unknown word that is left out.
    ignored_words: Mapping[str, int]


def inspect_labels(file: LabelsFile) -> LabelInspection:
    """Count what a labels CSV says."""
    patients = {row.patient_id for row in file.rows} - {None}
    return LabelInspection(
        layout=file.reading["layout"],
        reading=file.reading,
        sha256=file.sha256,
        dataset=file.dataset,
        columns=file.columns,
        unread_columns=file.unread,
        rows=file.line_count,
        scans=len(file.rows),
        patients=len(patients),
        scans_without_patient=sum(row.patient_id is None for row in file.rows),
        labelled=sum(row.is_labelled for row in file.rows),
        findings=dict(_count_findings(file)),
        ignored_words=file.ignored,
    )


def _count_findings(file: LabelsFile) -> Iterator[tuple[str, FindingCounts]]:
    labelled = [row for row in file.rows if row.is_labelled]
    positive = Counter(finding for row in labelled for finding in row.findings)
    uncertain = Counter(finding for row in labelled for finding in row.uncertain)
    negative = Counter(finding for row in labelled for finding in row.negative)
    for finding in (NO_FINDING, *SPECIFIC_FINDINGS):
        # A labelled row says `No Finding`, or it does not.
        covered = finding in (NO_FINDING, *file.covered)
        absent = len(labelled) - positive[finding] - uncertain[finding] if covered else negative[finding]
        counts = FindingCounts(
            positive=positive[finding],
            negative=absent,
            uncertain=uncertain[finding],
            unknown=len(file.rows) - positive[finding] - uncertain[finding] - absent,
        )
        if counts.unknown < len(file.rows):
            yield finding, counts
