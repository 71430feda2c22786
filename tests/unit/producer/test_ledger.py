"""`from producer import Ledger` reads a ledger, and neither makes nor changes one."""

import sqlite3
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

import producer
from db.addresses import sqlite_address
from db.engine.session import open_database, read_transaction
from db.errors import UserError
from producer import Ledger
from tests.support.imports import ROOT, loaded
from tests.support.ledger import enqueue, score_all


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A CXR_HOME with an empty ledger, which the environment names."""
    home = tmp_path / "home"
    monkeypatch.setenv("CXR_HOME", str(home))
    monkeypatch.delenv("CXR_DATABASE_URL", raising=False)
    open_database(sqlite_address(home / "nightread.sqlite")).dispose()
    return home


@pytest.fixture
def engine(home):
    engine = open_database(sqlite_address(home / "nightread.sqlite"))
    yield engine
    engine.dispose()


@pytest.fixture
def run(engine, tmp_path):
    """A finished run of four scans."""
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    return run


def test_the_producer_loads_pandas_only_for_those_who_ask(tmp_path):
    """Importing the package, as every command does, loads no library at all."""
    modules, _ = loaded(tmp_path, "-c", "import producer")
    assert modules.isdisjoint({"pandas", "pyarrow", "numpy", "sqlalchemy", "pydantic"})
    modules, _ = loaded(tmp_path, "-c", "from producer import Ledger")
    assert "pandas" in modules
    assert modules.isdisjoint({"tensorflow", "keras", "cv2", "matplotlib", "celery", "alembic"})


def test_without_pandas_the_error_says_how_to_get_it(monkeypatch):
    """The commands do not need it, so it is an extra."""
    monkeypatch.delitem(sys.modules, "producer.ledger")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'nightread\[pandas\]'"):
        producer.Ledger  # noqa: B018


def test_another_name_is_none_of_the_packages():
    """As in any package."""
    with pytest.raises(AttributeError, match="no attribute 'Leger'"):
        producer.Leger  # noqa: B018


def test_the_packages_say_that_they_are_typed():
    """Each has a `py.typed`, which the wheel includes."""
    assert [name for name in ("db", "worker", "producer", "trainer") if not (ROOT / name / "py.typed").is_file()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["*"]


def test_an_absent_ledger_is_not_made(tmp_path, monkeypatch):
    """Neither the file nor its folder."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CXR_DATABASE_URL", raising=False)
    with pytest.raises(UserError, match="there is no ledger"):
        Ledger()
    assert not any(tmp_path.iterdir())


def test_it_prints_nothing_and_leaves_modes_and_files(home, run, capfd):
    """The commands print their home and warn of its mode; this reads it wherever it lies."""
    file = home / "nightread.sqlite"
    home.chmod(0o755)
    file.chmod(0o644)
    before = {path.name for path in home.iterdir()}
    with Ledger() as ledger:
        assert len(ledger.results()) == 8
    assert tuple(capfd.readouterr()) == ("", "")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home, file)] == [0o755, 0o644]
    assert {path.name for path in home.iterdir()} - before <= {"nightread.sqlite-wal", "nightread.sqlite-shm"}


def test_no_statement_can_write(run):
    """SQLite itself refuses it, whatever the statement."""
    with Ledger() as ledger, read_transaction(ledger._engine) as connection, pytest.raises(OperationalError) as error:
        connection.execute(text("DELETE FROM run_scans"))
    assert "readonly" in str(error.value)


def test_a_writer_holds_no_reader_up(engine, run):
    """What it has not committed is not there yet."""
    with engine.begin() as connection, Ledger() as ledger:
        connection.execute(text("UPDATE runs SET source = 'other.csv'"))
        assert list(ledger.runs().source) == ["sample_labels.csv"]


def test_an_address_goes_before_the_environment(home, run, monkeypatch):
    """As an argument it is meant; the variable may be the fleet's."""
    monkeypatch.setenv("CXR_DATABASE_URL", "postgresql://nobody@nowhere.invalid/x")
    with Ledger(sqlite_address(home / "nightread.sqlite")) as ledger:
        assert list(ledger.runs().run_id) == [run]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://x/y", "not a database address"),
        ("sqlite:///ledger.sqlite", "not an absolute path"),
        ("sqlite://", "in memory"),
        ("postgresql://nobody@127.0.0.1:9/x", "cannot be read"),
    ],
)
def test_an_address_without_a_ledger_is_refused(url, reason):
    """One sentence says why."""
    with pytest.raises(UserError, match=reason):
        Ledger(url)


def test_a_file_of_another_kind_is_refused(home):
    """It is not touched."""
    (home / "nightread.sqlite").write_text("no database" * 100)
    with pytest.raises(UserError, match="not a database"):
        Ledger()
    assert (home / "nightread.sqlite").read_text() == "no database" * 100


def test_the_ledger_of_an_earlier_version_is_refused(home):
    """A command upgrades it; a reader changes nothing."""
    with sqlite3.connect(home / "nightread.sqlite") as connection:
        connection.execute("DROP VIEW results_wide")
        connection.execute("CREATE VIEW results_wide AS SELECT 1 AS run_id")
    with pytest.raises(UserError, match="python -m db upgrade"):
        Ledger()


def test_a_ledger_without_runs_is_empty(home):
    """Its frames have their columns all the same, and asking for a run is a mistake."""
    with Ledger() as ledger:
        assert (len(ledger.runs()), "pending" in ledger.runs()) == (0, True)
        with pytest.raises(UserError, match="there is no run yet"):
            ledger.results()


@pytest.mark.parametrize("method", ["results", "metrics", "finding_metrics", "failures", "reviews"])
def test_an_unknown_run_is_refused(run, method):
    """An empty frame would look like a run without scans."""
    with Ledger() as ledger, pytest.raises(UserError, match="no run 99"):
        getattr(ledger, method)(99)


def test_an_unknown_run_is_refused_before_its_first_chunk(run):
    """Not only when somebody asks for it."""
    with Ledger() as ledger, pytest.raises(UserError, match="no run 99"):
        ledger.results(99, chunksize=10)


def test_the_latest_run_is_the_default(engine, run, tmp_path):
    """As in every command, also if its scans are gone."""
    later, _ = enqueue(engine, tmp_path, sha256="b" * 64)
    with Ledger() as ledger:
        assert set(ledger.results(wide=True).run_id) == {later}
        assert set(ledger.results(run).run_id) == {run}
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM run_scans WHERE run_id > 1"))
        assert (len(ledger.results(wide=True)), len(ledger.results())) == (0, 0)


def test_a_run_may_be_a_number_out_of_a_frame(run):
    """SQLite would take numpy's integers for bytes, and find nothing."""
    with Ledger() as ledger:
        number = ledger.runs().run_id.to_numpy("int64")[0]
        assert len(ledger.results(number)) == 8
        with pytest.raises(TypeError):
            ledger.results("1")


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_has_rows(run, size):
    """Otherwise it would be all rows at once, or none for ever."""
    with Ledger() as ledger, pytest.raises(ValueError, match=f"chunksize={size}"):
        ledger.results(chunksize=size)


def test_a_moved_ledger_is_read_where_it_is_now(home, engine, run):
    """The file is opened again if another one has its place."""
    engine.dispose()
    with Ledger() as ledger:
        assert len(ledger.runs()) == 1
        file = Path(ledger._engine.url.database)
        file.with_name("old").write_bytes(file.read_bytes())
        file.with_name("old").replace(file)
        assert len(ledger.runs()) == 1
