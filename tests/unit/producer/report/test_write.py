"""A report takes its place in a folder as a whole."""

from pathlib import Path

import pytest

from producer.report.write import _PAGE, _write_files


def test_a_report_replaces_its_own_files_and_leaves_others_alone(tmp_path: Path):
    """A plot of an earlier version's report is deleted; a person's file stays."""
    for name in ("roc.png", "findings.png", "mine.png", _PAGE, "notes.txt"):
        (tmp_path / name).write_text("old")
    _write_files(tmp_path, {_PAGE: b"new"})
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {_PAGE: "new", "notes.txt": "old", "mine.png": "old"}


def test_a_report_that_cannot_be_written_whole_leaves_the_earlier_one(tmp_path: Path):
    """One of its files cannot be written, so none appears."""
    (tmp_path / _PAGE).write_text("old")
    with pytest.raises(OSError, match="No such file"):
        _write_files(tmp_path, {"nowhere/report.json": b"new", _PAGE: b"new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {_PAGE: "old"}
