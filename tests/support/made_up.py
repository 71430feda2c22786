"""Made-up heartbeats."""

from worker.telemetry.device_status import Heartbeat


def a_heartbeat(**changes):
    """That of a worker that scores; `changes` are the fields that a test is about."""
    fields = {
        "host": "reading-room",
        "pid": 1,
        "device": "gpu 1",
        "model": "m",
        "model_sha12": "m" * 12,
        "state": "scoring",
        "decided": 5,
        "rate": 33.25,
        "restarts": 0,
        "progress_age": None,
        "stalled": 0.0,
    }
    return Heartbeat(**fields | changes)
