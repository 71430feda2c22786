"""The alert rules use only metrics that are served; `make test-containers` tests when they fire."""

import re
from pathlib import Path

from sqlalchemy import create_engine

from db.drift.night import NightDrift, Shift
from db.ledger.backlog import Backlog
from db.ledger.models import ModelInfo
from producer.monitoring.prometheus import FleetCollector, _drift, _ledger
from worker.messaging.celery_app import make_app
from worker.settings import WorkerSettings
from worker.telemetry.device_status import DeviceStatus
from worker.telemetry.prometheus import WorkerCollector

FOLDER = Path(__file__).parents[3] / "docker" / "prometheus"
STATUS = DeviceStatus(
    device="cpu", name="m", model="a" * 64, scored=1, rejected={"empty": 1}, seconds={"read": 1.0}, progress_at=1.0
)
MODEL = ModelInfo(id=1, sha256="a" * 64, name="m", active=True, findings=())

NIGHT = NightDrift(
    run_id=1,
    night="2026-11-25",
    reference_runs=(2,),
    scans=100,
    reference_scans=200,
    not_judged=None,
    p_value=0.5,
    is_alarm=False,
    shifts=(Shift(kind="view", name="AP", cut=None, night=0.4, reference=0.3, standardised=1.0),),
)


def served(tmp_path):
    """Return the names of all metrics that the two collectors can serve."""
    backlog = Backlog(models=(MODEL,), pending={1: 2}, oldest_seconds={1: 3.0}, open_runs=1, stopped_runs=0)
    settings = WorkerSettings(home=tmp_path, broker_url="redis://127.0.0.1:1/0")
    availability = FleetCollector(create_engine("sqlite://"), make_app(settings, "1a2b3c4d5e6f")).collect()
    families = [*WorkerCollector(lambda: [STATUS]).collect(), *_ledger(backlog), *availability, *_drift(NIGHT)]
    return {sample.name for family in families for sample in family.samples}


def test_every_metric_of_a_rule_is_served(tmp_path):
    """Every metric of a rule is served, because a rule on any other metric never fires."""
    rules = (FOLDER / "alerts.yml").read_text()
    used = set(re.findall(r"nightread_[a-z_]+", re.sub(r"#.*", "", rules)))
    assert len(re.findall(r"- alert:", rules)) == 6
    assert {"nightread_pending_scans", "nightread_scans_total", "nightread_stage_seconds_total"} <= used
    assert used <= served(tmp_path)
