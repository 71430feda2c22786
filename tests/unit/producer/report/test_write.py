"""A report takes its place in a folder as a whole."""

from pathlib import Path

import pytest

from producer.report.write import _PAGE, _old_plots
from worker.files import write_files


def test_a_report_replaces_its_own_files_and_leaves_others_alone(tmp_path: Path):
    """A plot of an earlier version's report is deleted; a person's file stays."""
    for name in ("roc.png", "findings.png", "mine.png", _PAGE, "notes.txt"):
        (tmp_path / name).write_text("old")
    (tmp_path / "report.json").write_text('{"run_id": 3}')
    write_files(tmp_path, {"report.json": [b"new"], _PAGE: [b"new"]}, obsolete=_old_plots(tmp_path))
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {"report.json": "new", _PAGE: "new", "notes.txt": "old", "mine.png": "old"}


@pytest.mark.parametrize("earlier", [None, '{"format": 2, "run_id": 3}', '{"of": "another program"}', "[]", "\xe9"])
def test_plots_that_no_earlier_report_wrote_are_a_persons(tmp_path: Path, earlier):
    """A plot of that name stays in a folder that never had a report with plots."""
    (tmp_path / "roc.png").write_text("mine")
    if earlier is not None:
        (tmp_path / "report.json").write_bytes(earlier.encode("latin-1"))
    write_files(tmp_path, {"report.json": [b"new"], _PAGE: [b"new"]}, obsolete=_old_plots(tmp_path))
    assert (tmp_path / "roc.png").read_text() == "mine"


def test_a_report_that_cannot_be_written_whole_leaves_the_earlier_one(tmp_path: Path):
    """One of its files cannot be written, so none appears."""
    (tmp_path / _PAGE).write_text("old")
    with pytest.raises(OSError, match="No such file"):
        write_files(tmp_path, {"nowhere/report.json": [b"new"], _PAGE: [b"new"]})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {_PAGE: "old"}
