"""Labels are stored once for successive files of one name, instead of once for each file."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: A label begins with each label set whose predecessor lacks it, and ends with the first later one that lacks it.
CONVERT = """
WITH sets AS (SELECT id, series_id, LAG(id) OVER (PARTITION BY series_id ORDER BY id) AS previous FROM label_sets)
INSERT INTO labels (series_id, scan_id, finding, since_id, until_id)
SELECT s.series_id, l.scan_id, l.finding, s.id, (
    SELECT MIN(later.id) FROM label_sets later
    WHERE later.series_id = s.series_id AND later.id > s.id AND NOT EXISTS (
        SELECT 1 FROM former_labels f
        WHERE f.label_set_id = later.id AND f.scan_id = l.scan_id AND f.finding = l.finding
    )
)
FROM former_labels l JOIN sets s ON s.id = l.label_set_id
WHERE NOT EXISTS (
    SELECT 1 FROM former_labels f
    WHERE f.label_set_id = s.previous AND f.scan_id = l.scan_id AND f.finding = l.finding
)
"""


def upgrade() -> None:
    """Join the label sets of one name in a series, and write their labels again; none of them gains or loses any."""
    is_sqlite = op.get_context().dialect.name == "sqlite"
    if is_sqlite:
        # Otherwise renaming a table fails where a user has views of their own over ours.
        op.execute("PRAGMA legacy_alter_table = ON")
    _number_series()
    op.rename_table("labels", "former_labels")
    if not is_sqlite:
        op.execute("ALTER INDEX pk_labels RENAME TO pk_former_labels")
    op.create_table(
        "labels",
        sa.Column("series_id", ID, nullable=False),
        sa.Column("scan_id", ID, nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.Column("since_id", ID, nullable=False),
        sa.Column("until_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_labels_scan_id")),
        sa.PrimaryKeyConstraint("series_id", "scan_id", "finding", "since_id", name=op.f("pk_labels")),
    )
    op.execute(CONVERT)
    op.drop_table("former_labels")
    if is_sqlite:
        op.execute("PRAGMA legacy_alter_table = OFF")


def _number_series() -> None:
    options = {"sqlite_autoincrement": True}
    with op.batch_alter_table("label_sets", table_kwargs=options) as label_sets:
        label_sets.add_column(sa.Column("series_id", ID, nullable=True))
        label_sets.drop_constraint("uq_label_sets_name", type_="unique")
        label_sets.create_unique_constraint(op.f("uq_label_sets_name_sha256"), ["name", "sha256"])
    rows = op.get_bind().execute(sa.text("SELECT id, name, sha256 FROM label_sets ORDER BY id")).all()
    for values in _series(rows):
        op.get_bind().execute(sa.text("UPDATE label_sets SET series_id = :series, name = :name WHERE id = :id"), values)
    with op.batch_alter_table("label_sets", table_kwargs=options) as label_sets:
        label_sets.alter_column("series_id", existing_type=ID, nullable=False)
    op.create_index(op.f("ix_label_sets_series_id"), "label_sets", ["series_id"])


def _series(rows: list[sa.Row[tuple[int, str, str]]]) -> Iterator[dict[str, object]]:
    """The series and the name of each label set; `x@HASH` belongs to `x` if its file has that hash.

    A series of its own is kept by what a person named so, and by a file that `x` has already.
    """
    first: dict[str, int] = {}
    known: set[tuple[str, str]] = set()
    for set_id, name, sha256 in rows:
        base, _, digits = name.rpartition("@")
        if base in first and len(digits) == 8 and sha256.startswith(digits) and (base, sha256) not in known:
            name = base  # noqa: PLW2901
        known.add((name, sha256))
        yield {"id": set_id, "name": name, "series": first.setdefault(name, set_id)}
