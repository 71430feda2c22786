"""Judges a night's scans against a reference's."""

from db.drift.night import NightDrift
from db.drift.scans import DecidedScans


def judge_night(night: DecidedScans, reference: DecidedScans, *, run_id: int, name: str) -> NightDrift:
    """Compare a night with a reference.

    Args:
        night: the scans of the night.
        reference: those of the reference, none of which is a scan of the night.
        run_id: the night's run, which is also the seed of the permutations: a second call finds the same.
        name: the night's, see `NightDrift.night`.
    """
    raise NotImplementedError
