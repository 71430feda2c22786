"""Counts a ledger's metrics again in plain Python, row by row, and compares the public views with the counts."""

from sqlalchemy import select, text

from db.engine.session import read_transaction
from db.findings import FINDINGS, NIH_FINDINGS, column_of
from db.metrics.run_metrics import BEST_F1, DEFAULT_THRESHOLDS, GIVEN, YOUDEN
from db.schema.tables import (
    PENDING,
    SCORED,
    Label,
    LabelSet,
    Model,
    ModelScan,
    Outcome,
    Run,
    RunScan,
    Scan,
    Scores,
)


def check_views(engine, *, complete=True):
    """Fail if a view shows a figure, label or `held_out` that a recount contradicts, or lacks one of a finished run.

    Args:
        engine: the ledger.
        complete: false if figures may be missing.

    Returns:
        The runs that have figures.
    """
    with read_transaction(engine) as connection:
        counts, areas = _recount(connection)
        shown_counts, shown_areas = _shown(connection)
        _check_scans(connection, complete=complete)
    assert all(counts.get(key) == row for key, row in shown_counts.items()), (counts, shown_counts)
    assert all(areas.get(key) == row for key, row in shown_areas.items()), (areas, shown_areas)
    if complete:
        assert (shown_counts.keys(), shown_areas.keys()) == (counts.keys(), areas.keys())
    return sorted({key[0] for key in shown_areas})


def _shown(connection):
    counts = connection.execute(text("SELECT * FROM threshold_metrics")).all()
    areas = connection.execute(text("SELECT * FROM finding_metrics")).all()
    key = ("run_id", "label_set", "subset", "finding")
    return (
        {
            (*(getattr(row, name) for name in key), row.chosen_by, round(row.threshold, 9)): (
                *(row.tp, row.fp, row.fn, row.tn),
                *(_rounded(row.precision), _rounded(row.recall), _rounded(row.f1), _rounded(row.accuracy)),
            )
            for row in counts
        },
        {
            tuple(getattr(row, name) for name in key): (row.positives, row.negatives, _rounded(row.auroc))
            for row in areas
        },
    )


def _recount(connection):
    counts, areas = {}, {}
    names = dict(connection.execute(text("SELECT id, name FROM label_sets")).all())
    for run in connection.execute(select(Run.__table__).where(Run.label_set_id.is_not(None))).all():
        rows = connection.execute(
            select(Outcome.state, Scores.__table__, Scan.__table__.c.id.label("scan"))
            .select_from(RunScan)
            .join(Outcome, Outcome.id == RunScan.outcome_id)
            .join(Scan, Scan.id == RunScan.scan_id)
            .outerjoin(Scores, Scores.outcome_id == Outcome.id)
            .where(RunScan.run_id == run.id)
        ).all()
        if run.finished_at is None or any(row.state == PENDING for row in rows):
            continue
        labels, seen = _labels_of(connection, run.label_set_id), _seen_by(connection, run.model_id)
        manifest = connection.execute(select(Model.manifest).where(Model.id == run.model_id)).scalar_one()
        scored = [row for row in rows if row.state == SCORED]
        for finding in manifest["findings"]:
            known = [row for row in scored if labels(row.scan, finding) is not None]
            if not known and not labels.covers(finding):
                continue
            for subset in ("all",) if _is_fit_unknown(manifest) else ("all", "held_out"):
                used = [row for row in known if subset == "all" or row.scan not in seen]
                pairs = [(labels(row.scan, finding), getattr(row, column_of(finding))) for row in used]
                key = (run.id, names[run.label_set_id], subset, finding)
                areas[key] = _area(pairs)
                for chosen_by, threshold in _thresholds(pairs):
                    counts[*key, chosen_by, round(threshold, 9)] = _rates(pairs, threshold)
    return counts, areas


def _check_scans(connection, *, complete):
    """Compare every row of `results_wide` and `results`."""
    runs = {run.id: run for run in connection.execute(select(Run.__table__)).all()}
    labels_of = {run.id: _labels_of(connection, run.label_set_id) for run in runs.values()}
    held_out_of = {run: _held_out(connection, runs[run]) for run in runs}
    wide = connection.execute(text("SELECT * FROM results_wide")).mappings().all()
    for row in wide:
        labels, scan = labels_of[row["run_id"]], row["scan_id"]
        for finding in FINDINGS:
            assert row[f"{column_of(finding)}_label"] == labels(scan, finding), (finding, row)
        expected = held_out_of[row["run_id"]](scan)
        assert row["held_out"] == expected or (not complete and row["held_out"] is None), (expected, row)
    by_scan = {(row["run_id"], row["scan_id"]): row for row in wide}
    for row in connection.execute(text("SELECT * FROM results")).mappings():
        same, column = by_scan[row["run_id"], row["scan_id"]], column_of(row["finding"])
        shown = (row["score"], row["label"], row["held_out"], row["location"], row["notes"])
        names = (column, f"{column}_label", "held_out", "location", "notes")
        assert shown == tuple(same[name] for name in names)


def _held_out(connection, run):
    """1, 0 or None by scan, once nothing in the finished run is pending."""
    states = select(Outcome.state).join(RunScan, RunScan.outcome_id == Outcome.id).where(RunScan.run_id == run.id)
    if run.finished_at is None or PENDING in connection.execute(states).scalars().all():
        return lambda _scan: None
    seen = _seen_by(connection, run.model_id)
    fitted = select(ModelScan.patient_id).where(ModelScan.model_id == run.model_id, ModelScan.subset != "test")
    patients = select(Scan.patient_id).join(RunScan, RunScan.scan_id == Scan.id).where(RunScan.run_id == run.id)
    manifest = connection.execute(select(Model.manifest).where(Model.id == run.model_id)).scalar_one()
    can_tell = all(any(connection.execute(query).scalars()) for query in (fitted, patients))
    can_tell = can_tell and not _is_fit_unknown(manifest)
    return lambda scan: 0 if scan in seen else 1 if can_tell else None


def _is_fit_unknown(manifest):
    return manifest.get("about", {}).get("fitted_scans") == "unknown"


class _Labels:
    """The labels of a label set: 1, 0 or None by scan and finding."""

    def __init__(self, rows, covered):
        self._rows, self._covered = rows, covered

    def covers(self, finding):
        return all(name in self._covered for name in (NIH_FINDINGS if finding == "Abnormal" else (finding,)))

    def __call__(self, scan, finding):
        row = self._rows.get(scan, {})
        if finding != "Abnormal":
            unknown = {1: 1, 0: 0, -1: None}
            return unknown[row[finding]] if finding in row else 0 if row and self.covers(finding) else None
        of_nih = [row.get(name) for name in NIH_FINDINGS]
        if 1 in of_nih:
            return 1
        if row.get("No Finding") == 1:
            return 0
        return 0 if row and self.covers(finding) and -1 not in of_nih else None


def _labels_of(connection, label_set_id):
    if label_set_id is None:
        return _Labels({}, ())
    rows = {}
    series, covered = connection.execute(
        select(LabelSet.series_id, LabelSet.covered).where(LabelSet.id == label_set_id)
    ).one()
    for row in connection.execute(select(Label.__table__).where(Label.series_id == series)):
        if row.since_id <= label_set_id and (row.until_id is None or label_set_id < row.until_id):
            rows.setdefault(row.scan_id, {})[row.finding] = row.value
    return _Labels(rows, covered.split("|"))


def _seen_by(connection, model_id):
    """The ids of all scans that a model was fitted or tuned on, or of whose patient it was."""
    fitted = connection.execute(
        select(ModelScan.__table__).where(ModelScan.model_id == model_id, ModelScan.subset != "test")
    ).all()
    scans = connection.execute(select(Scan.__table__)).all()
    itself = [scan for scan in scans if any(_is_same(scan, one) for one in fitted)]
    patients = {(one.dataset, one.patient_id) for one in (*fitted, *itself) if one.patient_id is not None}
    of_patient = [scan for scan in scans if (scan.dataset, scan.patient_id) in patients]
    return {scan.id for scan in (*itself, *of_patient)}


def _is_same(scan, fitted):
    patients = {scan.patient_id, fitted.patient_id}
    return scan.image_name == fitted.image_name and (None in patients or len(patients) == 1)


def _area(pairs):
    positives = [score for label, score in pairs if label]
    negatives = [score for label, score in pairs if not label]
    wins = sum((high > low) + (high == low) / 2 for high in positives for low in negatives)
    both = len(positives) * len(negatives)
    return len(positives), len(negatives), _rounded(wins / both) if both else None


def _thresholds(pairs):
    yield from ((GIVEN, threshold) for threshold in DEFAULT_THRESHOLDS)
    scores = sorted({score for _, score in pairs}, reverse=True)
    by_class = {label for label, _ in pairs}
    if True in by_class:
        yield BEST_F1, max(scores, key=lambda score: _rates(pairs, score)[6])
    if by_class == {True, False}:
        yield YOUDEN, max(scores, key=lambda score: _youden(_rates(pairs, score)))


def _youden(rates):
    tp, fp, fn, tn = rates[:4]
    return round(tp / (tp + fn) - fp / (fp + tn), 9)


def _rates(pairs, threshold):
    tp, fp, fn, tn = (
        sum(1 for label, score in pairs if (label, score >= threshold) == cell)
        for cell in ((True, True), (False, True), (True, False), (False, False))
    )
    return (
        *(tp, fp, fn, tn),
        *(_ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn), _ratio(tp + tn, len(pairs))),
    )


def _ratio(numerator, denominator):
    return _rounded(numerator / denominator) if denominator else None


def _rounded(value):
    return None if value is None else round(value, 9)
