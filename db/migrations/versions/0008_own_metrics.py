"""Deletes the stored metrics, which earlier reports may have replaced and which later labels may contradict.

`db.close_run` computes them again.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Delete the rows; no table changes, so programs that run meanwhile keep running."""
    op.execute("DELETE FROM run_threshold_metrics")
    op.execute("DELETE FROM run_finding_metrics")
