"""`producer drift` on a ledger of nights, the last of which differs."""

import json
import os
import re

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from db.engine.session import open_database
from db.errors import UserError
from producer.cli import app
from producer.commands.drift import drift_command
from tests.support.documents import ROOT
from tests.support.nights_ledger import NightlyJob, NightScans, make_nights_ledger, name_of, open_night

JOB = NightlyJob(usual=NightScans(scans=80))
OTHER = NightScans(scans=160, ap_share=0.9, manufacturers=("GE [b]Med[/b]\x1b[2J",))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The CXR_HOME of three nights, and of a fourth one whose run is open."""
    folder = tmp_path_factory.mktemp("home")
    folder.chmod(0o700)
    url = f"sqlite:///{folder / 'nightread.sqlite'}"
    make_nights_ledger(url, nights=3, job=JOB, last=OTHER)
    engine = open_database(url)
    open_night(engine, JOB, 3)
    engine.dispose()
    return folder


@pytest.fixture
def drift(home, monkeypatch, capsys):
    """Runs the command in this process, and returns what it prints."""
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CXR_HOME", str(home))

    def run(run_id=None, reference=None, *, as_json=False):
        drift_command(run_id, reference, as_json=as_json)
        return capsys.readouterr().out

    return run


def test_it_prints_the_alarm_and_the_largest_shifts_scores_and_nights_in_80_columns(drift):
    """It is of the latest night, in tables that no name of a manufacturer can disturb."""
    lines = drift().splitlines()
    assert re.fullmatch(r"Run 3, night 2026-10-03, model densenet \([0-9a-f]{12}\): 160 decided scans", lines[0])
    assert lines[1].startswith("ALARM: drift: night 2026-10-03 differs from the 2 nights before it (160 scans): ")
    tables = "\n".join(lines[2:])
    assert max(map(len, lines[2:])) <= 80
    assert re.search(r"^ +\+\d+\.\d +100% +0% +manufacturer GE \[b\]Med\[/b\]�\[2J$", tables, re.MULTILINE)
    assert re.search(r"^the 12 largest of \d\d shifts; --json has all$", tables, re.MULTILINE)
    assert re.search(r"^ +0\.\d{3} +0\.\d{3} +0\.\d{3} +\d\.\d{3} +[+-]\d\.\d  Effusion$", tables, re.MULTILINE)
    assert re.search(r"^2026-10-01 +80 +–  not judged +–$", tables, re.MULTILINE)
    assert re.search(r"^2026-10-03 +160  <= 0\.001  ALARM +\+\d+\.\d  ", tables, re.MULTILINE)


def test_json_has_every_night_with_the_documented_fields(drift):
    """The last one is the night that was asked for; with --run it may be an earlier one."""
    nights = json.loads(drift(as_json=True))
    assert [(night["run_id"], night["is_alarm"]) for night in nights] == [(1, None), (2, False), (3, True)]
    described = (ROOT / "docs" / "drift.md").read_text().partition("## JSON")[2]
    of_parts = {f"shifts.{name}" for name in nights[-1]["shifts"][0]} | set(nights[-1]["scores"][0]) | {*nights[-1]}
    assert of_parts <= set(re.findall(r"`([\w.]+)`", described))
    assert [night["run_id"] for night in json.loads(drift(2, as_json=True))] == [1, 2]


def test_nights_may_be_compared_with_a_run(drift):
    """The sentence and the table of nights name it."""
    printed = drift(3, reference=1)
    assert "ALARM: drift: night 2026-10-03 differs from run 1 (80 scans): " in printed
    assert "The last 3 nights, each against run 1\n" in printed


def test_a_run_that_is_no_night_needs_a_reference(drift, home):
    """With one, all its scans are compared."""
    engine = open_database(f"sqlite:///{home / 'nightread.sqlite'}")
    rename = text("UPDATE runs SET night = :night WHERE id = 2")
    with engine.begin() as connection:
        connection.execute(rename, {"night": None})
    try:
        with pytest.raises(UserError, match=r"run 2 is no night, .* 'producer drift --run 2 --reference RUN'"):
            drift(2)
        printed = drift(2, reference=3)
    finally:
        with engine.begin() as connection:
            connection.execute(rename, {"night": name_of(JOB, 1)})
        engine.dispose()
    assert printed.startswith("Run 2, model densenet ")
    assert "The last" not in printed


def test_a_night_that_is_still_scored_says_that_more_may_change_it(drift):
    """It is not the latest night unless it is named, because it has not ended."""
    assert "The run is not finished: 80 more scans may change what is said here." in drift(4)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [(3, "run 3 cannot be its own reference"), (9, "there is no run 9 to compare with")],
)
def test_a_reference_that_cannot_be_compared_is_refused(drift, reference, sentence):
    """The sentence says what to name instead."""
    with pytest.raises(UserError, match=f"^{sentence}; name another run with --reference or CXR_DRIFT_REFERENCE$"):
        drift(3, reference=reference)


def test_the_command_line_hands_its_flags_on_and_an_alarm_exits_with_0(drift):
    """The command did its work."""
    done = CliRunner().invoke(app, ["drift", "--run", "3", "--reference", "1", "--json"])
    assert (done.exit_code, json.loads(done.stdout)[-1]["reference_runs"]) == (0, [1])


def test_a_ledger_without_nights_gets_one_sentence(drift, monkeypatch, tmp_path):
    """It says what opens nights, and what to name without one."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match=r"^there is no ended night yet, .* 'producer drift --run ID --reference RUN'$"):
        drift()
