"""What a DICOM file's header says of its scan."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; no table is rebuilt."""
    op.add_column("scans", sa.Column("manufacturer", sa.String(), nullable=True))
    op.add_column("scans", sa.Column("transfer_syntax", sa.String(), nullable=True))
    op.add_column("scans", sa.Column("study_date", sa.Date(), nullable=True))
