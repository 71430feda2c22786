"""Exporting a run from both databases: files hold the rows of the views, and rows are streamed."""

import csv
import io
import json
import os
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pyarrow import parquet
from sqlalchemy import select, text, update

from db.engine.session import make_engine, read_transaction, upgrade
from db.errors import UserError
from db.ledger.outcomes import Rejected, record_outcomes
from db.ledger.reviews import AGREE, BAD_IMAGE, add_review
from db.schema.tables import Model, Scan
from producer import results_export as export
from producer.results_export import COLUMN_TYPES, export_reviews, export_run
from tests.support.ledger import enqueue, ids_of, scored

SHAPES = pytest.mark.parametrize("wide", [False, True], ids=["long", "wide"])
FORMATS = pytest.mark.parametrize("export_format", ["csv", "parquet", "json"])
#: A name that a careless CSV writer breaks.
AWKWARD = 'a "b", c\nü=1.png'
#: Of the rejected scan.
HEADER = {
    "sop_instance_uid": "1.2.840.1",
    "manufacturer": "Siemens",
    "transfer_syntax": "1.2.840.10008.1.2.1",
    "study_date": date(2026, 11, 27),
    "view": None,
}


@pytest.fixture(autouse=True)
def two_rows_at_a_time(monkeypatch):
    """Stream two rows at a time, so that a small run takes several steps."""
    monkeypatch.setattr(export, "_TEXT_ROWS", 2)
    monkeypatch.setattr(export, "_PARQUET_GROUP_ROWS", 2)


@pytest.fixture
def run(engine, tmp_path):
    """Of four scans two are scored, one is rejected and one is pending; a second run waits for the same."""
    run, _ = enqueue(engine, tmp_path)
    first, second, third, _ = ids_of(engine, run)
    with engine.begin() as connection:
        rejected = Rejected(outcome_id=third, reason="empty", detail="the image has no bytes")
        noted = replace(scored(second, 1 / 3), notes=("colour", "view_unknown"), export_sha256="e" * 64)
        record_outcomes(connection, [scored(first, 0.1), noted, rejected])
        connection.execute(update(Scan).where(Scan.image_name == "00000002_000.png").values(HEADER))
        awkward = {"image_name": AWKWARD, "age_years": None, "sex": None}
        connection.execute(update(Scan).where(Scan.image_name == "00000001_000.png").values(awkward))
    enqueue(engine, tmp_path, sha256="b" * 64)
    with engine.begin() as connection:
        manifest = connection.execute(select(Model.manifest)).scalar_one()
        connection.execute(update(Model).values(manifest=manifest | {"thresholds": {"Abnormal": {"best_f1": 0.4}}}))
    return run


@SHAPES
def test_parquet_holds_the_rows_of_the_view(engine, tmp_path, run, wide):
    """Value for value and type for type: numbers stay numbers, NULL stays NULL, moments have a zone."""
    rows = _export(engine, run, tmp_path / "out.parquet", export_format="parquet", wide=wide)
    table = parquet.read_table(tmp_path / "out.parquet")
    expected = _view(engine, run, wide=wide)
    assert (rows, table.to_pylist()) == (len(expected), expected)


@SHAPES
def test_csv_holds_the_rows_of_the_view(engine, tmp_path, run, wide):
    """Numbers with all their digits, NULL as nothing, moments in ISO 8601; names keep their quotes and lines."""
    rows = _export(engine, run, tmp_path / "out.csv", export_format="csv", wide=wide)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    expected = _view(engine, run, wide=wide)
    assert (rows, read) == (len(expected), [{name: _worded(value) for name, value in row.items()} for row in expected])


def test_json_has_a_line_for_each_scan_scored_or_not(engine, tmp_path, run):
    """It says whose scan it is, by which model, and what became of it; without a score there is no threshold either."""
    assert _export(engine, run, tmp_path / "out.json", export_format="json", wide=False) == 4
    lines = [json.loads(line) for line in (tmp_path / "out.json").read_bytes().splitlines()]
    rows = {row["image_name"]: row for row in _view(engine, run, wide=True)}
    assert [line["image_name"] for line in lines] == list(rows)
    scored_line, rejected, pending = (
        next(line for line in lines if line["image_name"] == name)
        for name in (AWKWARD, "00000002_000.png", "00000003_000.png")
    )
    row = rows[AWKWARD]
    assert scored_line == {
        "format": 1,
        "purpose": "research only, not for diagnosis",
        **{name: row[name] for name in ("sop_instance_uid", "dataset", "location", "patient_id", "view")},
        **{name: row[name] for name in ("image_name", "run_id", "scan_id", "revision", "runtime", "precision")},
        "model": {"name": "m", "sha256": "m" * 64, "export_sha256": "e" * 64, "synthetic": False},
        "state": "scored",
        "reason": None,
        "detail": None,
        "notes": ["colour", "view_unknown"],
        "scores": {"Abnormal": 1 / 3, "Effusion": 1 / 3},
        "thresholds": {"Abnormal": {"best_f1": 0.4}},
        "scored_at": row["scored_at"].isoformat(timespec="microseconds"),
    }
    assert list(rejected) == list(pending) == list(scored_line), "every line has every field, in one order"
    assert (rejected["sop_instance_uid"], rejected["state"], rejected["reason"]) == ("1.2.840.1", "rejected", "empty")
    assert (rejected["scores"], rejected["thresholds"], rejected["notes"]) == (None, None, [])
    assert (pending["state"], pending["scores"], pending["scored_at"]) == ("pending", None, None)


@SHAPES
def test_rows_come_in_the_order_of_images_and_findings(engine, tmp_path, run, wide):
    """The database sorts them; its collation may differ from Python's."""
    _export(engine, run, tmp_path / "out.parquet", export_format="parquet", wide=wide)
    order = "image_name" if wide else "image_name, finding"
    with engine.connect() as connection:
        view = "results_wide" if wide else "results"
        names = connection.execute(text(f"SELECT image_name FROM {view} WHERE run_id = {run} ORDER BY {order}"))
        assert parquet.read_table(tmp_path / "out.parquet")["image_name"].to_pylist() == list(names.scalars())


@pytest.mark.parametrize("view", ["results", "results_wide", "reviews"])
def test_every_column_of_the_views_has_a_type(engine, view):
    """Without a type here, Parquet would have a new column of a view as text."""
    with engine.connect() as connection:
        columns = connection.execute(text(f"SELECT * FROM {view}")).keys()
    assert set(columns) - set(COLUMN_TYPES) == set()


def test_reviews_are_exported_in_each_format(engine, tmp_path, run):
    """The same rows, the newest last: a comment keeps its quotes, NULL stays NULL, and a moment has a zone."""
    about = {"run_id": run, "scan_id": 2, "finding": "Effusion", "threshold": 0.3, "reviewer": "ada"}
    with engine.begin() as connection:
        add_review(connection, **about, verdict=AGREE, comment='a "b", ü=1')
        add_review(connection, **about, verdict=BAD_IMAGE, comment=None)
        add_review(connection, **about | {"scan_id": 1}, verdict=AGREE, comment=None)
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "parquet", "json")}
    with read_transaction(engine) as connection:
        for name, path in files.items():
            assert export_reviews(connection, run, path, export_format=name) == 3
    table = parquet.read_table(files["parquet"]).to_pylist()
    assert [(row["scan_id"], row["finding"], row["comment"], row["score"]) for row in table] == [
        (2, "Effusion", 'a "b", ü=1', 1 / 3),
        (2, None, None, None),
        (1, "Effusion", None, 0.1),
    ]
    assert all(row["reviewed_at"].tzinfo and row["is_latest"] == 1 for row in table)
    with files["csv"].open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [{name: _worded(value) for name, value in row.items()} for row in table]
    lines = [json.loads(line) for line in files["json"].read_text(encoding="utf-8").splitlines()]
    as_text = [row | {"reviewed_at": row["reviewed_at"].isoformat(timespec="microseconds")} for row in table]
    assert lines == as_text


def test_a_moment_is_utc_whatever_the_databases_zone(engine, tmp_path, run):
    """PostgreSQL gives moments in the session's zone; the table has them in UTC."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {engine.url.database} SET timezone = 'Asia/Tokyo'"))
        engine.dispose()
    _export(engine, run, tmp_path / "out.csv", export_format="csv", wide=False)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        moments = [datetime.fromisoformat(row["scored_at"]) for row in csv.DictReader(file)]
    assert all(moment.tzinfo == UTC and abs((datetime.now(UTC) - moment).total_seconds()) < 3600 for moment in moments)


@FORMATS
def test_an_open_file_is_written_in_several_steps_and_left_open(engine, run, export_format):
    """It may be stdout: it gets more than one write, holds everything at the end, and is not closed."""
    out = _Watched()
    with read_transaction(engine) as connection:
        assert export_run(connection, run, out, export_format=export_format, wide=False) == 4
    assert (out.closed, out.writes >= 2) == (False, True)
    if export_format == "parquet":
        assert parquet.ParquetFile(io.BytesIO(out.getvalue())).num_row_groups == 2


def test_postgresql_rows_are_streamed(new_postgres_engine, tmp_path):
    """While the table is written, a cursor is open on the server: the driver has not fetched everything."""
    run, _ = enqueue(new_postgres_engine, tmp_path)
    with read_transaction(new_postgres_engine) as connection:
        out = _Watched(lambda: connection.execute(text("SELECT count(*) FROM pg_cursors WHERE name <> ''")).scalar())
        export_run(connection, run, out, export_format="csv", wide=True)
    assert out.seen[0] == 1


@pytest.mark.parametrize("export_format", ["csv", "parquet"])
def test_a_run_without_rows_gives_a_table_without_rows(engine, tmp_path, run, export_format):
    """It has the columns all the same."""
    out = tmp_path / f"out.{export_format}"
    assert _export(engine, 99, out, export_format=export_format, wide=False) == 0
    names = parquet.read_schema(out).names if export_format == "parquet" else out.read_text().strip().split(",")
    assert {"image_name", "finding", "score"} <= set(names)


@FORMATS
def test_an_export_that_fails_half_way_leaves_the_earlier_file(engine, tmp_path, run, export_format, monkeypatch):
    """The earlier file is unchanged, and no other file is left in its folder."""
    out = tmp_path / "folder" / "out"
    out.parent.mkdir()
    out.write_text("earlier")
    monkeypatch.setattr(export, "to_columns", _fails_at_the_second(export.to_columns))
    with pytest.raises(ZeroDivisionError):
        _export(engine, run, out, export_format=export_format, wide=False)
    assert ([path.name for path in out.parent.iterdir()], out.read_text()) == (["out"], "earlier")


@pytest.mark.parametrize("place", ["nowhere/out.csv", "a_file/out.csv", "folder", "pipe", "n" * 300])
def test_a_path_that_cannot_be_written_is_refused(engine, tmp_path, run, place):
    """No folder, a file for a folder, a folder, a pipe, too long a name: one sentence, and nothing is left behind."""
    (tmp_path / "a_file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot be written"):
        _export(engine, run, tmp_path / place, export_format="csv", wide=False)
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def new_postgres_engine(new_postgres):
    engine = make_engine(new_postgres)
    upgrade(engine)
    yield engine
    engine.dispose()


class _Watched(io.BytesIO):
    """Counts the writes to it, and calls a function at each."""

    def __init__(self, look=lambda: None):
        super().__init__()
        self._look, self.seen = look, []

    def write(self, data):
        self.seen.append(self._look())
        return super().write(data)

    @property
    def writes(self):
        return len(self.seen)


def _fails_at_the_second(function):
    calls = []

    def failing(*arguments):
        calls.append(arguments)
        return function(*arguments) if len(calls) < 2 else 1 / 0

    return failing


def _export(engine, run, out, *, export_format, wide):
    with read_transaction(engine) as connection:
        return export_run(connection, run, out, export_format=export_format, wide=wide)


def _view(engine, run, *, wide):
    """The view's rows as Python has them."""
    view, order = ("results_wide", "image_name") if wide else ("results", "image_name, finding")
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT * FROM {view} WHERE run_id = {run} ORDER BY {order}")).mappings()
        return [{name: _AS_PYTHON.get(name, _same)(value) for name, value in row.items()} for row in rows]


def _moment(value):
    value = datetime.fromisoformat(value) if isinstance(value, str) else value
    return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


def _date(value):
    return date.fromisoformat(value) if isinstance(value, str) else value


def _same(value):
    return value


#: SQLite has no type for timestamps or booleans.
_AS_PYTHON = {"scored_at": _moment, "reused": bool, "study_date": _date}


def _worded(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else str(value)
