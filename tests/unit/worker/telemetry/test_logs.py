"""A log line is text for people or JSON for collectors."""

import json
import logging
from datetime import datetime

import pytest

from db.errors import UserError
from worker.telemetry.logs import about, configure_logging


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_json_line_holds_what_it_is_about(monkeypatch, capsys):
    """Ids and codes are fields, so that no program has to parse a sentence; a traceback stays on its line."""
    monkeypatch.setenv("CXR_LOG_FORMAT", "json")
    configure_logging()
    logging.getLogger("worker.x").warning("scan %d rejected", 7, extra=about(scan_id=7, run_ids=[1, 2]))
    try:
        raise ArithmeticError
    except ArithmeticError:
        logging.getLogger("worker.x").exception("a bug")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert datetime.fromisoformat(first.pop("time")).utcoffset().total_seconds() == 0
    assert first.pop("process") > 0
    assert first == {
        "level": "WARNING",
        "logger": "worker.x",
        "message": "scan 7 rejected",
        "scan_id": 7,
        "run_ids": [1, 2],
    }
    assert "ArithmeticError" in second["exception"]


def test_text_is_the_default(monkeypatch, capsys):
    """One line, with the sentence at its end."""
    monkeypatch.delenv("CXR_LOG_FORMAT", raising=False)
    configure_logging()
    logging.getLogger("worker.x").info("run %d finished", 3, extra=about(run_id=3))
    assert capsys.readouterr().err.endswith("worker.x: run 3 finished\n")


def test_another_format_is_refused(monkeypatch):
    """One sentence that names the setting."""
    monkeypatch.setenv("CXR_LOG_FORMAT", "xml")
    with pytest.raises(UserError, match="CXR_LOG_FORMAT"):
        configure_logging()
