"""The decided scans of runs are those of the views, scan by scan, on both databases."""

import pickle
from itertools import chain, groupby

import numpy as np
import pytest
from sqlalchemy import select, text, update

from db.close_run import close_finished_runs
from db.drift.run_scans import _query, read_run_scans
from db.engine.session import open_to_read, read_transaction
from db.evaluation.cohort import age_band, sex_group, view_group
from db.findings import column_of
from db.ledger.cancel_run import cancel_run
from db.ledger.outcomes import ATTEMPTS_CAP, Rejected, count_attempt, pending_of_run, record_outcomes
from db.schema.tables import Outcome, Scan
from tests.support.nights_ledger import NightlyJob, NightScans, add_night, decide_night, decided_rows, open_night

#: What does not depend on the database, or cannot be seen in a small one of PostgreSQL.
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
JOB = NightlyJob(usual=NightScans(scans=40, reject_share=0.3, reasons=("truncated", "unreadable")))
FILMS = NightlyJob(job="b" * 12, dataset="films", seed=1, usual=NightScans(scans=10))


@pytest.fixture
def mixed_nights(engine):
    """Nights with all that can become of a scan: decided, tried again, cancelled, quarantined and pending."""
    runs = [add_night(engine, JOB, 0), open_night(engine, JOB, 1)]
    some = _decide_some(engine, runs[1])
    assert cancel_run(engine, runs[1]) == some
    runs += [add_night(engine, JOB, 2), add_night(engine, FILMS, 0), open_night(engine, JOB, 3)]
    _decide_some(engine, runs[-1])
    close_finished_runs(engine)
    with engine.begin() as connection:
        ids = connection.execute(select(Scan.id).order_by(Scan.id)).scalars().all()
        connection.execute(update(Scan).where(Scan.id.in_(ids[::9])).values(patient_id=None, view="pa", sex="Other"))
        connection.execute(update(Scan).where(Scan.id.in_(ids[1::9])).values(view="Doe, Jane", age_years=None))
    return runs


def _decide_some(engine, run_id):
    """Reject a third of what is pending, quarantine one scan, and leave the others; returns how many these are."""
    with engine.begin() as connection:
        pending = pending_of_run(connection, run_id)
        rejected, last, left = pending[: len(pending) // 3], pending[-1], pending[len(pending) // 3 : -1]
        record_outcomes(
            connection, [Rejected(outcome_id=scan.outcome_id, reason="constant", detail="s") for scan in rejected]
        )
        for _ in range(ATTEMPTS_CAP):
            count_attempt(connection, last)
    return len(left)


def names_of(names):
    return [names.names[place] for place in names.places.tolist()]


def test_the_decided_scans_of_runs_are_those_of_the_view(engine, database_url, mixed_nights):
    """Its own are those that it did not reuse and that are not unreadable once more; none is pending or cancelled."""
    assert {"pending", "cancelled"} <= states_and_reasons(engine)
    for own in (True, False):
        with read_transaction(open_to_read(database_url)) as connection:
            scans = read_run_scans(connection, mixed_nights, own=own).scans
        check_scans(scans, decided_rows(engine, own=own))


def states_and_reasons(engine):
    with read_transaction(engine) as connection:
        return {*chain.from_iterable(connection.execute(select(Outcome.state, Outcome.reason)))}


def check_scans(scans, rows):
    """Check that these are the scans of rows of the view."""
    assert scans.findings == JOB.findings
    assert scans.runs.tolist() == [row.run_id for row in rows]
    scores = [[getattr(row, column_of(finding)) for finding in JOB.findings] for row in rows]
    np.testing.assert_array_equal(scans.scores, np.array(scores, np.float64))
    assert names_of(scans.outcomes) == ["scored" if row.state == "scored" else row.reason for row in rows]
    assert {kind: names_of(names) for kind, names in scans.groups.items()} == {
        "view": [view_group(row.view) for row in rows],
        "sex": [sex_group(row.sex) for row in rows],
        "age": [age_band(row.age_years) for row in rows],
        "manufacturer": [row.manufacturer or "unknown" for row in rows],
    }
    people = [(row.dataset, row.patient_id) if row.patient_id else row.scan_id for row in rows]
    pairs = set(zip(people, scans.patients.tolist(), strict=True))
    assert len(pairs) == len(set(people)) == len({number for _, number in pairs}), "each has a number of their own"
    # The ledger has every case.
    assert set(scans.outcomes.names) == {"scored", "truncated", "unreadable", "constant", "killed_worker"}
    assert set(scans.groups["view"].names) == {"PA", "AP", "LATERAL", "other", "unknown"}
    assert {*map(type, people)} == {int, tuple}


@SQLITE
def test_of_runs_shares_memory_and_takes_each_run_once(engine, mixed_nights):
    """A night against 300,000 scans is 30 references of one array."""
    with read_transaction(engine) as connection:
        read = read_run_scans(connection, mixed_nights, own=False)
    each = [read.of_runs(run, run) for run in mixed_nights]
    assert [run for run, _ in groupby(read.scans.runs.tolist())] == mixed_nights
    assert np.concatenate([one.outcome_ids for one in each]).tolist() == read.outcome_ids.tolist()
    assert all(np.shares_memory(one.scans.scores, read.scans.scores) for one in each)
    assert len(read.of_runs(3, 2).outcome_ids) == 0


@SQLITE
def test_an_outcome_that_others_have_is_left_out(engine, mixed_nights):
    """By outcome, not by scan: a rejected scan that is tried again stays where it was rejected before."""
    with read_transaction(engine) as connection:
        first, later = (read_run_scans(connection, [run], own=False) for run in (mixed_nights[0], mixed_nights[2]))
    left = later.without(first)
    assert set(left.outcome_ids) == {*later.outcome_ids} - {*first.outcome_ids}
    assert "unreadable" in names_of(first.scans.outcomes), "such a scan is tried again"
    assert first.without(left) is first


@SQLITE
def test_what_is_unreadable_every_night_counts_in_the_first_one_alone(engine):
    """Else a night of few new scans would differ by rejects that are old, and be judged by them alone."""
    lost = NightScans(scans=20, reject_share=1.0, reasons=("unreadable",))
    runs = [add_night(engine, JOB, 0, lost), add_night(engine, JOB, 1, lost)]
    with read_transaction(engine) as connection:
        scans = read_run_scans(connection, runs, own=True).scans
        everything = read_run_scans(connection, runs, own=False).scans
    assert np.bincount(scans.runs)[1:].tolist() == [20, 20]
    assert np.bincount(everything.runs)[1:].tolist() == [20, 40]


@SQLITE
def test_nothing_that_is_read_names_a_patient_or_an_image(engine, mixed_nights):
    """Except for what manufacturers are called."""
    with engine.begin() as connection:
        connection.execute(update(Scan).values(patient_id="doe" + Scan.patient_id))
    with read_transaction(engine) as connection:
        everything = pickle.dumps(read_run_scans(connection, mixed_nights, own=False))
    assert b"Carestream" in everything
    assert not [part for part in (b"doe", b"Doe", b".png", b"/films") if part in everything]


@SQLITE
def test_the_scans_of_runs_are_found_by_indexes_alone(engine):
    """In the order of the key, so that nothing is sorted, however large the ledger is."""
    query = _query([1, 2], JOB.findings, own=True).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        plan = [line for *_, line in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    assert plan[0] == "SEARCH run_scans USING INDEX sqlite_autoindex_run_scans_1 (run_id=?)"
    assert all(line.startswith(("SEARCH", "CORRELATED")) for line in plan)


@SQLITE
def test_runs_without_a_decided_scan_have_arrays_without_rows(engine):
    run = open_night(engine, JOB, 0)
    with read_transaction(engine) as connection:
        nothing = read_run_scans(connection, [run], own=True).scans
    assert nothing.scores.shape == (0, len(JOB.findings))
    assert {kind: names.names for kind, names in nothing.groups.items()} == dict.fromkeys(nothing.groups, ())
    decide_night(engine, JOB, 0, run)
    with read_transaction(engine) as connection:
        assert read_run_scans(connection, [run], own=True).scans.scores.shape == (40, len(JOB.findings))
