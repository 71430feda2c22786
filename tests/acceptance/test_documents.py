"""What the documents offer to paste works on the ledger that `make demo` leaves."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from tests.support.demo_ledger import make_demo_ledger
from tests.support.documents import ROOT, sql_examples

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


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_sql_example_gives_rows_on_the_demos_ledger(demo_database, example):
    """It runs as it is printed, and its first row is not one of nothing but NULL and 0."""
    rows = demo_database.execute(example.sql).fetchall()
    assert rows
    assert any(rows[0])


def test_the_sql_examples_are_found():
    """Wherever they stand: in blocks and in lines of text."""
    assert len(EXAMPLES) > 10


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
