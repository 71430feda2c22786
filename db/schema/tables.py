"""The tables. They may change; the views over them (`db.schema.views`) are the public interface.

scans ─┬─ labels ── label_sets          the labels that each CSV gives, as the differences between files of one name
       ├─ outcomes ── scores            what became of each scan under each model
       ├─ scan_reviews ── models        what people say of the scores
       └─ run_scans ── runs             the scans of each run
models ─┬─ model_scans                  the scans that a model was fitted, tuned or tested on
        └─ model_exports                the files of other runtimes that may score for a model
runs ── run_threshold_metrics, run_finding_metrics
forgotten                               when a patient was forgotten, but not which patient
ledger                                  the id of this ledger: one row
"""

from datetime import UTC, date, datetime
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
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.findings import FINDINGS, NIH_FINDINGS, column_of

#: SQLite assigns ids by itself only if the key's type is exactly INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
#: Option of a table whose deleted ids are never given again. PostgreSQL's sequences never do; SQLite's default does.
_NEVER_REUSE_IDS: Final = {"sqlite_autoincrement": True}

PENDING: Final = "pending"
SCORED: Final = "scored"
REJECTED: Final = "rejected"
QUARANTINED: Final = "quarantined"

#: The values of a label.
POSITIVE: Final = 1
NEGATIVE: Final = 0
UNCERTAIN: Final = -1


class UtcDateTime(TypeDecorator[datetime]):
    """A date and time in UTC. SQLite drops the time zone, and PostgreSQL gives that of its session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """The same moment in UTC; without a time zone, it is in UTC already."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


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
    """One X-ray, identified by its image name within a dataset. Its location may change."""

    __tablename__ = "scans"
    __table_args__ = (
        UniqueConstraint("dataset", "image_name"),
        Index(None, "dataset", "patient_id"),
        _NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    dataset: Mapped[str]
    image_name: Mapped[str]
    #: Absolute path or s3:// address; NULL until an image was found.
    location: Mapped[str | None]
    #: As in the CSV, without leading zeros. Identifies a patient only within the dataset.
    patient_id: Mapped[str | None]
    view: Mapped[str | None]
    sex: Mapped[str | None]
    age_years: Mapped[float | None] = mapped_column(Double)
    follow_up: Mapped[int | None]
    #: These are of a DICOM file's header. The first is also the image name.
    sop_instance_uid: Mapped[str | None]
    manufacturer: Mapped[str | None]
    #: The UID of its encoding.
    transfer_syntax: Mapped[str | None]
    #: Only if a person asked for it.
    study_date: Mapped[date | None]


class LabelSet(Base):
    """One labels file as it was read. It is never edited: another file of the same name is the next of its series.

    `db.schema.label_history` says which labels it has.
    """

    __tablename__ = "label_sets"
    __table_args__ = (UniqueConstraint("name", "sha256"), Index(None, "series_id"), _NEVER_REUSE_IDS)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    #: The same for all label sets of one name, in which a greater id is a later file. The latest is never deleted.
    series_id: Mapped[int] = mapped_column(Id)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    #: The findings that a labelled scan does not have if it has no row of them, joined by `|` in the order of
    #: `SPECIFIC_FINDINGS`. Of any other finding, a scan without a row is unlabelled.
    covered: Mapped[str] = mapped_column(server_default="|".join(NIH_FINDINGS))
    #: How the file was read, see `db.labels.csv_file.LabelsFile.reading`.
    reading: Mapped[dict[str, str]] = mapped_column(JSON, server_default="{}")
    imported_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Label(Base):
    """One finding of a scan in successive label sets. `No Finding` is a row too; a scan without a row is unlabelled.

    If a later file gives it another value, the row ends and another one begins.
    """

    __tablename__ = "labels"

    series_id: Mapped[int] = mapped_column(Id, primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"), primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)
    #: The first label set that has it, and the first later one that does not; NULL if the latest has it. Either of
    #: these may have been pruned since, so they are no references.
    since_id: Mapped[int] = mapped_column(Id, primary_key=True)
    until_id: Mapped[int | None] = mapped_column(Id)
    #: `POSITIVE`, `NEGATIVE` or `UNCERTAIN`.
    value: Mapped[int] = mapped_column(server_default="1")


class Model(Base):
    """A registered artifact. `sha256` identifies it; `name` is an alias for people."""

    __tablename__ = "models"
    __table_args__ = (
        Index("ix_models_active", "active", unique=True, sqlite_where=text("active"), postgresql_where=text("active")),
        _NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    active: Mapped[bool]
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ModelScan(Base):
    """The subset to which a scan belonged when a model was fitted: a row of the artifact's `split.csv`."""

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
    #: `sha256:...` of the encoded image, as in `Outcome.content`; NULL if the artifact does not say.
    content: Mapped[str | None]


class ModelExport(Base):
    """The export of a model to a format that workers may score with: the first that was registered or accepted."""

    __tablename__ = "model_exports"

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    #: `openvino`, `openvino-int8` or `onnx`.
    format: Mapped[str] = mapped_column(primary_key=True)
    #: Over the sha256 of each of its files, see `worker.artifacts.exports.export_sha256`.
    sha256: Mapped[str] = mapped_column(String(64))


class Run(Base):
    """One source of scans, scored by one model."""

    __tablename__ = "runs"
    __table_args__ = (
        # Makes a second producer join the open run: only one open run may have an identity.
        Index(
            "ix_runs_open_identity",
            "identity",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        # Makes two nightly producers share one run.
        Index(
            "ix_runs_night",
            "night",
            unique=True,
            sqlite_where=text("night IS NOT NULL"),
            postgresql_where=text("night IS NOT NULL"),
        ),
        _NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    #: sha256 over source, model, labels and options.
    identity: Mapped[str] = mapped_column(String(64))
    #: The CSV (or folder) as the command named it.
    source: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    dataset: Mapped[str]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    label_set_id: Mapped[int | None] = mapped_column(ForeignKey("label_sets.id"))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: Set if a person cancelled the run: the scans that were pending then are rejected as `cancelled`.
    cancelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: When and why workers stopped the run; the reason holds no names. Resuming sets both to NULL again; a run that
    #: ends while stopped keeps them.
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stop_reason: Mapped[str | None]
    #: When it was last resumed after a stop: a worker that measured its error rate before starts over.
    resumed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: The night that it was opened for, see `db.ledger.nightly_runs`; NULL if no nightly producer opened it.
    night: Mapped[str | None]
    #: When a nightly producer claimed the sending of its summary.
    summarised_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: `db.metrics.known_patients.KnownPatients.can_tell_held_out`. NULL until the run's metrics and
    #: `RunScan.seen` are computed, and again once something changes that they rest on.
    can_tell_held_out: Mapped[bool | None]


class Outcome(Base):
    """What became of a scan under a model. Once decided it never changes; a new attempt is a new revision."""

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
        _NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    revision: Mapped[int]
    state: Mapped[str]
    #: Short code of a rejection or quarantine, and its sentence, which holds no names.
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    #: Codes of what is unusual about the image, joined by `,`, such as `colour`; NULL if nothing is.
    notes: Mapped[str | None]
    #: Absolute path or s3:// address that it was opened for: no other image is ever scored under it. NULL without one.
    location: Mapped[str | None]
    #: How often a worker died while this scan was alone in its chunk.
    attempts: Mapped[int]
    #: Identity of the bytes that were read: `sha256:...`. Older programs wrote `etag:...` of an S3 object.
    content: Mapped[str | None]
    #: Version and location in the listing that it was opened for; once it is decided, in the last listing in which the
    #: image had that content. If a later listing differs, the image is read again.
    seen_as: Mapped[str | None]
    runtime: Mapped[str | None]
    precision: Mapped[str | None]
    #: `ModelExport.sha256` of the export that computed the scores; NULL for Keras, whose file the model's hash covers.
    export_sha256: Mapped[str | None] = mapped_column(String(64))
    scored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RunScan(Base):
    """A scan of a run, and the outcome that counts for it in that run."""

    __tablename__ = "run_scans"
    __table_args__ = (Index(None, "outcome_id"),)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"), primary_key=True)
    outcome_id: Mapped[int] = mapped_column(ForeignKey("outcomes.id"))
    #: The outcome existed before this run was opened.
    reused: Mapped[bool]
    #: The model has seen the scan, see `db.metrics.held_out`; means nothing while `Run.can_tell_held_out` is NULL.
    seen: Mapped[bool] = mapped_column(server_default=false())


class Scores(Base):
    """The scores of a scored outcome, one column per finding: sigmoid outputs in [0, 1], or NULL if the model has none.

    Wide, because that was measured to be faster: see docs/decisions.md.
    """

    __tablename__ = "scores"

    outcome_id: Mapped[int] = mapped_column(ForeignKey("outcomes.id"), primary_key=True)

    for _finding in FINDINGS:
        # Double precision: in single precision, comparisons with 0.3 differ between databases.
        locals()[column_of(_finding)] = mapped_column(Double, nullable=True)
    del _finding


class Review(Base):
    """What a person says of an outcome. A later row about the same outcome and finding supersedes it; both stay.

    Scan, model and revision name the outcome, but do not refer to it: once another one replaced it, it may be pruned.
    The scan's newest outcome under the model is never pruned, so the model stays while it has reviews.
    """

    __tablename__ = "scan_reviews"
    __table_args__ = (
        CheckConstraint("verdict IN ('agree', 'disagree', 'bad_image')", name="verdict"),
        CheckConstraint("(finding IS NULL) = (verdict = 'bad_image')", name="finding"),
        Index(None, "scan_id", "model_id", "revision"),
        _NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    revision: Mapped[int]
    #: One of `FINDINGS`; NULL for `bad_image`, which concerns every finding.
    finding: Mapped[str | None]
    #: In [0, 1]: where the score was at least this, the person agrees with or contradicts a positive prediction.
    #: NULL for `bad_image`, and where the verdict is on the score as such.
    threshold: Mapped[float | None] = mapped_column(Double)
    verdict: Mapped[str]
    #: One line of a person's words, which may name anybody. It goes with the patient.
    comment: Mapped[str | None]
    #: Login name.
    reviewer: Mapped[str]
    reviewed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunThresholdMetric(Base):
    """Counts and rates of one finding at one threshold. An undefined rate is NULL, never 0."""

    __tablename__ = "run_threshold_metrics"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    label_set_id: Mapped[int] = mapped_column(ForeignKey("label_sets.id"), primary_key=True)
    #: `held_out` or `all`.
    subset: Mapped[str] = mapped_column(primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)
    #: `given`, or chosen on the same scans that it is measured on: `best_f1`, `youden`.
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
    computed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    #: Always false: a run gets its metrics once nothing in it is pending.
    is_partial: Mapped[bool]


class RunFindingMetric(Base):
    """Metrics of one finding that need no threshold; an area is NULL unless both classes are present."""

    __tablename__ = "run_finding_metrics"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    label_set_id: Mapped[int] = mapped_column(ForeignKey("label_sets.id"), primary_key=True)
    subset: Mapped[str] = mapped_column(primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)
    auroc: Mapped[float | None] = mapped_column(Double)
    average_precision: Mapped[float | None] = mapped_column(Double)
    positives: Mapped[int]
    negatives: Mapped[int]
    computed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    is_partial: Mapped[bool]


class Forgotten(Base):
    """When a patient was forgotten and how many rows were deleted, but not which patient."""

    __tablename__ = "forgotten"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    forgotten_at: Mapped[datetime] = mapped_column(UtcDateTime)
    scans: Mapped[int]
    outcomes: Mapped[int]
    labels: Mapped[int]


class Ledger(Base):
    """The one row of this table names the ledger, because several may share a broker."""

    __tablename__ = "ledger"

    #: 12 hex digits, drawn by the migration that made the table.
    id: Mapped[str] = mapped_column(String(12), primary_key=True)
