"""A worklist against a recount: what each query selects, and what pages and the CSV show, on both databases."""

import csv
import io
import random
import threading
import time
from datetime import datetime

from sqlalchemy import event, text

from db.close_run import close_finished_runs
from db.engine.session import open_database, read_transaction
from db.findings import column_of
from db.ledger.outcomes import Scored, pending_of_run, record_outcomes
from db.ledger.runs import find_run
from db.maintenance.forget_patient import forget_patient
from producer.browse.worklist.csv_file import CSV_COLUMNS, stream_csv
from producer.browse.worklist.query import LABELS, SORTS, STATES, VERDICTS, parse_query
from producer.browse.worklist.rows import read_rows
from producer.browse.worklist.run_table import RunTables
from producer.browse.worklist.selection import select_scans
from tests.support.worklist_ledger import FINDINGS, FINISHED, OPEN, REUSED, RUNS, make_worklist_ledger

THRESHOLDS = dict.fromkeys(FINDINGS, 0.35)
REVIEWS = {1: "agree", 4: "disagree", 5: "bad_image", 40: "agree"}
#: What a query may ask for; a random few of these at a time.
VALUES = {
    "finding": FINDINGS,
    "sort": SORTS,
    "low": ("0.1", "0.25"),
    "high": ("0.4", "0.9"),
    "label": LABELS,
    "verdict": VERDICTS,
    "threshold": ("0.3", "0.5"),
    "state": STATES,
    "reason": ("truncated", "missing", "killed_worker"),
    "view": ("PA", "LATERAL", "unknown"),
    "sex": ("F", "unknown"),
    "age_from": ("20", "50"),
    "age_to": ("60", "70.5"),
    "held_out": "10",
    "is_new": "1",
    "review": ("agree", "bad_image", "none"),
}
NUMBER_OF_QUERIES = 80


def parse(**params):
    return parse_query(params, findings=FINDINGS, default_finding="Abnormal", default_threshold=THRESHOLDS)


def some_queries():
    """The same every time: the default one, each value alone, and random ones of several."""
    rng = random.Random(0)
    alone = [{name: value} for name, values in VALUES.items() for value in values]
    several = [
        {name: rng.choice(VALUES[name]) for name in rng.sample(sorted(VALUES), rng.choice([2, 2, 3]))}
        for _ in range(NUMBER_OF_QUERIES)
    ]
    return [{}, *alone, *several]


def recount(rows, query):
    """The scans that a query means, from rows of `results_wide`, one at a time."""

    def fits(row):
        score, label = row[column_of(query.finding)], row[f"{column_of(query.finding)}_label"]
        is_right = None if score is None or label is None else (score >= query.threshold) == bool(label)
        review = REVIEWS.get(row["scan_id"], "none")
        return (
            (query.low is None or (score is not None and score >= query.low))
            and (query.high is None or (score is not None and score <= query.high))
            and query.label in (None, "unknown" if label is None else str(label))
            and (query.verdict is None or is_right == (query.verdict == "correct"))
            and query.state in (None, row["state"])
            and query.reason in (None, row["reason"])
            and query.view in (None, row["view"] or "unknown")
            and query.sex in (None, row["sex"] or "unknown")
            and (query.age_from is None or (row["age_years"] is not None and row["age_years"] >= query.age_from))
            and (query.age_to is None or (row["age_years"] is not None and row["age_years"] <= query.age_to))
            and (query.held_out is None or row["held_out"] == int(query.held_out))
            and not (query.is_new and row["reused"])
            and query.review in (None, review)
        )

    def place(row):
        score = row[column_of(query.finding)]
        if query.sort == "scan":
            return row["scan_id"]
        return score is None, (score or 0) * (-1 if query.sort == "score" else 1), row["scan_id"]

    return [row["scan_id"] for row in sorted(filter(fits, rows), key=place)]


def view_rows(engine, run_id):
    with read_transaction(engine) as connection:
        query = text(f"SELECT * FROM results_wide WHERE run_id = {run_id}")
        return connection.execute(query).mappings().all()


def select(tables, run_id, **params):
    return select_scans(tables.get(run_id), parse(**params), REVIEWS).tolist()


def test_every_query_selects_what_a_recount_of_the_view_does(engine, database_url):
    """Each filter alone and with others, in each order, in a finished run, a reused one and one that goes on."""
    make_worklist_ledger(database_url)
    tables, lengths = RunTables(engine), set()
    for run_id in RUNS:
        rows = view_rows(engine, run_id)
        for params in some_queries():
            expected = recount(rows, parse(**params))
            assert select(tables, run_id, **params) == expected, params
            lengths.add(len(expected))
    assert len(lengths) > 20


def to_text(value):
    """As CSV has it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_a_page_and_the_csv_show_the_rows_of_the_view_in_the_order_of_the_list(engine, database_url):
    """The CSV has all pages, each scan's review, and the words of `producer export`."""
    make_worklist_ledger(database_url, scans=60)
    for run_id in (FINISHED, OPEN):
        ids = select(RunTables(engine), run_id, finding="Effusion")
        with read_transaction(engine) as connection:
            rows = read_rows(connection, run_id, ids, "Effusion")
            run = find_run(connection, run_id)
        assert [row.scan_id for row in rows] == ids
        query = parse(finding="Effusion")
        content = b"".join(stream_csv(engine, run, ids, query, REVIEWS)).decode()
        header, *lines = csv.reader(io.StringIO(content))
        assert tuple(header) == CSV_COLUMNS
        by_id = {row["scan_id"]: row for row in view_rows(engine, run_id)}
        for row, line in zip(rows, lines, strict=True):
            expected = dict(by_id[row.scan_id]) | {"score": by_id[row.scan_id]["effusion"]}
            expected |= {"label": expected["effusion_label"], "review": REVIEWS.get(row.scan_id)}
            # SQLite's view has moments as text.
            expected["scored_at"] = row.scored_at
            prediction = None if row.score is None else int(row.score >= query.threshold)
            expected |= {"model": run.model, "finding": "Effusion", "threshold": query.threshold}
            expected["prediction"] = prediction
            for name, cell in zip(header, line, strict=True):
                if name in {"held_out", "reused"}:
                    expected[name] = None if expected[name] is None else bool(expected[name])
                if hasattr(row, name):
                    assert getattr(row, name) == expected[name], name
                assert cell == to_text(expected[name]), name


def test_a_forgotten_patient_is_gone_from_the_next_request(engine, database_url):
    """From lists whose tables were kept, from pages and from the CSV; and all other scans are listed as before."""
    make_worklist_ledger(database_url)
    tables = RunTables(engine)
    ids = {run_id: select(tables, run_id) for run_id in (FINISHED, REUSED)}
    gone = select(tables, FINISHED, view="PA", label="1")[0]
    patient = next(row["patient_id"] for row in view_rows(engine, FINISHED) if row["scan_id"] == gone)
    forget_patient(engine, patient)
    with read_transaction(engine) as connection:
        assert gone not in [row.scan_id for row in read_rows(connection, FINISHED, ids[FINISHED], "Abnormal")]
    # A run without labels has no metrics whose moment could tell that it is another one.
    close_finished_runs(engine)
    for run_id in ids:
        rows = view_rows(engine, run_id)
        assert gone not in select(tables, run_id)
        for params in ({}, {"view": "PA", "label": "1"}, {"held_out": "1"}, {"state": "rejected"}):
            assert select(tables, run_id, **params) == recount(rows, parse(**params))


def test_a_run_that_goes_on_is_read_again_after_some_seconds(tmp_path):
    """Until then its table is of one moment: a scan that was pending has no score, whenever scores are read."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    make_worklist_ledger(url, scans=30)
    engine = open_database(url)
    now = 1_000.0
    tables = RunTables(engine, clock=lambda: now)
    pending = tables.get(OPEN).counts["pending"]
    with engine.begin() as connection:
        scan = pending_of_run(connection, OPEN)[0]
        scores = dict.fromkeys(FINDINGS, 1.0)
        how = {"content": "sha256:x", "runtime": "t", "precision": "float32"}
        record_outcomes(connection, [Scored(outcome_id=scan.outcome_id, scores=scores, **how)])
    assert scan.scan_id in select(tables, OPEN, state="pending")
    assert select(tables, OPEN, low="1") == []
    now += 6
    assert select(tables, OPEN, low="1") == [scan.scan_id]
    assert tables.get(OPEN).counts["pending"] == pending - 1
    finished = tables.get(FINISHED)
    now += 300
    assert tables.get(FINISHED) is finished
    now += 400
    assert tables.get(FINISHED) is not finished
    engine.dispose()


def test_requests_at_once_read_a_run_once(tmp_path):
    """A million scans are not read by every request that a page makes."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    make_worklist_ledger(url, scans=30)
    engine, statements, found = open_database(url), [], []
    tables, start = RunTables(engine), threading.Barrier(4)

    @event.listens_for(engine, "before_cursor_execute")
    def take_time(*arguments):
        statements.append(arguments[2])
        time.sleep(0.02)

    def request():
        start.wait()
        found.append(select(tables, FINISHED, label="1", view="PA"))

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(ids == found[0] for ids in found)
    for column in ("run_scans.seen", "scores.abnormal", "scans.age_years", "labels.finding"):
        assert len([one for one in statements if column in one.partition("FROM")[0]]) == 1, column
    engine.dispose()
