"""What ties an outcome to its image: the location that the outcome was opened for."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and fill it for the work that waits; where a decided image was read from is not known."""
    op.add_column("outcomes", sa.Column("location", sa.String(), nullable=True))
    op.execute(
        "UPDATE outcomes SET location = (SELECT location FROM scans WHERE scans.id = outcomes.scan_id) "
        "WHERE state = 'pending'"
    )
