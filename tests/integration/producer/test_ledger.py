"""On both databases `Ledger` gives the same frames: the rows of the public views, in the same dtypes."""

from datetime import UTC, date, datetime

import pandas as pd
import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from db.close_run import close_finished_runs
from db.engine.session import make_engine, read_transaction, upgrade
from db.errors import UserError
from db.ledger.models import UsedScan
from db.ledger.outcomes import Rejected, record_outcomes
from db.ledger.reviews import AGREE, BAD_IMAGE, add_review
from db.schema.tables import Scan
from db.schema.view_grants import grant_read
from producer import Ledger
from tests.support.ledger import a_model, enqueue, ids_of, score_all, scored

#: Of every column that is no text.
DTYPES = {
    **dict.fromkeys(("age_years", "score", "abnormal", "effusion", "hernia", "lung_opacity"), "float64"),
    **dict.fromkeys(("run_id", "scan_id", "follow_up", "revision", "label", "effusion_label"), "Int64"),
    **dict.fromkeys(("expected", "scored", "rejected", "quarantined", "pending", "tp", "fp", "fn", "tn"), "Int64"),
    **dict.fromkeys(("positives", "negatives"), "Int64"),
    **dict.fromkeys(("held_out", "is_partial", "is_latest"), "boolean"),
    **dict.fromkeys(("scored_at", "created_at", "finished_at", "cancelled_at", "computed_at"), "datetime64[us, UTC]"),
    "reviewed_at": "datetime64[us, UTC]",
    **dict.fromkeys(("image_name", "patient_id", "finding", "model", "state", "reason", "stop_reason"), "str"),
    **dict.fromkeys(("threshold", "recall", "f1", "auroc", "average_precision"), "float64"),
    **dict.fromkeys(("sop_instance_uid", "manufacturer", "transfer_syntax"), "str"),
    **dict.fromkeys(("verdict", "comment", "reviewer"), "str"),
    "study_date": "datetime64[ms]",
}


@pytest.fixture
def run(engine, tmp_path):
    """Of four scans two are scored and two rejected, one of each is reviewed; odd ones are labelled positive."""
    run, _ = enqueue(engine, tmp_path)
    first, second, third, fourth = ids_of(engine, run)
    rejects = [
        Rejected(outcome_id=third, reason="missing", detail="x"),
        Rejected(outcome_id=fourth, reason="empty", detail="y"),
    ]
    with engine.begin() as connection:
        record_outcomes(connection, [scored(first, 0.1), scored(second, 1 / 3), *rejects])
        header = {"sop_instance_uid": "1.2.3", "manufacturer": "Agfa", "study_date": date(2026, 11, 27)}
        connection.execute(update(Scan).where(Scan.image_name == "00000000_000.png").values(header))
        about = {"run_id": run, "comment": None, "threshold": 0.3, "finding": "Effusion", "reviewer": "ada"}
        add_review(connection, scan_id=2, verdict=AGREE, **about)
        add_review(connection, scan_id=3, verdict=BAD_IMAGE, **about)
    close_finished_runs(engine)
    return run


@pytest.fixture
def ledger(database_url, run):
    with Ledger(database_url) as ledger:
        yield ledger


@pytest.fixture
def postgresql(new_postgres, tmp_path):
    """An engine on a PostgreSQL database with a finished run."""
    engine = make_engine(new_postgres)
    upgrade(engine)
    score_all(engine, enqueue(engine, tmp_path)[0])
    yield engine
    engine.dispose()


@pytest.fixture
def role(postgresql):
    """The address of the database for a new role, which belongs to the server and is dropped at the end."""
    with postgresql.begin() as connection:
        connection.execute(text("CREATE ROLE frames_analyst LOGIN"))
    yield _address(postgresql.url.set(username="frames_analyst"))
    with postgresql.begin() as connection:
        connection.execute(text("DROP OWNED BY frames_analyst"))
        connection.execute(text("DROP ROLE frames_analyst"))


def test_a_frame_has_the_rows_of_the_view(engine, ledger, run):
    """Value for value, in the order of images and findings, with a missing value for NULL."""
    for view, frame, order in (
        ("results", ledger.results(), "image_name, finding"),
        ("results_wide", ledger.results(wide=True), "image_name"),
        ("run_progress", ledger.runs(), "run_id"),
        ("threshold_metrics", ledger.metrics(), "subset, finding, threshold, chosen_by"),
        ("finding_metrics", ledger.finding_metrics(), "subset, finding"),
        ("reviews", ledger.reviews(), "reviewed_at"),
    ):
        with engine.connect() as connection:
            expected = connection.execute(text(f"SELECT * FROM {view} ORDER BY {order}")).mappings().all()
        assert len(frame) == len(expected) > 0
        found = frame.astype(object).where(frame.notna(), None).to_dict("records")
        assert found == [{name: _as_python(value, name) for name, value in row.items()} for row in expected]


def test_both_databases_give_the_same_dtypes(ledger):
    """Also where every value is missing."""
    frames = (
        ledger.runs(),
        ledger.results(),
        ledger.results(wide=True),
        ledger.metrics(),
        ledger.finding_metrics(),
        ledger.failures(),
        ledger.reviews(),
    )
    found = {}
    for frame in frames:
        found |= {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert {name: found[name] for name in DTYPES} == DTYPES
    assert set(found.values()) == set(DTYPES.values())


def test_a_name_that_means_two_things_has_the_dtype_of_each(ledger):
    """The type of numbers or a rate; yes or no of a scan or a run's count."""
    assert (ledger.results().precision.dtype, ledger.metrics().precision.dtype) == ("str", "float64")
    assert (ledger.results().reused.dtype, ledger.runs().reused.dtype) == ("boolean", "Int64")


def test_a_frame_without_rows_has_the_dtypes_of_one_with_rows(ledger):
    """Code that works on a run works on an empty selection of it."""
    full, empty = ledger.results(), ledger.results(held_out=False)
    assert (len(full), len(empty)) == (4, 0)
    assert dict(empty.dtypes) == dict(full.dtypes)


def test_moments_are_in_utc_whatever_the_databases_zone(engine, database_url, run):
    """PostgreSQL shows them in the session's zone, SQLite has them as text."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {engine.url.database} SET timezone = 'Asia/Tokyo'"))
    with Ledger(database_url) as ledger:
        frame = ledger.runs()
    assert (pd.Timestamp(datetime.now(UTC)) - frame.created_at).abs().max() < pd.Timedelta(hours=1)


@pytest.mark.parametrize("wide", [False, True], ids=["long", "wide"])
def test_chunks_together_are_the_whole(ledger, wide):
    """Each frame has at most that number of rows, and the dtypes of the whole."""
    chunks = list(ledger.results(wide=wide, chunksize=3))
    assert [len(chunk) for chunk in chunks] == [3, 1]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), ledger.results(wide=wide))


def test_a_selection_without_rows_is_one_empty_chunk(ledger):
    """`pd.concat` refuses no frames at all."""
    (chunk,) = ledger.results(held_out=False, chunksize=3)
    assert (len(chunk), "score" in chunk) == (0, True)


def test_postgresql_keeps_the_rows_of_later_chunks(postgresql):
    """The driver has a cursor on the server and has not fetched everything, so memory does not grow with the run."""
    with Ledger(_address(postgresql.url)) as ledger:
        chunks = ledger.results(wide=True, chunksize=1)
        next(chunks)
        (query,) = _open_transactions(postgresql)
        assert query.startswith("FETCH FORWARD 1 ")
        assert len(list(chunks)) == 3
        assert _open_transactions(postgresql) == []


def test_rows_are_of_one_moment(engine, ledger, run, tmp_path):
    """What is committed between two chunks is not in the second."""
    chunks = ledger.results(run, wide=True, chunksize=2)
    first = next(chunks)
    with engine.begin() as connection:
        connection.execute(text("UPDATE scans SET view = 'AP'"))
    assert set(pd.concat([first, *chunks]).view) == {"PA"}
    assert set(ledger.results(run).view) == {"AP"}


def test_no_transaction_writes(ledger):
    """The database itself refuses it."""
    with pytest.raises(DBAPIError, match=r"read-?only"), read_transaction(ledger._engine) as connection:
        connection.execute(text("DELETE FROM run_scans"))


def test_a_role_that_may_read_only_the_views_is_enough(postgresql, role):
    """Every method asks the views, and nothing else."""
    grant_read(_address(postgresql.url), "frames_analyst")
    with Ledger(role) as ledger:
        assert all(map(len, (ledger.runs(), ledger.results(), ledger.metrics(), ledger.finding_metrics())))
        assert (len(ledger.failures()), len(ledger.reviews()), len(ledger.reviews(1))) == (0, 0, 0)


def test_a_role_that_was_let_in_before_there_were_reviews_reads_the_rest(postgresql, role):
    """An upgrade grants no new view, and the error tells a role how to get it."""
    grant_read(_address(postgresql.url), "frames_analyst")
    with postgresql.begin() as connection:
        connection.execute(text("REVOKE SELECT ON reviews FROM frames_analyst"))
    with Ledger(role) as ledger:
        assert len(ledger.runs()) == 1
        with pytest.raises(
            UserError, match=r"permission denied for view reviews\).* 'python -m db grant-read ROLE' again"
        ):
            ledger.reviews()


def test_a_role_that_may_not_read_the_views_is_told_so(role):
    """Instead of a traceback of the driver's."""
    with pytest.raises(UserError, match=r"cannot be read \(permission denied for view results_wide\)"):
        Ledger(role)


def test_reviews_are_of_all_runs_or_of_one_runs_scans_and_model(engine, ledger, run, tmp_path):
    """Whichever of a scan's outcomes was reviewed; a run of another model shows none of this one's."""
    again, _ = enqueue(engine, tmp_path, rescore=True, count=2)
    with engine.begin() as connection:
        a_model(connection, sha256="n" * 64, name="other")
        connection.execute(text("UPDATE runs SET model_id = 2 WHERE id = 1"))
    assert ledger.reviews().scan_id.tolist() == [2, 3]
    assert ledger.reviews(again).scan_id.tolist() == [2]


def test_failures_say_why_and_where(ledger, run):
    """By reason, with the place of the image where a person looks for it."""
    frame = ledger.failures()
    columns = ["run_id", "scan_id", "dataset", "image_name", "location", "state", "reason", "detail"]
    assert list(frame.columns) == columns
    found = frame[["run_id", "image_name", "location", "state", "reason", "detail"]].to_dict("split")["data"]
    assert found == [
        [run, "00000003_000.png", "/x/00000003_000.png", "rejected", "empty", "y"],
        [run, "00000002_000.png", "/x/00000002_000.png", "rejected", "missing", "x"],
    ]


def test_held_out_scans_and_seen_ones_are_told_apart(engine, database_url, tmp_path):
    """Together they are the run, if patients are known."""
    with engine.begin() as connection:
        a_model(connection, used=[UsedScan(image_name="00000001_000.png", patient_id="1", subset="train")])
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    with Ledger(database_url) as ledger:
        held_out, seen = ledger.results(wide=True, held_out=True), ledger.results(wide=True, held_out=False)
        assert (list(held_out.image_name), list(seen.image_name)) == (
            ["00000000_000.png", "00000002_000.png", "00000003_000.png"],
            ["00000001_000.png"],
        )
        assert ledger.results(wide=True).held_out.tolist() == [True, False, True, True]
        auroc = ledger.finding_metrics().query("subset == 'held_out' and finding == 'Abnormal'")
        assert auroc[["positives", "negatives"]].to_numpy().tolist() == [[1, 2]]


def _address(url):
    return url.render_as_string(hide_password=False)


def _open_transactions(engine):
    """The last statements of sessions that are in a transaction and wait for their client."""
    of_others = text(
        "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    with engine.connect() as connection:
        return list(connection.execute(of_others).scalars())


def _as_python(value, name):
    if value is not None and name.endswith("_at"):
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if value is not None and name == "study_date":
        return datetime.fromisoformat(str(value))
    if value is not None and name in {"reused", "held_out", "is_partial", "is_latest"}:
        return bool(value)
    return value
