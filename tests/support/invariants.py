"""Checks what must hold after every fault, in SQL, in the broker and in everything that was printed.

I1   Each (scan, model, revision) has one outcome.
I2   expected = scored + rejected + quarantined, and nothing is pending.
I3   Every score equals the quiet run's, bit for bit.
I4   An image that does not decode has no score.
I5   Attempts stay within the cap.
I6   The metrics equal the quiet run's.
I7   The queue and the hash of unacknowledged messages are empty.
I8   No patient id is in what was printed, sent as an event or served as a metric.
I9   The stack recovers within the stated time: `Scenario.recovers`.
I10  The same scans are scored, rejected and quarantined as in the quiet run, for the same reasons.
"""

import re
from dataclasses import dataclass

from db.ledger.outcomes import ATTEMPTS_CAP
from tests.support.world import wait_until

#: The patient ids of the scenario (`scenario.name_of`), but not inside a hash.
CANARY = re.compile(r"(?<![0-9a-fA-F])7731\d{4}(?![0-9a-fA-F])")
_SCORES = (
    "SELECT w.image_name, w.state, w.reason, s.* FROM results_wide w "
    "LEFT JOIN run_scans r ON r.run_id = w.run_id AND r.scan_id = w.scan_id "
    "LEFT JOIN scores s ON s.outcome_id = r.outcome_id WHERE w.run_id = :run ORDER BY w.image_name"
)
_COUNTS = "subset, finding, threshold, tp, fp, fn, tn, precision, recall, f1, accuracy"
_METRICS = f"SELECT {_COUNTS} FROM threshold_metrics WHERE run_id = :run ORDER BY subset, finding, threshold"
_CURVES = (
    "SELECT subset, finding, auroc, average_precision, positives, negatives FROM finding_metrics WHERE run_id = :run "
    "ORDER BY subset, finding"
)


@dataclass(frozen=True)
class RunResults:
    """The results of a run in which nothing went wrong."""

    #: State, reason and every score by image.
    outcomes: dict
    metrics: list


def run_results(world, run):
    """Read the results of a run that has ended."""
    rows = world.rows(_SCORES, run=run)
    # The outcome's id differs from run to run; the scores follow it.
    outcomes = {name: (state, reason, *scores[1:]) for name, state, reason, *scores in rows}
    return RunResults(outcomes=outcomes, metrics=[*world.rows(_METRICS, run=run), *world.rows(_CURVES, run=run)])


def check_invariants(scenario, run=None, *, quiet=None, within=0.0):
    """Fail, naming the invariant, unless the run ended as the quiet run did.

    Args:
        scenario: where the fault happened.
        run: the run's id; None means the latest.
        quiet: the expected results; None means the scenario's own quiet run.
        within: maximum distance of a score from the quiet run's: TensorFlow's last bits depend on the place in a batch.
    """
    world, quiet = scenario.world, quiet or scenario.quiet
    run = run or world.rows("SELECT max(id) FROM runs")[0][0]
    _check_counts(world, run)
    found = run_results(world, run)
    states = {name: row[:2] for name, row in found.outcomes.items()}
    expected = {name: row[:2] for name, row in quiet.outcomes.items()}
    assert states == expected, f"I10: {_difference(states, expected)}"
    scores = {name: row[2:] for name, row in found.outcomes.items()}
    wanted = {name: row[2:] for name, row in quiet.outcomes.items()}
    assert scores == wanted or _all_near(scores, wanted, within), f"I3: {_difference(scores, wanted)}"
    # Metrics are computed in a transaction of their own, right after the run was closed.
    wait_until(lambda: run_results(world, run).metrics == quiet.metrics, 20, "I6: the same metrics")
    worst = world.rows("SELECT max(attempts) FROM outcomes")[0][0]
    assert worst <= ATTEMPTS_CAP, f"I5: {worst} attempts"
    _check_broker(scenario)
    check_privacy(scenario)


def _all_near(scores, wanted, within):
    pairs = [pair for name in wanted for pair in zip(scores[name], wanted[name], strict=True)]
    return all(one == other or abs((one or 0) - (other or 0)) <= within for one, other in pairs)


def _check_counts(world, run):
    twice = world.rows("SELECT scan_id FROM outcomes GROUP BY scan_id, model_id, revision HAVING count(*) > 1")
    assert not twice, f"I1: {len(twice)} scans have two outcomes"
    wrong = world.rows(
        "SELECT o.id FROM outcomes o LEFT JOIN scores s ON s.outcome_id = o.id "
        "WHERE (o.state = 'scored') <> (s.outcome_id IS NOT NULL)"
    )
    assert not wrong, f"I1, I4: {len(wrong)} outcomes have scores without being scored, or none though they are"
    query = "SELECT expected, scored, rejected, quarantined, pending FROM run_progress WHERE run_id = :run"
    expected, *decided, pending = world.rows(query, run=run)[0]
    assert expected == sum(decided), f"I2: {expected} expected, {decided} decided"
    assert pending == 0, f"I2: {pending} pending"
    finished = world.rows("SELECT finished_at IS NOT NULL FROM runs WHERE id = :run", run=run)
    assert finished[0][0], "I2: nothing is pending and the run is open"


def _check_broker(scenario):
    """Wait until the broker is empty: messages in work at the last outcome are soon acknowledged or redelivered."""

    def left():
        client = scenario.broker
        queues = {key: client.llen(key) for key in client.scan_iter("score.*")}
        return [*(key for key, length in queues.items() if length), *client.hkeys(scenario.unacked)]

    wait_until(lambda: not left(), 30, f"I7: an empty queue; {left()[:3]} are left")


def check_privacy(scenario):
    """Check I8: no patient in the printed output."""
    for source, printed in scenario.printed().items():
        found = CANARY.search(printed)
        assert not found, f"I8: {found.group()} in {source}: ...{printed[max(0, found.start() - 200) : found.end()]}"


def _difference(found, expected):
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return [(name, found.get(name), "expected", expected.get(name)) for name in names[:5]]
