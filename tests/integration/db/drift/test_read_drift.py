"""Nights are read from SQL and judged, each by the nights before it or by another run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, insert, literal, select, true, update

from db.close_run import close_finished_runs
from db.drift import read
from db.drift.judge import judge_night
from db.drift.read import read_drift
from db.drift.run_scans import read_run_scans
from db.engine.session import open_to_read, read_transaction
from db.errors import UserError
from db.maintenance.forget_patient import forget_patient
from db.maintenance.prune_runs import prune_runs
from db.schema.tables import Run, RunScan, Scan
from tests.support.nights_ledger import (
    NightlyJob,
    NightScans,
    add_night,
    decide_night,
    decided_rows,
    make_nights_ledger,
    open_night,
)

#: Instead of 30, see `few`.
REFERENCE = 3
NIGHTS = 7
USUAL = NightScans(scans=60, reject_share=0.2, reasons=("unreadable", "truncated"))
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Takes three nights as reference, so that a ledger of seven has enough."""
    monkeypatch.setattr(read, "REFERENCE_NIGHTS", REFERENCE)


@pytest.fixture
def nights(database_url):
    """Seven nights, in the last of which more scans are AP. Rejected scans are tried again every night."""
    last = NightScans(scans=90, ap_share=0.9)
    return make_nights_ledger(database_url, nights=NIGHTS, last=last, job=NightlyJob(usual=USUAL))


def drift(url, run_id, **options):
    with read_transaction(open_to_read(url)) as connection:
        return read_drift(connection, run_id, **{"shown": REFERENCE, **options})


def recount(engine, runs, *, own=True):
    """Decided scans of runs by the view."""
    return sum(row.run_id in runs for row in decided_rows(engine, own=own))


def check(engine, url, runs):
    """Check that the last of these nights are judged by those before them, and that counts are those of the view."""
    found = drift(url, runs[-1])
    assert [night.run_id for night in found] == runs[-REFERENCE:]
    for night in found:
        place = runs.index(night.run_id)
        before = runs[max(0, place - REFERENCE) : place]
        assert night.reference_runs == tuple(before)
        assert (night.scans, night.reference_scans) == (recount(engine, [night.run_id]), recount(engine, before))
        assert night.not_judged is None
    return found


def test_each_night_is_judged_by_the_nights_before_it(engine, database_url, nights):
    """By their own scans, as arrays that hold no other night's. A scan tried again stays where it was rejected."""
    found = check(engine, database_url, nights)
    assert found[-1].night == "2026-10-07"
    assert [night.is_alarm for night in found] == [False, False, True]
    assert found[-1].largest.kind == "view"
    with read_transaction(engine) as connection:
        night = read_run_scans(connection, nights[-1:], own=True).scans
        reference = read_run_scans(connection, nights[-1 - REFERENCE : -1], own=True).scans
        tried_again = select(func.count()).where(~RunScan.reused).group_by(RunScan.scan_id)
        assert connection.execute(tried_again.order_by(func.count().desc())).scalar() > 1
    judged = judge_night(night, reference, run_id=nights[-1], name="2026-10-07")
    assert replace(judged, shifts=()) == replace(found[-1], shifts=())
    # Groups are added up in another order.
    assert {without_deviations(shift) for shift in judged.shifts} == set(map(without_deviations, found[-1].shifts))


def without_deviations(shift):
    return replace(shift, standardised=0.0)


@SQLITE
def test_the_first_night_has_no_reference(engine, database_url, nights):
    """And the second has one night."""
    first, second = drift(database_url, nights[1], shown=NIGHTS)
    assert (first.scans, first.reference_runs, first.reference_scans) == (60, (), 0)
    assert first.not_judged == "no earlier night of this source was scored by this model; later nights are judged"
    assert second.reference_runs == (nights[0],)
    assert drift(database_url, nights[1], shown=1) == (second,)


@SQLITE
def test_a_night_under_another_model_has_no_reference(engine, database_url, nights):
    """The scores of two models differ, whatever the scans are."""
    other = add_night(engine, NightlyJob(model="later", usual=USUAL, kept_nights=1), NIGHTS)
    (found,) = drift(database_url, other)
    assert (found.reference_runs, found.reference_scans, found.is_alarm) == ((), 0, None)


@SQLITE
def test_a_night_equals_a_recount_once_patients_are_forgotten_and_runs_are_pruned(engine, database_url, nights):
    """The scans of those nights are gone then, and other nights come before."""
    with engine.begin() as connection:
        many = select(Scan.patient_id).group_by(Scan.patient_id).order_by(func.count().desc())
        patient = connection.execute(many).scalars().first()
    forgotten = forget_patient(engine, patient)
    assert set(forgotten.runs) & set(nights[-2 * REFERENCE :])
    check(engine, database_url, nights)
    with engine.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=90)
        connection.execute(update(Run).where(Run.id.in_([nights[-2], nights[-5]])).values(created_at=long_ago))
    assert prune_runs(engine, timedelta(days=30)).runs == 2
    check(engine, database_url, [run for run in nights if run not in (nights[-2], nights[-5])])


@SQLITE
def test_outcomes_for_which_several_nights_waited_count_once_in_a_reference(engine, database_url):
    """Nights that are opened while the one before is not done wait for its scans, too; each of them is of all these."""
    job = NightlyJob(usual=USUAL)
    waiting = [open_night(engine, job, number) for number in range(3)]
    decide_night(engine, job, 2, waiting[-1])
    close_finished_runs(engine)
    *before, last = drift(database_url, add_night(engine, job, 3))
    assert [night.scans for night in before] == [2 * USUAL.scans, 3 * USUAL.scans]
    assert last.reference_scans == 3 * USUAL.scans


@SQLITE
def test_a_run_as_reference_counts_with_all_its_scans_but_those_of_the_night(engine, database_url, nights):
    """Reused ones too. Outcomes of a night that it reused are the night's."""
    before = drift(database_url, nights[-1], reference=nights[2])
    assert [night.run_id for night in before] == nights[-REFERENCE:]
    assert {night.reference_scans for night in before} == {recount(engine, [nights[2]], own=False)}
    assert {night.reference_runs for night in before} == {(nights[2],)}
    (after,) = drift(database_url, nights[2], reference=nights[3], shown=1)
    with read_transaction(engine) as connection:
        shared = select(RunScan.outcome_id).where(RunScan.run_id == nights[2], ~RunScan.reused)
        shared = select(func.count()).where(RunScan.run_id == nights[3], RunScan.outcome_id.in_(shared))
        count = connection.execute(shared).scalar()
    assert 0 < count < after.scans
    assert after.reference_scans == recount(engine, [nights[3]], own=False) - count


@SQLITE
def test_a_reference_of_which_every_scan_is_one_of_the_nights_says_so(engine, database_url, nights):
    """As a run of a folder that the night's run scored before."""
    again = add_night(engine, NightlyJob(usual=USUAL, job="b" * 12, kept_nights=1), 0, NightScans(scans=60))
    with engine.begin() as connection:
        connection.execute(delete(RunScan).where(RunScan.run_id == again))
        own = select(literal(again), RunScan.scan_id, RunScan.outcome_id, true()).where(RunScan.run_id == nights[0])
        columns = ["run_id", "scan_id", "outcome_id", "reused"]
        connection.execute(insert(RunScan).from_select(columns, own))
    (found,) = drift(database_url, nights[0], reference=again, shown=1)
    assert found.not_judged == f"every scan of run {again} is one of this night's"


@SQLITE
def test_a_run_that_is_no_night_is_judged_by_a_reference_alone(engine, database_url, nights):
    """With all its scans."""
    with engine.begin() as connection:
        connection.execute(update(Run).where(Run.id == nights[-1]).values(night=None))
    assert drift(database_url, nights[-1]) == ()
    (found,) = drift(database_url, nights[-1], reference=nights[0])
    assert (found.run_id, found.night) == (nights[-1], "")
    assert found.scans == recount(engine, nights[-1:], own=False)


@SQLITE
def test_nights_say_why_they_cannot_be_compared_with_a_reference(engine, database_url, nights):
    """It is the night itself, a run of another model, or one that is not there: reports of nights must not fail."""
    run = nights[-1]
    other = add_night(engine, NightlyJob(model="later", usual=USUAL, kept_nights=1), NIGHTS)
    flag = "--reference or CXR_DRIFT_REFERENCE"
    reasons = {
        run: f"run {run} cannot be its own reference; name another run with {flag}",
        other: f"run {other} is of model later; name a run of model densenet with {flag}",
        99: "there is no run 99 to compare with; name another run with --reference or CXR_DRIFT_REFERENCE",
    }
    for reference, sentence in reasons.items():
        found = drift(database_url, run, reference=reference)
        assert found[-1].run_id == run
        assert {(night.not_judged, night.is_alarm, night.shifts) for night in found} == {(sentence, None, ())}


@SQLITE
def test_a_run_that_is_not_there_is_a_mistake(database_url, nights):
    """Only a reference may be gone."""
    with pytest.raises(UserError, match=r"^no run 99$"):
        drift(database_url, 99)
