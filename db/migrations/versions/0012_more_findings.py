"""CheXpert's findings, labels that may be uncertain, notes on images, and which scans of a run its model has seen."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SCORES = ("enlarged_cardiomediastinum", "fracture", "lung_lesion", "lung_opacity", "pleural_other", "support_devices")
#: NIH's fourteen findings: until now, they were all that a label could name, and a scan had none that it did not name.
COVERED = (
    "Atelectasis|Cardiomegaly|Consolidation|Edema|Effusion|Emphysema|Fibrosis|Hernia|Infiltration|Mass|Nodule"
    "|Pleural_Thickening|Pneumonia|Pneumothorax"
)


def upgrade() -> None:
    """Add columns and a table. What older programs write meanwhile gets the values that it has always meant.

    No run says yet which of its scans are held out, so the next closing computes that, and its metrics, again.
    """
    for name in SCORES:
        op.add_column("scores", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("labels", sa.Column("value", sa.Integer(), server_default="1", nullable=False))
    op.add_column("label_sets", sa.Column("covered", sa.String(), server_default=COVERED, nullable=False))
    op.add_column("label_sets", sa.Column("reading", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("outcomes", sa.Column("notes", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("can_tell_held_out", sa.Boolean(), nullable=True))
    op.create_table(
        "run_seen_scans",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("scan_id", ID, nullable=False),
        sa.Column("itself", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_seen_scans_run_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_run_seen_scans_scan_id")),
        sa.PrimaryKeyConstraint("run_id", "scan_id", name=op.f("pk_run_seen_scans")),
    )
