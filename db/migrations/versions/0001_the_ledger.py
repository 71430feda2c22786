"""The ledger: scans, labels, models, runs, outcomes, scores, metrics."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "label_sets",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_sets")),
        sa.UniqueConstraint("name", name=op.f("uq_label_sets_name")),
    )
    op.create_table(
        "models",
        sa.Column("id", ID, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("name", name=op.f("uq_models_name")),
        sa.UniqueConstraint("sha256", name=op.f("uq_models_sha256")),
    )
    op.create_index(
        "ix_models_active",
        "models",
        ["active"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "scans",
        sa.Column("id", ID, nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("image_name", sa.String(), nullable=False),
        sa.Column("location", sa.String(), nullable=True),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("view", sa.String(), nullable=True),
        sa.Column("sex", sa.String(), nullable=True),
        sa.Column("age_years", sa.Double(), nullable=True),
        sa.Column("follow_up", sa.Integer(), nullable=True),
        sa.Column("sop_instance_uid", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scans")),
        sa.UniqueConstraint("dataset", "image_name", name=op.f("uq_scans_dataset_image_name")),
    )
    op.create_index(op.f("ix_scans_dataset_patient_id"), "scans", ["dataset", "patient_id"], unique=False)
    op.create_table(
        "labels",
        sa.Column("label_set_id", ID, nullable=False),
        sa.Column("scan_id", ID, nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["label_set_id"], ["label_sets.id"], name=op.f("fk_labels_label_set_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_labels_scan_id")),
        sa.PrimaryKeyConstraint("label_set_id", "scan_id", "finding", name=op.f("pk_labels")),
    )
    op.create_table(
        "model_scans",
        sa.Column("model_id", ID, nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("image_name", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("subset", sa.String(), nullable=False),
        sa.CheckConstraint("subset IN ('train', 'validation', 'test')", name=op.f("ck_model_scans_subset")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_scans_model_id")),
        sa.PrimaryKeyConstraint("model_id", "dataset", "image_name", name=op.f("pk_model_scans")),
    )
    op.create_index(op.f("ix_model_scans_model_id_patient_id"), "model_scans", ["model_id", "patient_id"], unique=False)
    op.create_table(
        "outcomes",
        sa.Column("id", ID, nullable=False),
        sa.Column("scan_id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("content", sa.String(), nullable=True),
        sa.Column("runtime", sa.String(), nullable=True),
        sa.Column("precision", sa.String(), nullable=True),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'scored', 'rejected', 'quarantined')", name=op.f("ck_outcomes_state")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_outcomes_model_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_outcomes_scan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcomes")),
        sa.UniqueConstraint("scan_id", "model_id", "revision", name=op.f("uq_outcomes_scan_id_model_id_revision")),
    )
    op.create_index(
        "ix_outcomes_pending",
        "outcomes",
        ["model_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("identity", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("label_set_id", ID, nullable=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["label_set_id"], ["label_sets.id"], name=op.f("fk_runs_label_set_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_runs_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(
        "ix_runs_open_identity",
        "runs",
        ["identity"],
        unique=True,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "run_finding_metrics",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("label_set_id", ID, nullable=False),
        sa.Column("subset", sa.String(), nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.Column("auroc", sa.Double(), nullable=True),
        sa.Column("average_precision", sa.Double(), nullable=True),
        sa.Column("positives", sa.Integer(), nullable=False),
        sa.Column("negatives", sa.Integer(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_partial", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["label_set_id"], ["label_sets.id"], name=op.f("fk_run_finding_metrics_label_set_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_finding_metrics_run_id")),
        sa.PrimaryKeyConstraint("run_id", "label_set_id", "subset", "finding", name=op.f("pk_run_finding_metrics")),
    )
    op.create_table(
        "run_scans",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("scan_id", ID, nullable=False),
        sa.Column("outcome_id", ID, nullable=False),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["outcome_id"], ["outcomes.id"], name=op.f("fk_run_scans_outcome_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_scans_run_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_run_scans_scan_id")),
        sa.PrimaryKeyConstraint("run_id", "scan_id", name=op.f("pk_run_scans")),
    )
    op.create_index(op.f("ix_run_scans_outcome_id"), "run_scans", ["outcome_id"], unique=False)
    op.create_table(
        "run_threshold_metrics",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("label_set_id", ID, nullable=False),
        sa.Column("subset", sa.String(), nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.Column("chosen_by", sa.String(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("tp", sa.Integer(), nullable=False),
        sa.Column("fp", sa.Integer(), nullable=False),
        sa.Column("fn", sa.Integer(), nullable=False),
        sa.Column("tn", sa.Integer(), nullable=False),
        sa.Column("precision", sa.Double(), nullable=True),
        sa.Column("recall", sa.Double(), nullable=True),
        sa.Column("specificity", sa.Double(), nullable=True),
        sa.Column("f1", sa.Double(), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("balanced_accuracy", sa.Double(), nullable=True),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_partial", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["label_set_id"], ["label_sets.id"], name=op.f("fk_run_threshold_metrics_label_set_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_threshold_metrics_run_id")),
        sa.PrimaryKeyConstraint(
            "run_id",
            "label_set_id",
            "subset",
            "finding",
            "chosen_by",
            "threshold",
            name=op.f("pk_run_threshold_metrics"),
        ),
    )
    op.create_table(
        "scores",
        sa.Column("outcome_id", ID, nullable=False),
        sa.Column("abnormal", sa.Double(), nullable=True),
        sa.Column("atelectasis", sa.Double(), nullable=True),
        sa.Column("cardiomegaly", sa.Double(), nullable=True),
        sa.Column("consolidation", sa.Double(), nullable=True),
        sa.Column("edema", sa.Double(), nullable=True),
        sa.Column("effusion", sa.Double(), nullable=True),
        sa.Column("emphysema", sa.Double(), nullable=True),
        sa.Column("fibrosis", sa.Double(), nullable=True),
        sa.Column("hernia", sa.Double(), nullable=True),
        sa.Column("infiltration", sa.Double(), nullable=True),
        sa.Column("mass", sa.Double(), nullable=True),
        sa.Column("nodule", sa.Double(), nullable=True),
        sa.Column("pleural_thickening", sa.Double(), nullable=True),
        sa.Column("pneumonia", sa.Double(), nullable=True),
        sa.Column("pneumothorax", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["outcome_id"], ["outcomes.id"], name=op.f("fk_scores_outcome_id")),
        sa.PrimaryKeyConstraint("outcome_id", name=op.f("pk_scores")),
    )
