"""Lets a fault hit a run in the middle on a machine of any speed, and checks how the run ends after it."""


def start_run(scenario, seconds=2):
    """Enqueue, start the workers and return once some of the work is done.

    Everything is enqueued before a worker starts: on a busy machine the workers could be done before
    `producer enqueue` returns.

    Args:
        scenario: the scenario to run; its batches are slowed.
        seconds: how long each batch takes.

    Returns:
        The first worker.
    """
    scenario.world.env["HASH_SCORER_SECONDS"] = str(seconds)
    scenario.enqueue()
    first, *_ = [scenario.worker() for _ in range(scenario.workers)]
    scenario.reach(scenario.rng.uniform(0.1, 0.5))
    return first


def check_recovery(scenario, fault, *, since, stated):
    """Check that the run recovers in time, ends as the undisturbed run did, and that no supervisor died."""
    assert scenario.pending() > 0, "the fault came too late"
    scenario.recovers(fault, since=since, stated=stated)
    scenario.finish()
    scenario.check()
    assert all(process.poll() is None for process in scenario.running), scenario.world.logs()
