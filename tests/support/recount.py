"""Counts a ledger's metrics again in plain Python, row by row, and compares the public views with the counts."""

from sqlalchemy import select, text

from db.engine.session import read_transaction
from db.findings import NIH_FINDINGS, column_of
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
    """Fail if a view shows a figure that a recount contradicts, or (`complete`) lacks one of a finished run.

    Returns:
        The runs that have figures.
    """
    with read_transaction(engine) as connection:
        counts, areas = _recount(connection)
        shown_counts, shown_areas = _shown(connection)
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
        labelled = [row for row in rows if row.state == SCORED and row.scan in labels]
        for subset in ("all", "held_out"):
            used = [row for row in labelled if subset == "all" or row.scan not in seen]
            for finding in manifest["findings"]:
                pairs = [(_is_positive(labels[row.scan], finding), getattr(row, column_of(finding))) for row in used]
                key = (run.id, names[run.label_set_id], subset, finding)
                areas[key] = _area(pairs)
                for chosen_by, threshold in _thresholds(pairs):
                    counts[*key, chosen_by, round(threshold, 9)] = _rates(pairs, threshold)
    return counts, areas


def _labels_of(connection, label_set_id):
    labels = {}
    series = connection.execute(select(LabelSet.series_id).where(LabelSet.id == label_set_id)).scalar_one()
    for row in connection.execute(select(Label.__table__).where(Label.series_id == series)):
        if row.since_id <= label_set_id and (row.until_id is None or label_set_id < row.until_id):
            labels.setdefault(row.scan_id, set()).add(row.finding)
    return labels


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


def _is_positive(findings, finding):
    return any(name in findings for name in NIH_FINDINGS) if finding == "Abnormal" else finding in findings


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
