"""What is said of a night: whether its scans differ from those of the reference, and by what."""

from dataclasses import dataclass
from typing import Final

#: A night or a reference of fewer scans is not judged.
MIN_SCANS: Final = 50
#: The share of like nights in which an alarm is raised, whatever differs: all quantities together.
LEVEL: Final = 0.01
#: Nights before a night that are its reference, unless another run is.
REFERENCE_NIGHTS: Final = 30
#: Kinds of quantities beside those of `db.evaluation.cohort` (view, sex, age, manufacturer).
SCORE, OUTCOME = "score", "outcome"
#: The kind of the shift that is of all findings' scores together, of which there is one; and its name.
ALL_SCORES, ALL_FINDINGS = "scores", "all findings"


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One quantity, mostly a share of scans, in the night and in the reference."""

    #: `score`, `scores`, `outcome`, `view`, `sex`, `age` or `manufacturer`.
    kind: str
    #: The finding, the reason (or `scored`), or the group.
    name: str
    #: Of a finding: the share is that of the scored scans with at least this score, where the shift is largest.
    cut: float | None
    #: In [0, 1]; None where there are no scans, as of scores if all were rejected, and of `scores`, which are no share.
    night: float | None
    reference: float | None
    #: Night minus reference, in standard deviations of that difference among like nights; of `scores` at least 0.
    standardised: float


@dataclass(frozen=True, kw_only=True)
class ScoreShift:
    """The scores of a finding in the night and in the reference; None where either has no score."""

    finding: str
    night_mean: float | None
    reference_mean: float | None
    #: The largest difference between the shares of scans up to a score, in [0, 1].
    kolmogorov_smirnov: float | None
    #: At least 0. Above 0.25 is a large shift by custom; of few scans it is large by chance.
    population_stability_index: float | None


@dataclass(frozen=True, kw_only=True)
class NightDrift:
    """A night's scans beside those of its reference."""

    run_id: int
    #: The date, or with `--now` the moment in UTC; empty for a run that is no night.
    night: str
    #: Runs that the reference is of.
    reference_runs: tuple[int, ...]
    #: Scans that were decided in the night, and in the reference.
    scans: int
    reference_scans: int
    #: Why the night is not judged, as a sentence; then all below is None or empty.
    not_judged: str | None
    #: How often like nights have so large a largest shift; where there is no alarm, it is rough.
    p_value: float | None = None
    is_alarm: bool | None = None
    #: By descending absolute shift; of each finding one.
    shifts: tuple[Shift, ...] = ()
    scores: tuple[ScoreShift, ...] = ()
    #: Kinds of groups that are left out, because the night knows them and the reference does not.
    not_compared: tuple[str, ...] = ()

    @property
    def largest(self) -> Shift | None:
        """The quantity that shifted most, by which the night is judged; None if it is not judged."""
        return self.shifts[0] if self.shifts else None
