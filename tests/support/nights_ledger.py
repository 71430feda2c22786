"""A ledger with nights of a job, of any number and size, the last of which may differ. Nothing in it is real.

Each night adds scans to the source, which still holds those of earlier nights: a later run has these as reused. There
are patients with several scans and patients that come back, rejects for three reasons, and scans of which view, sex
and age are unknown.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
from sqlalchemy import select, text

from db.close_run import close_finished_runs
from db.engine.session import open_database, read_transaction
from db.findings import ABNORMAL
from db.labels.csv_file import LabelRow
from db.ledger.models import register_model
from db.ledger.nightly_runs import assign_night, claim_summary
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Rejected, Scored, pending_of_run, record_outcomes
from db.ledger.scans import FoundImage, ImageHeader, register_scans
from db.schema.tables import Scan

FIRST_NIGHT = date(2026, 10, 1)
_SCANS_PER_STATEMENT = 4_000
#: An AP film's scores are higher by this, before the sigmoid.
_AP_EFFECT = 0.5


@dataclass(frozen=True, kw_only=True)
class NightScans:
    """The scans that a night adds, and what becomes of them."""

    scans: int = 60
    ap_share: float = 0.35
    #: It is added to every score, which stays in [0, 1].
    score_offset: float = 0.0
    reject_share: float = 0.05
    #: One is taken as often as another.
    reasons: tuple = ("truncated", "constant", "view")
    manufacturers: tuple = ("FUJIFILM Corporation", "Carestream Health", None)


@dataclass(frozen=True, kw_only=True)
class NightlyJob:
    """The job and model of nights. Equal numbers give equal scans, so another `seed` gives other ones."""

    #: As `producer.nightly.schedule.job_id` gives it.
    job: str = "3fa9c1d2e4b5"
    #: `now` is that of `--now`.
    schedule: str = "02:00 Europe/Berlin"
    model: str = "densenet"
    findings: tuple = (ABNORMAL, "Effusion", "Hernia", "Pneumothorax")
    dataset: str = "nights"
    #: How many nights the source keeps the scans of; None means all.
    kept_nights: int | None = None
    seed: int = 0
    usual: NightScans = field(default_factory=NightScans)


def make_nights_ledger(url, *, nights=31, last=None, job=None):
    """Write the ledger: `nights` nights, all but the last alike. Returns their runs, of which the first is 1.

    Args:
        url: of an empty database.
        nights: how many.
        last: `NightScans` of the last night; None means the usual ones.
        job: a `NightlyJob`; None means the default one.
    """
    job = job or NightlyJob()
    engine = open_database(url)
    runs = [
        add_night(engine, job, number, (last if number == nights - 1 else None) or job.usual)
        for number in range(nights)
    ]
    with engine.begin() as connection:
        for run_id in runs[:-1]:
            claim_summary(connection, run_id)
    engine.dispose()
    return runs


def add_night(engine, job, number, night=None):
    """Open a job's night, decide its scans and close it; returns its run.

    Args:
        engine: of the ledger.
        job: a `NightlyJob`.
        number: of the night, counted from 0: also its date.
        night: `NightScans`; None means the usual ones.
    """
    run_id = open_night(engine, job, number, night)
    decide_night(engine, job, number, run_id, night)
    close_finished_runs(engine)
    return run_id


def open_night(engine, job, number, night=None):
    """Register a night's scans and open its run, with nothing decided; as `add_night`."""
    night = night or job.usual
    rng = np.random.default_rng([job.seed, number])
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        model = register_model(connection, sha256=_sha256(job.model), manifest=_manifest(job), used=[])
        known = connection.execute(select(Scan.id).where(Scan.dataset == job.dataset).order_by(Scan.id)).scalars().all()
        rows, found = _rows(job, night, number, len(known), rng)
        added = register_scans(connection, job.dataset, rows, found)
        kept = len(known) if job.kept_nights is None else (job.kept_nights - 1) * job.usual.scans
        request = RunRequest(
            source=f"/films/{job.dataset}",
            sha256=_sha256(f"{job.dataset} {number}"),
            dataset=job.dataset,
            model_id=model.id,
            label_set_id=None,
            options={},
        )
        run_id, _ = open_run(connection, request, [*known[len(known) - kept :], *added.values()])
        assign_night(connection, run_id, name_of(job, number))
    return run_id


def name_of(job, number):
    """The text that is stored as the night of a run."""
    day = f"{FIRST_NIGHT + timedelta(days=number)}"
    return f"{job.job} {job.schedule} {day}T02:00:00Z" if job.schedule == "now" else f"{job.job} {job.schedule} {day}"


def decide_night(engine, job, number, run_id, night=None):
    """Decide whatever is pending in a night's run; as `add_night`."""
    night = night or job.usual
    rng = np.random.default_rng([job.seed, number, 1])
    with engine.begin() as connection:
        outcomes = list(_outcomes(job, night, connection, pending_of_run(connection, run_id), rng))
        for start in range(0, len(outcomes), _SCANS_PER_STATEMENT):
            record_outcomes(connection, outcomes[start : start + _SCANS_PER_STATEMENT])


def decided_rows(engine, *, own):
    """Rows of the view `results_wide` of decided scans of all runs, by run and scan.

    Args:
        engine: of the ledger.
        own: only those that the run decided itself, without those that were `unreadable` once more.
    """
    with read_transaction(engine) as connection:
        rows = connection.execute(text("SELECT * FROM results_wide ORDER BY run_id, scan_id")).all()
    unreadable = {(row.scan_id, row.model, row.revision) for row in rows if row.reason == "unreadable"}

    def is_repeated(row):
        key = (row.scan_id, row.model)
        return row.reason == "unreadable" and any((*key, before) in unreadable for before in range(row.revision))

    decided = [row for row in rows if row.state != "pending" and row.reason != "cancelled"]
    return [row for row in decided if not own or not (row.reused or is_repeated(row))]


def _sha256(words):
    return hashlib.sha256(words.encode()).hexdigest()


def _manifest(job):
    thresholds = {finding: {"youden": 0.2471} for finding in job.findings}
    names = {"name": job.model, "dataset": job.dataset, "findings": list(job.findings)}
    return names | {"thresholds": thresholds}


def _rows(job, night, number, known, rng):
    """A row and an image for each of the night's scans; of 4% view, sex and age are unknown."""
    patients = _patients(known, night.scans, rng)
    others = (1 - night.ap_share) * np.array([0.94, 0.06])
    views = rng.choice(["AP", "PA", "LATERAL"], night.scans, p=[night.ap_share, *others])
    # The longer of two draws begins with the shorter one, so a patient stays the same person.
    sexes = np.where(np.random.default_rng([job.seed, 1]).random(known + night.scans) < 0.45, "F", "M").tolist()
    ages = np.random.default_rng([job.seed, 2]).random(known + night.scans) * 94 + 1
    makers = rng.integers(0, len(night.manufacturers), night.scans)
    is_unknown = rng.random(night.scans) < 0.04
    rows, found = [], {}
    for place, patient in enumerate(patients.tolist()):
        name = f"{job.seed}_{number:03d}_{place:06d}.png"
        about = {"view": str(views[place]), "sex": sexes[patient], "age_years": float(ages[patient] // 1)}
        about = dict.fromkeys(about) if is_unknown[place] else about
        rows.append(LabelRow(image_name=name, findings=(), patient_id=str(patient), follow_up=None, **about))
        header = ImageHeader(manufacturer=night.manufacturers[makers[place]])
        found[name] = FoundImage(location=f"/films/{job.dataset}/{name}", header=header)
    return tuple(rows), found


def _patients(known, scans, rng):
    """(scans,) the patient of each scan: two in three have one scan, and one in five may have been there before."""
    numbers = np.arange(known, known + scans)
    group = np.cumsum(np.concatenate([[True], rng.random(scans - 1) < 0.65])) - 1
    names = numbers[np.searchsorted(group, np.arange(group[-1] + 1))]
    if known:
        returns = rng.random(len(names)) < 0.2
        names[returns] = rng.integers(0, known, int(returns.sum()))
    return names[group]


def _outcomes(job, night, connection, pending, rng):
    """An outcome of each pending scan."""
    views = dict(connection.execute(select(Scan.id, Scan.view).where(Scan.dataset == job.dataset)).all())
    is_ap = np.array([views[scan.scan_id] == "AP" for scan in pending], np.float64)[:, None]
    logits = rng.normal(_AP_EFFECT * is_ap - 1.6, 1.1, (len(pending), len(job.findings)))
    scores = np.clip(1 / (1 + np.exp(-logits)) + night.score_offset, 0, 1)
    is_rejected = rng.random(len(pending)) < night.reject_share
    reasons = rng.integers(0, len(night.reasons), len(pending))
    for place, scan in enumerate(pending):
        content = f"sha256:{scan.scan_id}"
        if is_rejected[place]:
            reason = night.reasons[reasons[place]]
            yield Rejected(outcome_id=scan.outcome_id, reason=reason, detail="a sentence", content=content)
            continue
        of_scan = dict(zip(job.findings, scores[place].tolist(), strict=True))
        how = {"content": content, "runtime": "openvino", "precision": "bfloat16"}
        yield Scored(outcome_id=scan.outcome_id, scores=of_scan, **how)
