"""What recognising a film by its bytes needs: the content of each scan of a model's split."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; programs that do not know it keep running, and register models without contents."""
    op.add_column("model_scans", sa.Column("content", sa.String(), nullable=True))
