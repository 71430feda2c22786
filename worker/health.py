"""`worker health`: whether the workers of this home on this machine are well, by what their supervisor left last.

Quick, for a container is asked every half minute: no broker, database or model is opened.
"""

from db.errors import NightreadError
from worker.pulse import STALE, Beat, pulse_folder, pulses
from worker.settings import WorkerSettings
from worker.status import LOADING


class Sick(NightreadError):
    """Why the workers are not well: one sentence."""


def check_health(settings: WorkerSettings) -> str:
    """How the workers are, in one sentence.

    Raises:
        Sick: no supervisor runs here, its broker is away, or a worker has not loaded its model or decided a scan
            for `health_seconds` while there was something to do.
    """
    left = list(pulses(pulse_folder(settings)))
    if not left:
        raise Sick(f"no 'worker start' of {settings.home} has said anything here in the last {STALE:.0f} s")
    if not all(pulse.broker for pulse in left):
        raise Sick("the broker does not answer")
    beats = [beat for pulse in left for beat in pulse.beats]
    for beat in beats:
        if beat.stalled > settings.health_seconds:
            raise Sick(_stalled(beat))
    return "; ".join(f"{beat.device}: {beat.state}" for beat in beats) or "waiting for a model"


def _stalled(beat: Beat) -> str:
    what = "has not loaded its model" if beat.state == LOADING else "has decided no scan, though there is work,"
    return f"the worker for {beat.device} {what} for {beat.stalled:.0f} s"
