"""The tables. People read the views (`db.schema.views`); the tables may change under them.

scans ─┬─ labels ── label_sets          what the CSVs say
       ├─ outcomes ── scores            what became of each scan under each model
       └─ run_scans ── runs             who asked for which scans
models ── model_scans                   what a model was fitted on
runs ── run_threshold_metrics, run_finding_metrics
forgotten                               that patients were forgotten, never who
"""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.findings import FINDINGS, column_of

#: SQLite numbers rows by itself only where the key is exactly INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")

PENDING: Final = "pending"
SCORED: Final = "scored"
REJECTED: Final = "rejected"
QUARANTINED: Final = "quarantined"


class Moment(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets the zone; this puts it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Attach UTC where the database returned a naive moment."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    """The registry of tables, with one naming rule for constraints."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Scan(Base):
    """One X-ray, known by its name within a dataset. Its location may move."""

    __tablename__ = "scans"
    __table_args__ = (UniqueConstraint("dataset", "image_name"), Index(None, "dataset", "patient_id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    dataset: Mapped[str]
    image_name: Mapped[str]
    #: Absolute path or s3:// address; NULL while no image was found.
    location: Mapped[str | None]
    #: As in the CSV, without leading zeros; means nothing outside its dataset.
    patient_id: Mapped[str | None]
    view: Mapped[str | None]
    sex: Mapped[str | None]
    age_years: Mapped[float | None] = mapped_column(Double)
    follow_up: Mapped[int | None]
    sop_instance_uid: Mapped[str | None]


class LabelSet(Base):
    """One labels file as it was read. Never edited: another file is another label set."""

    __tablename__ = "label_sets"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    imported_at: Mapped[datetime] = mapped_column(Moment)


class Label(Base):
    """One finding that a label set gives a scan. `No Finding` is a row too; no row means unlabelled."""

    __tablename__ = "labels"

    label_set_id: Mapped[int] = mapped_column(ForeignKey("label_sets.id"), primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"), primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)


class Model(Base):
    """A registered artifact. `sha256` is the identity, `name` an alias for people."""

    __tablename__ = "models"
    __table_args__ = (
        Index("ix_models_active", "active", unique=True, sqlite_where=text("active"), postgresql_where=text("active")),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    active: Mapped[bool]
    registered_at: Mapped[datetime] = mapped_column(Moment)


class ModelScan(Base):
    """What a scan was used for when a model was fitted: a row of the artifact's `split.csv`."""

    __tablename__ = "model_scans"
    __table_args__ = (
        CheckConstraint("subset IN ('train', 'validation', 'test')", name="subset"),
        Index(None, "model_id", "patient_id"),
    )

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    dataset: Mapped[str] = mapped_column(primary_key=True)
    image_name: Mapped[str] = mapped_column(primary_key=True)
    patient_id: Mapped[str | None]
    subset: Mapped[str]


class Run(Base):
    """One source of scans against one model."""

    __tablename__ = "runs"
    __table_args__ = (
        # What makes two producers join: only one open run may have an identity.
        Index(
            "ix_runs_open_identity",
            "identity",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        # What makes two nightly producers come to one run.
        Index(
            "ix_runs_night",
            "night",
            unique=True,
            sqlite_where=text("night IS NOT NULL"),
            postgresql_where=text("night IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    #: sha256 over source, model, labels and options.
    identity: Mapped[str] = mapped_column(String(64))
    #: The CSV (or folder) as the person named it.
    source: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    dataset: Mapped[str]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    label_set_id: Mapped[int | None] = mapped_column(ForeignKey("label_sets.id"))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Set where a person stopped it: what was pending then is rejected as `cancelled`.
    cancelled_at: Mapped[datetime | None] = mapped_column(Moment)
    #: When and why (no names in it) workers stopped it; NULL again once it is resumed. Kept where it ends so.
    stopped_at: Mapped[datetime | None] = mapped_column(Moment)
    stop_reason: Mapped[str | None]
    #: When it last went on after a stop: a worker that judged it before judges it anew.
    resumed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: The night that it was opened for, see `db.ledger.nightly_runs`; NULL where no nightly producer did.
    night: Mapped[str | None]
    #: When a nightly producer claimed to send its summary.
    summarised_at: Mapped[datetime | None] = mapped_column(Moment)


class Outcome(Base):
    """What became of a scan under a model. Once it is not pending it never changes; a new attempt is a new revision."""

    __tablename__ = "outcomes"
    __table_args__ = (
        UniqueConstraint("scan_id", "model_id", "revision"),
        CheckConstraint("state IN ('pending', 'scored', 'rejected', 'quarantined')", name="state"),
        Index(
            "ix_outcomes_pending",
            "model_id",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    revision: Mapped[int]
    state: Mapped[str]
    #: Short code of a rejection or quarantine, and its sentence (no names in it).
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    #: How often a worker died while this scan was alone in its chunk.
    attempts: Mapped[int]
    #: What was read: `sha256:...` of a file's bytes, `etag:...` of an S3 object.
    content: Mapped[str | None]
    #: Version and location of the image in the last listing in which it was that content; another one is looked into.
    seen_as: Mapped[str | None]
    runtime: Mapped[str | None]
    precision: Mapped[str | None]
    scored_at: Mapped[datetime | None] = mapped_column(Moment)


class RunScan(Base):
    """A scan of a run and the outcome that counts for it there."""

    __tablename__ = "run_scans"
    __table_args__ = (Index(None, "outcome_id"),)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"), primary_key=True)
    outcome_id: Mapped[int] = mapped_column(ForeignKey("outcomes.id"))
    #: The outcome was there before this run asked for it.
    reused: Mapped[bool]


class Scores(Base):
    """The scores of a scored outcome, one column a finding: sigmoid outputs in [0, 1]; NULL where the model has none.

    Wide because it was measured: see docs/decisions.md.
    """

    __tablename__ = "scores"

    outcome_id: Mapped[int] = mapped_column(ForeignKey("outcomes.id"), primary_key=True)

    for _finding in FINDINGS:
        # Double precision: in single precision 0.3 differs between databases.
        locals()[column_of(_finding)] = mapped_column(Double, nullable=True)
    del _finding


class RunThresholdMetric(Base):
    """Counts and rates of one finding at one threshold; undefined is NULL, never 0."""

    __tablename__ = "run_threshold_metrics"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    label_set_id: Mapped[int] = mapped_column(ForeignKey("label_sets.id"), primary_key=True)
    #: `held_out` or `all`.
    subset: Mapped[str] = mapped_column(primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)
    #: `given`, or picked on these very scans: `best_f1`, `youden`.
    chosen_by: Mapped[str] = mapped_column(primary_key=True)
    threshold: Mapped[float] = mapped_column(Double, primary_key=True)
    tp: Mapped[int]
    fp: Mapped[int]
    fn: Mapped[int]
    tn: Mapped[int]
    precision: Mapped[float | None] = mapped_column(Double)
    recall: Mapped[float | None] = mapped_column(Double)
    specificity: Mapped[float | None] = mapped_column(Double)
    f1: Mapped[float | None] = mapped_column(Double)
    accuracy: Mapped[float | None] = mapped_column(Double)
    balanced_accuracy: Mapped[float | None] = mapped_column(Double)
    computed_at: Mapped[datetime] = mapped_column(Moment)
    is_partial: Mapped[bool]


class RunFindingMetric(Base):
    """What needs no threshold, for one finding; NULL where only one class is present."""

    __tablename__ = "run_finding_metrics"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    label_set_id: Mapped[int] = mapped_column(ForeignKey("label_sets.id"), primary_key=True)
    subset: Mapped[str] = mapped_column(primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)
    auroc: Mapped[float | None] = mapped_column(Double)
    average_precision: Mapped[float | None] = mapped_column(Double)
    positives: Mapped[int]
    negatives: Mapped[int]
    computed_at: Mapped[datetime] = mapped_column(Moment)
    is_partial: Mapped[bool]


class Forgotten(Base):
    """That a patient was forgotten, when, and how much of them there was: never who."""

    __tablename__ = "forgotten"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    forgotten_at: Mapped[datetime] = mapped_column(Moment)
    scans: Mapped[int]
    outcomes: Mapped[int]
    labels: Mapped[int]
