"""SQLite gives an id only once: a worker may still hold the outcome of a scan that was deleted."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rebuild the tables whose rows are named by id; each goes on from its highest id. PostgreSQL needs nothing."""
    if op.get_context().dialect.name != "sqlite":
        return
    # Otherwise the renaming that ends each rebuild fails where a user has views of their own over ours.
    op.execute("PRAGMA legacy_alter_table = ON")
    for table in ("scans", "label_sets", "models", "runs", "outcomes"):
        with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
    op.execute("PRAGMA legacy_alter_table = OFF")
