"""Generated scores and labels of patients whose scans are alike, to judge intervals that are clustered by patient."""

from dataclasses import dataclass, replace
from math import log
from typing import Final

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from db.evaluation.cohort import Numbers, Sample
from db.metrics.formulas import Labels, ScoreArray

#: The logarithm of the number of a patient's scans before it is cut to a whole one, and to at most `Kind.max_scans`.
_MEAN_LOG, _DEVIATION_LOG = 0.3, 1.5


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the scans of a finding are made."""

    name: str
    #: The most scans of a patient. With 30, three in five patients have one scan and two in a hundred have 30, as in
    #: NIH's set.
    max_scans: int = 30
    #: The share of scans that are positive.
    prevalence: float
    #: The share of a label's variance that is the patient's, on the scale of the normal variable behind it.
    label_correlation: float
    #: The standard deviation of the score's log odds within each class.
    spread: float
    #: The share of that variance that is the patient's.
    score_correlation: float
    #: The correlation of the patient's share of the label with the patient's share of the score.
    shared: float = 0.3
    #: The score's log odds are this many times too extreme.
    overconfidence: float = 1.25
    #: Where the rates are judged: near the prevalence, as the best threshold by Youden is.
    threshold: float


#: Like Edema or Pneumonia in NIH's labels: one in ten other scans of a positive scan's patient is positive; AUROC .80.
WEAK: Final = Kind(
    name="weak", prevalence=0.05, label_correlation=0.2, spread=1.0, score_correlation=0.3, threshold=0.05
)
#: Like Effusion or Pneumothorax: one in three other scans of a positive scan's patient is positive; AUROC .88.
STRONG: Final = Kind(
    name="strong", prevalence=0.12, label_correlation=0.5, spread=1.4, score_correlation=0.5, threshold=0.15
)
#: As `WEAK`, but of one scan a patient.
SINGLE: Final = replace(WEAK, name="single", max_scans=1)
KINDS: Final = (SINGLE, WEAK, STRONG)


@dataclass(frozen=True, kw_only=True)
class Second:
    """How a second set of scores of the same scans differs from the first: as it stands, by chance alone."""

    #: The share of the variance within a class that both scores have in common, of the patient's part and of a scan's
    #: own: the differences of a patient's scans are as alike as their scores.
    alike: float = 0.6
    #: The second score's log odds tell the classes apart by this many times as much.
    signal: float = 1.0


def clustered_set(kind: Kind, patients: int, rng: np.random.Generator) -> Sample:
    """Generate the scans of so many patients."""
    made = _patients(kind, patients, rng)
    noise = _mix(made.of_score[made.patients], kind.score_correlation, rng)
    return made.scored(kind, noise)


def paired_sets(kind: Kind, patients: int, second: Second, rng: np.random.Generator) -> tuple[Sample, Sample]:
    """Generate the scans of this number of patients, with two scores each and the same labels."""
    made = _patients(kind, patients, rng)
    noise = _mix(made.of_score[made.patients], kind.score_correlation, rng)
    of_patient = rng.standard_normal((2, patients))[:, made.patients]
    first, other = (
        second.alike**0.5 * noise + (1 - second.alike) ** 0.5 * _mix(one, kind.score_correlation, rng)
        for one in of_patient
    )
    return made.scored(kind, first), made.scored(kind, other, signal=second.signal)


def patients_for(kind: Kind, positives: int) -> int:
    """How many patients have so many positives on average."""
    whole = np.arange(2, kind.max_scans + 1)
    scans = 1 + norm.sf((np.log(whole) - _MEAN_LOG) / _DEVIATION_LOG).sum()
    return round(positives / kind.prevalence / float(scans))


@dataclass(frozen=True, kw_only=True)
class _Patients:
    """N scans of P patients, before they are scored."""

    #: (N,) bool.
    labels: Labels
    #: (N,) the patient of each scan.
    patients: Numbers
    #: (P,) the patient's part of the score, standard normal.
    of_score: ScoreArray

    def scored(self, kind: Kind, noise: ScoreArray, *, signal: float = 1.0) -> Sample:
        """With scores of which the part that tells nothing, (N,), is standard normal."""
        odds = log(kind.prevalence / (1 - kind.prevalence)) + signal * kind.spread**2 * (self.labels - 0.5)
        scores = expit(kind.overconfidence * (odds + kind.spread * noise))
        return Sample(labels=self.labels, scores=scores, patients=self.patients)


def _patients(kind: Kind, patients: int, rng: np.random.Generator) -> _Patients:
    scans = np.exp(rng.normal(_MEAN_LOG, _DEVIATION_LOG, patients)).clip(1, kind.max_scans).astype(np.int64)
    patient = np.repeat(np.arange(patients), scans)
    of_label, own = rng.standard_normal((2, patients))
    return _Patients(
        labels=_mix(of_label[patient], kind.label_correlation, rng) > norm.isf(kind.prevalence),
        patients=patient,
        of_score=kind.shared * of_label + (1 - kind.shared**2) ** 0.5 * own,
    )


def _mix(of_patient: ScoreArray, share: float, rng: np.random.Generator) -> ScoreArray:
    """(N,) standard normal numbers of which the patient's are a share."""
    own = rng.standard_normal(len(of_patient))
    return np.asarray(share**0.5 * of_patient + (1 - share) ** 0.5 * own, np.float64)
