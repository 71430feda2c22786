"""What verifies exports: the hash of each model's exports, and of the one that computed an outcome's scores."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table and the column. Exports of models that are registered already are noted when workers load them."""
    op.create_table(
        "model_exports",
        sa.Column("model_id", ID, nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_exports_model_id")),
        sa.PrimaryKeyConstraint("model_id", "format", name=op.f("pk_model_exports")),
    )
    op.add_column("outcomes", sa.Column("export_sha256", sa.String(length=64), nullable=True))
