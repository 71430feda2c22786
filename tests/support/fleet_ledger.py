"""Checks from outside the stack what must hold in the ledger and the broker after every fault."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.support.world import wait_until

COLUMNS = ("abnormal", "cardiomegaly", "effusion", "hernia", "infiltration", "mass", "nodule", "pneumothorax")


@dataclass
class Ledger:
    """The SQL and the queue of a stack."""

    stack: object
    scans: int

    @property
    def unacked(self):
        """The key of the messages that workers hold."""
        return f"unacked.{self.stack.rows('SELECT id FROM ledger')[0][0]}"

    @property
    def broker(self):
        password = Path(self.stack.env["SECRETS"], "broker_password").read_text().strip()
        return redis.Redis(host=self.stack.address("broker"), password=password, socket_timeout=5)

    def latest_run(self):
        return self.stack.rows("SELECT max(id) FROM runs")[0][0]

    def progress(self, run):
        """(expected, scored, rejected, quarantined, pending)."""
        query = "SELECT expected, scored, rejected, quarantined, pending FROM run_progress WHERE run_id ="
        return self.stack.rows(f"{query} {run}")[0]

    def scored(self, run):
        return self.progress(run)[1]

    def held(self):
        """The outcomes whose chunks a worker holds now."""
        held = []
        for value in self.broker.hvals(self.unacked):
            body = json.loads(base64.b64decode(json.loads(value)[0]["body"]))
            held += [outcome for outcome, _ in body[0][0]["scans"]]
        return held

    def decided(self, outcomes):
        """Whether none of these is pending."""
        ids = ", ".join(map(str, outcomes)) or "0"
        return self.stack.rows(f"SELECT count(*) FROM outcomes WHERE state = 'pending' AND id IN ({ids})") == [(0,)]

    def finish(self, run, seconds):
        """Wait for the run's end; returns the seconds from its first outcome to its last."""
        wait_until(lambda: self.progress(run)[4] == 0, seconds, f"the end of run {run}\n{self.stack.logs()}")
        query = (
            "SELECT extract(epoch FROM max(o.scored_at) - min(o.scored_at)) FROM outcomes o "
            "JOIN run_scans r ON r.outcome_id = o.id WHERE r.run_id ="
        )
        return float(self.stack.rows(f"{query} {run}")[0][0])

    def check(self, run, quiet):
        """Check that no scan was lost or scored twice, and that each score equals the quiet run's."""
        assert self.progress(run) == (self.scans, self.scans, 0, 0, 0)
        asked = self.stack.rows("SELECT count(*) FROM run_scans WHERE NOT reused")
        assert self.stack.rows("SELECT count(*) FROM outcomes") == asked
        assert self.stack.rows("SELECT count(*) FROM scores") == asked
        columns = ", ".join(COLUMNS)
        scores = f"SELECT scan_id, {columns} FROM results_wide WHERE run_id = {{}} ORDER BY scan_id"
        assert self.stack.rows(scores.format(run)) == self.stack.rows(scores.format(quiet))
        wait_until(lambda: not self.broker.hlen(self.unacked), 30, "an empty hash of unacknowledged messages")
        assert not [key for key in self.broker.keys("score.*") if self.broker.llen(key)]
