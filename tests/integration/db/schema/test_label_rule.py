"""What a label is, 1, 0 or unknown, case by case: as the views show it and as metrics count it, on both databases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, insert, text

from db.findings import CHEXPERT_FINDINGS, FINDINGS, NIH_FINDINGS, SPECIFIC_FINDINGS, column_of
from db.metrics.scored_scans import read_scored_scans
from db.schema.tables import (
    NEGATIVE,
    POSITIVE,
    SCORED,
    UNCERTAIN,
    Label,
    LabelSet,
    Model,
    Outcome,
    Run,
    RunScan,
    Scan,
    Scores,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
YES, NO, UNSURE = POSITIVE, NEGATIVE, UNCERTAIN
#: What CheXpert's columns are of, where blanks mean absent.
CHEXPERT = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Pneumonia", "Pneumothorax"),
    *("Enlarged Cardiomediastinum", "Fracture", "Lung Lesion", "Lung Opacity", "Pleural Other", "Support Devices"),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan's rows in a label set, and its labels; findings that are not named have the label `others`."""

    rows: Mapping[str, int] = field(default_factory=dict)
    covered: Sequence[str] = NIH_FINDINGS
    labels: Mapping[str, int | None]
    #: Of the covered findings; the others are unknown.
    others: int | None = 0

    @property
    def expected(self) -> dict[str, int | None]:
        """The label of each finding."""
        return {name: self.others if name in self.covered else None for name in SPECIFIC_FINDINGS} | self.labels


CASES = {
    "unlabelled": Case(others=None, labels={"Abnormal": None}),
    "normal": Case(rows={"No Finding": YES}, labels={"Abnormal": 0}),
    "one finding": Case(rows={"Mass": YES}, labels={"Mass": 1, "Abnormal": 1}),
    "uncertain": Case(rows={"Mass": UNSURE}, labels={"Mass": None, "Abnormal": None}),
    "uncertain beside another": Case(
        rows={"Mass": UNSURE, "Edema": YES}, labels={"Mass": None, "Edema": 1, "Abnormal": 1}
    ),
    "uncertain beside normal": Case(rows={"Mass": UNSURE, "No Finding": YES}, labels={"Mass": None, "Abnormal": 0}),
    "negative": Case(rows={"Mass": NO}, labels={"Abnormal": 0}),
    "read, but nothing is named": Case(rows={"No Finding": NO}, labels={"Abnormal": 0}),
    "a finding that is not covered": Case(rows={"Fracture": YES}, labels={"Fracture": 1, "Abnormal": 0}),
    "uncertain and not covered": Case(rows={"Fracture": UNSURE}, labels={"Abnormal": 0}),
    "nothing is covered": Case(
        rows={"Mass": NO, "Edema": YES}, covered=(), labels={"Mass": 0, "Edema": 1, "Abnormal": 1}
    ),
    "nothing is covered, nor positive": Case(rows={"Mass": NO}, covered=(), labels={"Mass": 0, "Abnormal": None}),
    "nothing is covered, but normal": Case(rows={"No Finding": YES}, covered=(), labels={"Abnormal": 0}),
    "No Finding is uncertain": Case(rows={"No Finding": UNSURE}, covered=(), labels={"Abnormal": None}),
    "some are covered": Case(rows={"No Finding": NO}, covered=CHEXPERT, labels={"Abnormal": None}),
    "only a device": Case(
        rows={"No Finding": YES, "Support Devices": YES}, covered=CHEXPERT, labels={"Support Devices": 1, "Abnormal": 0}
    ),
    "all are covered": Case(
        rows={"Lung Opacity": YES}, covered=SPECIFIC_FINDINGS, labels={"Lung Opacity": 1, "Abnormal": 0}
    ),
}


def fill(connection: Connection) -> None:
    """Insert one run per case, of one scored scan, under a label set of its own."""

    def put(table: type, **values: object) -> None:
        connection.execute(insert(table), [values])

    manifest = {"findings": list(FINDINGS)}
    put(Model, id=1, sha256="m" * 64, name="m", manifest=manifest, active=True, registered_at=LONG_AGO)
    for number, (name, case) in enumerate(CASES.items(), start=1):
        covered = "|".join(finding for finding in SPECIFIC_FINDINGS if finding in case.covered)
        about = {"sha256": "0" * 64, "covered": covered, "imported_at": LONG_AGO}
        put(LabelSet, id=number, series_id=number, name=name, **about)
        put(Scan, id=number, dataset="d", image_name=f"{number}.png")
        put(Outcome, id=number, scan_id=number, model_id=1, revision=1, state=SCORED, attempts=0)
        put(Scores, outcome_id=number, **{column_of(finding): 0.5 for finding in FINDINGS})
        source = {"source": "s", "sha256": "0" * 64, "dataset": "d", "options": {}, "created_at": LONG_AGO}
        put(Run, id=number, identity=name, model_id=1, label_set_id=number, **source)
        put(RunScan, run_id=number, scan_id=number, outcome_id=number, reused=False)
        for finding, value in case.rows.items():
            put(Label, series_id=number, scan_id=number, finding=finding, since_id=number, value=value)


def test_a_label_is_the_same_in_both_views_and_in_metrics(engine: Engine) -> None:
    """Positive, negative or unknown: uncertain is not negative, and what a label set leaves out is not absent."""
    expected = {name: case.expected for name, case in CASES.items()}
    with engine.begin() as connection:
        fill(connection)
        labels = [f"{column_of(finding)}_label" for finding in FINDINGS]
        wide = connection.execute(text(f"SELECT label_set, {', '.join(labels)} FROM results_wide")).all()
        assert {name: dict(zip(FINDINGS, row, strict=True)) for name, *row in wide} == expected
        long: dict[str, dict[str, int | None]] = {name: {} for name in CASES}
        for name, finding, label in connection.execute(text("SELECT label_set, finding, label FROM results")):
            long[name][finding] = label
        assert long == expected
        for number, name in enumerate(CASES, start=1):
            scored = read_scored_scans(connection, number, number)
            columns = zip(scored.findings, scored.labels[0].tolist(), scored.known[0].tolist(), strict=True)
            assert {finding: int(label) if known else None for finding, label, known in columns} == expected[name]


def test_the_columns_of_earlier_programs_keep_their_places(engine: Engine) -> None:
    """Programs that read a view by position go on working: later columns stand at the end."""
    scan = ["dataset", "image_name", "patient_id", "view", "sex", "age_years"]
    outcome = ["model", "revision", "runtime", "precision", "scored_at", "run_id"]
    added = ["scan_id", "follow_up", "label_set", "reused"]
    nih = [column_of(finding) for finding in NIH_FINDINGS]
    long = [*scan, "finding", "score", "label", *outcome, *added]
    wide = [*scan, "state", "reason", "detail", "abnormal_label", *outcome, "abnormal", *nih, *added]
    wide += [*(f"{name}_label" for name in nih), "export_sha256"]
    others = [column_of(finding) for finding in CHEXPERT_FINDINGS]
    wide += [*others, *(f"{name}_label" for name in others)]
    last = ["held_out", "location", "notes", "sop_instance_uid", "manufacturer", "transfer_syntax", "study_date"]
    with engine.connect() as connection:
        for view, columns in (("results", [*long, *last]), ("results_wide", [*wide, *last])):
            assert list(connection.execute(text(f"SELECT * FROM {view}")).keys())[: len(columns)] == columns
