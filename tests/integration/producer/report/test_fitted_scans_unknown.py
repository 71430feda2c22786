"""A model of which nobody knows the fitted scans: on both databases, nothing calls a scan of its runs held out."""

import json
import re

import pytest

from db.engine.session import make_engine, read_transaction
from producer import Ledger
from producer.nightly.summary import summarise, to_text
from producer.report.table import print_report
from producer.report.write import write_report
from tests.support.recount import check_views
from tests.support.report_ledger import ReportedRun, make_report_ledger

NOTE = "Held out: unknown. Nobody knows which scans the model was fitted on, so the figures may flatter it."


@pytest.fixture(params=[0, 12], ids=["imported", "fitted from it"])
def fitted(request, database_url):
    """Make a ledger with a finished run of such a model; gives how many of its scans the model's split lists."""
    run = ReportedRun(
        scans=90, patients=40, fitted=request.param, fitted_scans_unknown=True, thresholds=(("published", 0.3),)
    )
    make_report_ledger(database_url, run)
    return request.param


def test_the_views_call_no_scan_and_no_figure_held_out(database_url, fitted):
    """The scans of the split, and their patients, stay known as seen; of the others, nobody can tell."""
    with Ledger(database_url) as ledger:
        results = ledger.results(wide=True)
        listed = results.image_name.isin([ReportedRun().name(number) for number in range(fitted)])
        assert (results.held_out[listed] == 0).all()
        assert results.held_out.dropna().tolist() == [False] * int(results.held_out.notna().sum())
        assert results.held_out.isna().any()
        assert ledger.results(held_out=True).empty
        assert set(ledger.finding_metrics().subset) == {"all"}
        assert set(ledger.metrics().subset) == {"all"}
    engine = make_engine(database_url)
    assert check_views(engine) == [1]
    engine.dispose()


@pytest.mark.parametrize("subset", ["held_out", "all"])
def test_nothing_that_a_report_says_calls_a_scan_held_out(database_url, fitted, subset, tmp_path, capsys):
    """Terminal, page, both files and a night's summary: wherever they say `held out`, they say that it is unknown."""
    engine = make_engine(database_url)
    with read_transaction(engine) as connection:
        report = write_report(connection, 1, tmp_path / "report", subset=subset)
        summary = to_text(summarise(connection, report))
    engine.dispose()
    print_report(report)
    texts = {path.name: path.read_text() for path in (tmp_path / "report").iterdir()}
    texts |= {"terminal": capsys.readouterr().out, "summary": summary}
    for name, text in texts.items():
        words = " ".join(text.split())
        assert re.search("held out: unknown", words, re.IGNORECASE), name
        assert not re.search("held[ -]out(?!: unknown)", words, re.IGNORECASE), name
        assert "validation scans" not in words, name
    other = "which other scans" if fitted else "which scans"
    assert json.loads(texts["report.json"])["held_out_note"] == NOTE.replace("which scans", other)
