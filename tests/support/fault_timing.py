"""How a fault hits a run on a machine of any speed, and how the run must end after it."""


def begin(stage, seconds=2):
    """Stop where some of the work is done: gives the first worker.

    All was enqueued before a worker started, for on a busy machine they may be done before `producer enqueue` returns.

    Args:
        stage: the stage.
        seconds: that each batch takes.
    """
    stage.world.env["HASH_SCORER_SECONDS"] = str(seconds)
    stage.enqueue()
    first, *_ = [stage.worker() for _ in range(stage.workers)]
    stage.reach(stage.rng.uniform(0.1, 0.5))
    return first


def ends_well(stage, fault, *, since, stated):
    """It goes on in time and to the quiet run's end, and no supervisor died of it."""
    assert stage.pending() > 0, "the fault came too late"
    stage.recovers(fault, since=since, stated=stated)
    stage.finish()
    stage.check()
    assert all(process.poll() is None for process in stage.running), stage.world.logs()
