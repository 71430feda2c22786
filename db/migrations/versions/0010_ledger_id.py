"""Gives the ledger an id of its own: two ledgers may share one broker, and each takes only its own chunks."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and its one row; programs that do not know it keep running, on queues that are not named by it."""
    ledger = op.create_table(
        "ledger", sa.Column("id", sa.String(12), nullable=False), sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger"))
    )
    op.bulk_insert(ledger, [{"id": uuid4().hex[:12]}])
