"""Lets a fault hit a run in the middle on a machine of any speed, and checks how the run ends after it."""


def begin(stage, seconds=2):
    """Return once some of the work is done.

    Everything is enqueued before a worker starts: on a busy machine the workers could be done before
    `producer enqueue` returns.

    Args:
        stage: the scenario.
        seconds: how long each batch takes.

    Returns:
        The first worker.
    """
    stage.world.env["HASH_SCORER_SECONDS"] = str(seconds)
    stage.enqueue()
    first, *_ = [stage.worker() for _ in range(stage.workers)]
    stage.reach(stage.rng.uniform(0.1, 0.5))
    return first


def ends_well(stage, fault, *, since, stated):
    """Check that the run recovers in time, ends as the undisturbed run did, and that no supervisor died."""
    assert stage.pending() > 0, "the fault came too late"
    stage.recovers(fault, since=since, stated=stated)
    stage.finish()
    stage.check()
    assert all(process.poll() is None for process in stage.running), stage.world.logs()
