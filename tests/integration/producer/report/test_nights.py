"""The nights of a report: those that drift is read of, and none for a run that is no night."""

import pytest

from db.addresses import sqlite_address
from db.drift.read import read_drift
from db.engine.session import open_database, read_transaction
from db.ledger.nightly_runs import night_of
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import build_report
from tests.support.nights_ledger import NightScans, make_nights_ledger
from tests.support.report_ledger import ReportedRun, make_report_ledger


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """An engine on a ledger of five nights, of which the last has other views; the runs."""
    url = sqlite_address(tmp_path_factory.mktemp("nights") / "nightread.sqlite")
    runs = make_nights_ledger(url, nights=5, last=NightScans(ap_share=0.9))
    engine = open_database(url)
    yield engine, runs
    engine.dispose()


def built(engine, run, **asked):
    with read_transaction(engine) as connection:
        return build_report(connection, run, partial=False, label_set=None, subset=HELD_OUT, **asked)[0]


@pytest.mark.parametrize("reference", [None, 1])
def test_a_nights_report_has_it_and_the_nights_before_it(nights, reference):
    """As drift is read of SQL, the report's own night last; each is compared with the run that is asked for, if any."""
    engine, runs = nights
    report = built(engine, runs[-1], reference=reference)
    with read_transaction(engine) as connection:
        assert report.nights == read_drift(connection, runs[-1], reference=reference)
    assert [night.run_id for night in report.nights] == runs
    assert (report.night.run_id, report.night.is_alarm) == (runs[-1], True)
    assert report.night.reference_runs == ((1,) if reference else tuple(runs[:-1]))


def test_a_run_that_is_no_night_has_none(tmp_path):
    """Its report is as long as it was."""
    url = sqlite_address(tmp_path / "nightread.sqlite")
    make_report_ledger(url, ReportedRun())
    engine = open_database(url)
    with read_transaction(engine) as connection:
        assert not night_of(connection, 1)
    report = built(engine, 1)
    assert (report.nights, report.night) == ((), None)
    engine.dispose()
