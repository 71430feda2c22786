"""What `producer compare` prints and writes: numbers for all, and names only for a person who asks for them."""

import csv
import json

import pytest
from typer.testing import CliRunner

from db.engine.session import open_database, read_transaction
from db.errors import UserError
from producer.cli import app
from producer.commands.compare import compare_command
from producer.compare.build import build_comparison
from producer.report.write import write_report
from tests.support.compare_ledger import FIRST, REUSED, SECOND, make_compare_ledger

OPTIONS = {
    "label_set": None,
    "subset": "held_out",
    "threshold": None,
    "finding": None,
    "with_names": False,
    "partial": False,
    "as_json": False,
}
#: An image's name that is markup of a page and of a console, and clears a terminal.
HOSTILE = "\x1b[2J[red]<b>Doe"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a ledger whose images have a hostile name."""
    folder = tmp_path_factory.mktemp("home")
    engine = open_database(f"sqlite:///{folder / 'nightread.sqlite'}")
    make_compare_ledger(engine, prefix=HOSTILE)
    yield folder, engine
    engine.dispose()


@pytest.fixture
def compare(home, tmp_path, monkeypatch, capsys):
    """Run the command with some options; returns what it printed."""
    monkeypatch.setenv("CXR_HOME", str(home[0]))

    def run(first=FIRST, second=SECOND, folder=tmp_path / "out", **asked):
        compare_command(first, second, folder, **OPTIONS | asked)
        return capsys.readouterr().out

    return run


def built(engine):
    with read_transaction(engine) as connection:
        return build_comparison(
            connection, FIRST, SECOND, label_set=None, subset="held_out", threshold=None, finding=None
        )


def test_no_file_names_an_image_or_a_patient(compare, tmp_path):
    """Whether names are printed or not."""
    compare(with_names=True)
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert files.keys() == {"compare.json", "changed.csv", "index.html"}
    for text in files.values():
        assert "Doe" not in text
        assert "patient 3" not in text


def test_names_are_printed_only_if_asked_for(compare, home):
    """All changed scans of the main finding then, each on a line, and no name controls the terminal."""
    comparison, pair = built(home[1])
    changed = pair.scan_ids[comparison.main.changed].tolist()
    plain, named = compare(), compare(with_names=True)
    assert "Doe" not in plain
    listed = plain.partition("changed:\n")[2].splitlines()
    assert [int(line.split()[0]) for line in listed[1:21]] == changed[:20]
    assert listed[21].startswith(f"... {len(changed) - 20} more; changed.csv has all of them")
    assert "\x1b" not in named
    rows = named.partition("changed:\n")[2].splitlines()[1 : len(changed) + 1]
    assert [int(row.split()[0]) for row in rows] == changed
    assert all(
        row.endswith(f"\ufffd[2J[red]<b>Doe_{scan - 1:08d}.png") for row, scan in zip(rows, changed, strict=True)
    )


def test_changed_csv_has_every_finding_as_it_is_in_the_ledger(compare, home, tmp_path):
    """Scores with all digits, labels 0 or 1, or empty where they are not known."""
    compare()
    comparison, pair = built(home[1])
    with (tmp_path / "out" / "changed.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = []
    for column, (finding, result) in enumerate(comparison.findings.items()):
        for place in result.changed.nonzero()[0].tolist():
            cells = [str(pair.scan_ids[place]), finding]
            cells += [repr(float(cohort.scores[place, column])) for cohort in (pair.first, pair.second)]
            for cohort in (pair.first, pair.second):
                cells.append(str(int(cohort.labels[place, column])) if cohort.known[place, column] else "")
            expected.append(cells)
    assert [list(row.values()) for row in rows] == expected
    assert {row["second_label"] for row in rows} == {"0", "1", ""}


def test_json_is_the_file_and_nothing_else(compare, home):
    """The folder tells what was asked for."""
    printed = compare(folder=None, as_json=True, label_set="films", finding="effusion", subset="all", threshold="0.3")
    folder = home[0] / "reports" / "compare-1-2-labels-films-all-effusion-at-0.3"
    assert json.loads(printed) == json.loads((folder / "compare.json").read_text())
    assert json.loads(printed)["finding"] == "Effusion"


def test_nothing_changed_is_a_sentence(compare):
    """No empty table."""
    assert "\nno scan's prediction of Abnormal changed\n" in compare(SECOND, REUSED)


def test_names_are_not_printed_as_json(compare):
    """A person asks for them, not a program."""
    with pytest.raises(UserError, match="leave it out with --json, which has no names"):
        compare(with_names=True, as_json=True)


def test_a_folder_that_cannot_be_written_is_named(compare, tmp_path):
    """A file lies where the folder would be, or above it."""
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match=r"/out is a file; name a folder with --out$"):
        compare()
    with pytest.raises(UserError, match=r"out/in: the comparison cannot be written here"):
        compare(folder=tmp_path / "out" / "in")


def test_a_comparison_and_a_report_do_not_replace_each_other(compare, home, tmp_path):
    """Both have an index.html; each replaces its own kind."""
    compare()
    with read_transaction(home[1]) as connection:
        with pytest.raises(UserError, match=r"/out holds the comparison of runs 1 and 2; name another folder"):
            write_report(connection, FIRST, tmp_path / "out")
        for _ in range(2):
            write_report(connection, FIRST, tmp_path / "report")
    with pytest.raises(UserError, match=r"/report holds the report of run 1; name another folder with --out"):
        compare(folder=tmp_path / "report")
    assert not (tmp_path / "report" / "compare.json").exists()
    (tmp_path / "out" / "report.json").write_text("[1]")
    compare()


def test_the_command_line_wants_both_runs():
    """A person who names one is told what is missing, before anything is read."""
    result = CliRunner().invoke(app, ["compare", "1"])
    assert (result.exit_code, "Missing argument 'second'" in result.output) == (2, True)
