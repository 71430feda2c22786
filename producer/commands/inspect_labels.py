"""`producer labels --inspect`: says what a labels CSV would be read as."""

from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from db.counted import counted
from db.labels.csv_file import Reading, read_labels_csv
from producer.commands.common import out, print_ignored, print_json, print_line
from producer.ingest.label_inspection import LabelInspection, inspect_labels


def inspect_command(csv: Path, reading: Reading, *, as_json: bool) -> None:
    """Print what would be read. Neither CXR_HOME nor the database is opened."""
    inspected = inspect_labels(read_labels_csv(csv, reading))
    if as_json:
        print_json(asdict(inspected))
    else:
        _print(inspected)


def _print(inspected: LabelInspection) -> None:
    print_line("".join(f"{name}: {value}\n" for name, value in inspected.reading.items()).rstrip())
    print_line("columns: " + ", ".join(f"{name} ({content})" for name, content in inspected.columns.items()))
    if inspected.unread_columns:
        print_line(f"not read: {', '.join(inspected.unread_columns)}")
    without = f", {counted(inspected.scans_without_patient, 'scan')} without a patient"
    print_line(
        f"{counted(inspected.rows, 'row')}, {counted(inspected.scans, 'scan')} of "
        f"{counted(inspected.patients, 'patient')}{without if inspected.scans_without_patient else ''}; "
        f"{counted(inspected.labelled, 'scan')} labelled"
    )
    print_ignored(inspected.ignored_words)
    if inspected.findings:
        _print_findings(inspected)


def _print_findings(inspected: LabelInspection) -> None:
    table = Table("finding")
    names = ("positive", "negative", "uncertain", "unknown")
    for name in names:
        table.add_column(name, justify="right")
    for finding, counts in inspected.findings.items():
        table.add_row(Text(finding), *(f"{getattr(counts, name):,}" for name in names))
    out.print(table)
