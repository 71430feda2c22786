"""The page of all runs: what became of their scans, and their AUROCs with the intervals of the reports."""

import re

import pytest
from sqlalchemy import text

from db.addresses import sqlite_address
from db.engine.session import open_database, read_transaction
from db.evaluation.format import format_estimate
from db.maintenance.forget_patient import forget_patient
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import build_report
from tests.support.browse_server import browse_server
from tests.support.demo_ledger import make_demo_ledger


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
    assert before == _auroc(engine)
    with engine.connect() as connection:
        patient = connection.execute(text("SELECT MIN(patient_id) FROM results_wide WHERE held_out = 1")).scalar()
    forget_patient(engine, patient)
    after = server.get("/runs/1/auroc").text
    assert (after, after != before) == (_auroc(engine), True)


def _auroc(engine):
    with read_transaction(engine) as connection:
        report, _ = build_report(connection, 1, partial=False, label_set=None, subset=HELD_OUT)
    figures = report.main.figures
    return f"{format_estimate(figures.auroc)}\n{report.finding}, {figures.scans} held-out scans"
