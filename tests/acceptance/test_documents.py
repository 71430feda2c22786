"""What the documents offer to paste works on the ledger that `make demo` leaves; they name what its reports hold."""

import csv
import json
import os
import sqlite3
import subprocess
import sys

import pytest
from sqlalchemy import text

from db.addresses import sqlite_address
from db.engine.session import open_database, read_transaction
from producer.compare.write import write_comparison
from producer.report.write import write_report
from tests.support.compare_ledger import FIRST, SECOND, make_compare_ledger
from tests.support.demo_ledger import make_demo_ledger
from tests.support.documented_json import Comparison
from tests.support.documents import ROOT, field_tables, sql_examples
from tests.support.nights_ledger import make_nights_ledger

EXAMPLES = sql_examples()
NOTEBOOKS = sorted((ROOT / "docs").glob("**/*.ipynb"))


@pytest.fixture(scope="module")
def demo_home(tmp_path_factory):
    """The demo's CXR_HOME."""
    return make_demo_ledger(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def demo_database(demo_home):
    """The demo's ledger, opened as the documents say."""
    connection = sqlite3.connect(f"file:{demo_home}/nightread.sqlite?mode=ro", uri=True)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def reports(demo_home, tmp_path_factory):
    """The folders of three reports: of a labelled run, of one without labels, and of the last of three nights."""
    folders = [tmp_path_factory.mktemp(name) for name in ("labelled", "unlabelled", "night")]
    engine = open_database(sqlite_address(demo_home / "nightread.sqlite"))
    with read_transaction(engine) as connection:
        for run, folder in enumerate(folders[:2], start=1):
            write_report(connection, run, folder, prevalence={"Effusion": 0.05} if run == 1 else None)
    engine.dispose()
    engine = open_database(sqlite_address(folders[2] / "nightread.sqlite"))
    *_, night = make_nights_ledger(engine.url.render_as_string(), nights=3)
    with read_transaction(engine) as connection:
        write_report(connection, night, folders[2])
    engine.dispose()
    return folders


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_sql_example_gives_rows_on_the_demos_ledger(demo_database, example):
    """It runs as it is printed, and its first row is not one of nothing but NULL and 0."""
    rows = demo_database.execute(example.sql).fetchall()
    assert rows
    assert any(rows[0])


def test_the_sql_examples_are_found():
    """Wherever they stand: in blocks and in lines of text."""
    assert len(EXAMPLES) > 10


def test_the_document_describes_exactly_the_fields_of_report_json(reports):
    """Each field has its type there, and may be null only if that says so; no other field is described."""
    shapes = field_tables("report.md")
    columns = shapes.pop("thresholds.csv")
    assert columns
    comparison = Comparison(shapes)
    for folder in reports:
        comparison.compare(json.loads((folder / "report.json").read_text()), "`report`")
    assert (comparison.strays, comparison.seen) == ([], shapes.keys())


def test_the_document_describes_exactly_the_columns_of_thresholds_csv(reports):
    """It has them in their order, for labelled runs and others."""
    for folder in reports:
        with (folder / "thresholds.csv").open(newline="") as file:
            assert next(csv.reader(file)) == list(field_tables("report.md")["thresholds.csv"])


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory):
    """The folders of two comparisons: by labels, and without any."""
    folders = [tmp_path_factory.mktemp(name) for name in ("judged", "unjudged")]
    engine = open_database(sqlite_address(folders[0] / "nightread.sqlite"))
    make_compare_ledger(engine)
    for folder in folders:
        with read_transaction(engine) as connection:
            write_comparison(connection, (FIRST, SECOND), folder)
        with engine.begin() as connection:
            connection.execute(text("UPDATE runs SET label_set_id = NULL"))
    engine.dispose()
    return folders


def test_the_document_describes_exactly_the_fields_of_compare_json(comparisons):
    """Each field has its type there, and may be null only if that says so; no other field is described."""
    shapes = field_tables("compare.md")
    columns = shapes.pop("changed.csv")
    comparison = Comparison(shapes)
    for folder in comparisons:
        comparison.compare(json.loads((folder / "compare.json").read_text()), "`comparison`")
        with (folder / "changed.csv").open(newline="") as file:
            assert next(csv.reader(file)) == list(columns)
    assert (comparison.strays, comparison.seen) == ([], shapes.keys())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_on_the_demos_ledger(demo_home, notebook):
    """Its cells are plain Python, run in one namespace from top to bottom, and its assertions hold."""
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", _code_of(notebook)],
        env={**os.environ, "CXR_HOME": str(demo_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs(notebook):
    """What a cell showed may be of patients."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


def _code_of(notebook):
    """The code of its cells. Its format is JSON that needs no package, and Jupyter's packages would be dozens."""
    cells = json.loads(notebook.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
