"""What nightly runs need: which night a run was opened for, and whether its summary went out."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; programs that do not know them keep running."""
    op.add_column("runs", sa.Column("night", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("summarised_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_runs_night",
        "runs",
        ["night"],
        unique=True,
        sqlite_where=sa.text("night IS NOT NULL"),
        postgresql_where=sa.text("night IS NOT NULL"),
    )
