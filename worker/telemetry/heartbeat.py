"""What one worker says of itself: the record alone, light enough for health checks."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One device's worker, as its supervisor last saw it."""

    host: str
    #: The supervisor.
    pid: int
    device: str
    #: The name of the model, empty until it is loaded for the first time, and the first 12 of its hash.
    model: str
    model_sha12: str
    #: `loading`, `idle` or `scoring`.
    state: str
    #: Scans decided since this model has been served here.
    decided: int
    #: Scans decided a second over the last minute, or since the start where that is less.
    rate: float
    #: Scans a second that its model alone has managed; 0 where it has not scored enough to tell.
    speed: float = 0.0
    restarts: int
    #: Seconds since a scan was last decided, or the model loaded; None before.
    progress_age: float | None
    #: Seconds in which it should have decided something, or loaded its model, and did not; 0 where all is well.
    stalled: float
