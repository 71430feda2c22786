"""CheXpert's findings, labels that may be uncertain, notes on images, and which scans of a run its model has seen."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCORES = ("enlarged_cardiomediastinum", "fracture", "lung_lesion", "lung_opacity", "pleural_other", "support_devices")
#: NIH's fourteen findings: until now, they were all that a label could name, and a scan had none that it did not name.
COVERED = (
    "Atelectasis|Cardiomegaly|Consolidation|Edema|Effusion|Emphysema|Fibrosis|Hernia|Infiltration|Mass|Nodule"
    "|Pleural_Thickening|Pneumonia|Pneumothorax"
)


def upgrade() -> None:
    """Add columns; no table is rebuilt. What older programs write meanwhile gets the values that it always meant.

    No run says yet which of its scans are held out, so the next closing computes that, and its metrics, again.
    """
    for name in SCORES:
        op.add_column("scores", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("labels", sa.Column("value", sa.Integer(), server_default="1", nullable=False))
    op.add_column("label_sets", sa.Column("covered", sa.String(), server_default=COVERED, nullable=False))
    op.add_column("label_sets", sa.Column("reading", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("outcomes", sa.Column("notes", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("can_tell_held_out", sa.Boolean(), nullable=True))
    op.add_column("run_scans", sa.Column("seen", sa.Boolean(), server_default=sa.false(), nullable=False))
