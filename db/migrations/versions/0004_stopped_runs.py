"""What stopping a run needs: when and why it was stopped, and since when it goes on again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; programs that do not know them keep running, and work on what is stopped."""
    op.add_column("runs", sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("runs", sa.Column("stop_reason", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True))
