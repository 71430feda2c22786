"""What people say of the scores."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add a table; the others stay as they are."""
    op.create_table(
        "scan_reviews",
        sa.Column("id", ID, nullable=False),
        sa.Column("scan_id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("finding", sa.String(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("comment", sa.String(), nullable=True),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('agree', 'disagree', 'bad_image')", name=op.f("ck_scan_reviews_verdict")),
        sa.CheckConstraint("(finding IS NULL) = (verdict = 'bad_image')", name=op.f("ck_scan_reviews_finding")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_scan_reviews_scan_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_scan_reviews_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_reviews")),
        sqlite_autoincrement=True,
    )
    columns = ["scan_id", "model_id", "revision"]
    op.create_index(op.f("ix_scan_reviews_scan_id_model_id_revision"), "scan_reviews", columns)
