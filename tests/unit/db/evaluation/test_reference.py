"""The figures of published scores on NIH's scans, against those that were published with them."""

import csv
import gzip
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from db.evaluation.cohort import Cohort, Sample, group_by, number_patients
from db.evaluation.evaluate import evaluate
from db.evaluation.ranking import auroc_statistic
from db.evaluation.rates import rates_at

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"


def rows_of(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the genuine file {name} is not in {DATA}")
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return list(csv.DictReader(file))


@cache
def reference():
    """22,433 scans and 14 findings."""
    scores = rows_of("reference/chexnet_scores.csv.gz")
    wanted = {row["Image Index"] for row in scores}
    labelled = {
        row["Image Index"]: row for row in rows_of("Data_Entry_2017_v2020.csv.gz") if row["Image Index"] in wanted
    }
    findings = tuple(name.removeprefix("prob_") for name in scores[0] if name.startswith("prob_"))
    rows = [labelled[row["Image Index"]] for row in scores]
    patients, has_patient = number_patients([row["Patient ID"] for row in rows])
    labels = np.array([[finding in row["Finding Labels"].split("|") for finding in findings] for row in rows])
    return Cohort(
        findings=findings,
        scores=np.array([[float(row[f"prob_{finding}"]) for finding in findings] for row in scores]),
        labels=labels,
        known=np.ones_like(labels),
        patients=patients,
        has_patient=has_patient,
        groupings={"view": group_by([row["View Position"] for row in rows], order=("PA", "AP"))},
    )


@pytest.fixture(scope="module")
def found():
    return evaluate(reference(), findings=("Cardiomegaly", "Edema"), thresholds=()).findings


def test_the_published_aurocs_are_reproduced():
    """All 14, to four digits."""
    published = {row["label"]: float(row["auc"]) for row in rows_of("reference/chexnet_aurocs.csv")}
    cohort = reference()
    aurocs = {finding: auroc_statistic(cohort.sample(finding)).value for finding in cohort.findings}
    assert aurocs == pytest.approx(published, abs=5e-5)
    assert len(aurocs) == 14


@pytest.mark.parametrize(("finding", "ratio"), [("Pneumothorax", 1.86), ("Pneumonia", 0.99)])
def test_scans_of_a_patient_widen_intervals_as_the_bootstrap_says(finding, ratio):
    """Deviations over those of single scans (DeLong): the bootstrap over patients has 1.87 and 1.01."""
    sample = reference().sample(finding)
    alone = Sample(labels=sample.labels, scores=sample.scores, patients=np.arange(len(sample.labels)))
    clustered, single = (auroc_statistic(one).variance ** 0.5 for one in (sample, alone))
    assert clustered / single == pytest.approx(ratio, abs=0.02)


def test_views_differ(found):
    """Cardiomegaly is told from PA images better than from AP images, whose hearts are larger."""
    by_view = found["Cardiomegaly"].groups["view"]
    assert {name: round(figures.auroc.value, 3) for name, figures in by_view.items()} == {"PA": 0.940, "AP": 0.852}


def test_the_view_alone_tells_edema(found):
    """Patients who lie in bed are imaged AP."""
    assert round(found["Edema"].baselines["view_only"].auroc.value, 3) == 0.728


def test_nihs_own_label_finds_half_of_the_adjudicated_pneumothoraces():
    """Majkowska et al., Radiology 294 (2020), test set: recall .50, precision .485."""
    rows = [row for row in rows_of("reference/adjudicated_labels_2019.csv.gz") if row["Set Id"] == "test"]
    sample = Sample(
        labels=np.array([row["Pneumothorax"] == "YES" for row in rows]),
        scores=np.array([float("Pneumothorax" in row["Finding Labels"].split("|")) for row in rows]),
        patients=number_patients([row["Patient ID"] for row in rows])[0],
    )
    rates = rates_at(sample, [0.5])[0]
    assert (round(rates.recall.value, 2), round(rates.precision.value, 3)) == (0.50, 0.485)
    assert rates.recall.low < 0.5 < rates.recall.high
