"""The page of all runs: what became of their scans, and their AUROCs with the intervals of the reports."""

import re

import pytest
from sqlalchemy import text

from db.addresses import sqlite_address
from db.engine.session import open_database, read_transaction
from db.evaluation.format import format_estimate
from db.ledger.cancel_run import cancel_run
from db.ledger.open_run import lock_for_enqueue
from db.ledger.outcomes import pending_of_run, record_outcomes
from db.ledger.runs import progress
from db.maintenance.forget_patient import forget_patient
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import build_report
from tests.support.browse_server import browse_server
from tests.support.demo_ledger import make_demo_ledger
from tests.support.worklist_ledger import OPEN, make_worklist_ledger, open_again, outcome_of


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A labelled run of 433 scans, and a night of DICOM in which one film was rejected. The last test forgets one."""
    home = make_demo_ledger(tmp_path_factory.mktemp("demo"))
    url = sqlite_address(home / "nightread.sqlite")
    engine = open_database(url)
    with browse_server(url, home) as server:
        yield engine, server
    engine.dispose()


def test_runs_are_listed_newest_first_with_their_rejects(ledger):
    """Each has its counts, and each reason of a rejection leads to its scans."""
    _, server = ledger
    page = server.get("/").text
    assert re.findall(r'id="run-(\d+)"', page) == ["2", "1"]
    assert ("433 of 433 scored" in page, "5 of 6 scored" in page) == (True, True)
    assert '<a href="/runs/2?reason=view">view 1</a>' in page


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e3", "99999999", "%00"])
def test_a_page_that_is_no_number_is_refused_in_a_sentence(ledger, page):
    """The address is a person's mistake."""
    _, server = ledger
    answer = server.get(f"/?page={page}")
    assert (answer.status, "page: write a whole number from 1" in answer.text) == (400, True)


def test_the_auroc_is_that_of_the_report_also_after_a_patient_was_forgotten(ledger):
    """Figure, interval and number of scans follow what the ledger has now."""
    engine, server = ledger
    before = server.get("/runs/1/auroc").text
    assert before == _auroc(engine, 1)
    with engine.connect() as connection:
        patient = connection.execute(text("SELECT MIN(patient_id) FROM results_wide WHERE held_out = 1")).scalar()
    forget_patient(engine, patient)
    after = server.get("/runs/1/auroc").text
    assert (after, after != before) == (_auroc(engine, 1), True)


def test_a_cancelled_run_that_shares_scans_with_an_open_one_is_counted_each_time(tmp_path):
    """It is finished, and its scans are scored one after the other all the same."""
    url = sqlite_address(tmp_path / "nightread.sqlite")
    make_worklist_ledger(url)
    engine = open_database(url)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        open_again(connection, "waits.csv", label_set_id=1)
        pending = pending_of_run(connection, OPEN)
    cancel_run(engine, OPEN)
    aurocs = []
    with browse_server(url, tmp_path) as server:
        for some in (pending[:30], pending[30:-1]):
            with engine.begin() as connection:
                record_outcomes(connection, [outcome_of(scan) for scan in some])
                scored = progress(connection, OPEN).scored
            row = re.search(rf'<tr id="run-{OPEN}".*?</tr>', server.get("/").text, re.DOTALL)[0]
            assert ("cancelled" in row, f"{scored} of 120 scored" in row) == (True, True)
            aurocs.append(server.get(f"/runs/{OPEN}/auroc").text)
            assert aurocs[-1] == _auroc(engine, OPEN)
    assert aurocs[0] != aurocs[1]
    engine.dispose()


def _auroc(engine, run):
    with read_transaction(engine) as connection:
        report, _ = build_report(connection, run, partial=True, label_set=None, subset=HELD_OUT)
    figures = report.main.figures
    return f"{format_estimate(figures.auroc)}\n{report.finding}, {figures.scans} held-out scans"
