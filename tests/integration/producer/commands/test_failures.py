"""`producer failures` on a ledger of two nights, of which the second reuses the outcomes of the first."""

import json
import os

from typer.testing import CliRunner

from producer.cli import app
from tests.support.nights_ledger import NightlyJob, NightScans, make_nights_ledger


def test_new_lists_only_what_the_run_decided_itself(tmp_path, monkeypatch):
    """Beside it, a run lists what earlier nights rejected, because it holds every scan of its source."""
    tmp_path.chmod(0o700)
    job = NightlyJob(usual=NightScans(scans=6, reject_share=1.0, reasons=("view",)))
    make_nights_ledger(f"sqlite:///{tmp_path / 'nightread.sqlite'}", nights=2, job=job)
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CXR_HOME", str(tmp_path))

    def printed(*flags):
        return CliRunner().invoke(app, ["failures", "--run", "2", *flags]).stdout

    assert len(json.loads(printed("--json"))) == 12
    assert {failure["image_name"][:6] for failure in json.loads(printed("--new", "--json"))} == {"0_001_"}
    assert printed("--new").startswith("run 2 itself: 6 scans not scored\n")
