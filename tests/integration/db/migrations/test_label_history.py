"""The label sets of an earlier program, each a full copy, become series on both databases and mean what they meant."""

from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError

from db.engine.session import _alembic_config, make_engine, upgrade
from db.findings import NIH_FINDINGS
from db.schema.label_history import is_label_of
from db.schema.tables import POSITIVE, Base, Label, LabelSet

#: Three nights of `x`, and three names that only look like another night of it: `x` has no file of that hash, it has
#: the file already, or there is no `z`.
NAMES = ("x", "x@bbbbbbbb", "y", "x@cccccccc", "x@dddddddd", "x@aaaaaaaa", "z@ffffffff")
HASHES = tuple(digit * 64 for digit in "abycnaf")
LABELS = {
    1: {(1, "Mass"), (2, "Mass"), (3, "Hernia"), (4, "Edema")},
    2: {(1, "Mass"), (2, "Effusion"), (3, "Hernia"), (5, "Mass")},
    3: {(1, "Edema")},
    4: {(1, "Mass"), (2, "Mass"), (4, "Edema"), (5, "Mass")},
    5: {(1, "Mass")},
    6: {(2, "Mass")},
    7: {(2, "Mass")},
}
#: Of `x`: `2 Mass` and `4 Edema` end and come again.
ROWS = [
    (1, 1, "Mass", 1, None),
    (1, 2, "Effusion", 2, 4),
    (1, 2, "Mass", 1, 2),
    (1, 2, "Mass", 4, None),
    (1, 3, "Hernia", 1, 4),
    (1, 4, "Edema", 1, 2),
    (1, 4, "Edema", 4, None),
    (1, 5, "Mass", 2, None),
    (3, 1, "Edema", 3, None),
    (5, 1, "Mass", 5, None),
    (6, 2, "Mass", 6, None),
    (7, 2, "Mass", 7, None),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def older(request, tmp_path):
    """A ledger at revision 0010 with these label sets, and a view of the user's own over SQLite's."""
    is_sqlite = request.param == "sqlite"
    address = f"sqlite:///{tmp_path / 'nightread.sqlite'}" if is_sqlite else request.getfixturevalue("new_postgres")
    engine = make_engine(address)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        # This program's views do not fit the older tables.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("db.schema.views.create_views", lambda _connection: None)
            command.upgrade(config, "0010")
        fill(connection)
        if is_sqlite:
            connection.execute(text("CREATE VIEW mine AS SELECT label_set FROM run_progress"))
    yield engine
    engine.dispose()


def fill(connection):
    moment = "2026-01-01 00:00:00.000000"
    for number in range(1, 6):
        connection.execute(text("INSERT INTO scans (dataset, image_name) VALUES ('x', :name)"), {"name": str(number)})
    for name, sha256 in zip(NAMES, HASHES, strict=True):
        insert = "INSERT INTO label_sets (name, sha256, imported_at) VALUES (:name, :sha256, :moment)"
        connection.execute(text(insert), {"name": name, "sha256": sha256, "moment": moment})
    rows = [{"set": number, "scan": scan, "finding": name} for number in LABELS for scan, name in LABELS[number]]
    connection.execute(text("INSERT INTO labels (label_set_id, scan_id, finding) VALUES (:set, :scan, :finding)"), rows)
    connection.execute(
        text(
            "INSERT INTO models (sha256, name, manifest, active, registered_at) "
            f"VALUES ('m', 'm', '{{\"findings\": [\"Mass\"]}}', true, '{moment}')"
        )
    )
    connection.execute(
        text(
            "INSERT INTO runs (identity, source, sha256, dataset, model_id, label_set_id, options, created_at) "
            f"VALUES ('i', 's', 'c', 'x', 1, 4, '{{}}', '{moment}')"
        )
    )


def test_each_label_set_keeps_exactly_its_labels(older):
    """Those of one name are stored as differences, what ended may come again, and no reference dangles.

    A row was a positive finding, and a labelled scan without a row of one of NIH's findings did not have it.
    """
    upgrade(older)
    with older.connect() as connection:
        for number, labels in LABELS.items():
            own = select(Label.scan_id, Label.finding).join(LabelSet, is_label_of()).where(LabelSet.id == number)
            assert set(connection.execute(own).all()) == labels
        table = Label.__table__
        rows = connection.execute(select(table).order_by(*table.primary_key)).all()
        assert list(map(tuple, rows)) == [(*row, POSITIVE) for row in ROWS]
        assert set(connection.execute(select(LabelSet.covered)).scalars()) == {"|".join(NIH_FINDINGS)}
        assert connection.execute(select(LabelSet.reading)).scalars().all() == [{}] * len(NAMES)
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_nights_of_one_name_become_a_series_and_other_names_stay(older):
    """Runs keep their label sets by id, and views show the plain name."""
    upgrade(older)
    with older.connect() as connection:
        sets = connection.execute(text("SELECT id, series_id, name FROM label_sets ORDER BY id")).all()
        shown = connection.execute(text("SELECT label_set FROM run_progress")).all()
        own = connection.execute(text("SELECT label_set_id FROM runs")).all()
    names = ("x", "x", "y", "x", *NAMES[4:])
    assert list(map(tuple, sets)) == list(zip(range(1, 8), (1, 1, 3, 1, 5, 6, 7), names, strict=True))
    assert (shown, own) == ([("x",)], [(4,)])


def test_ids_go_on_and_a_name_has_each_file_once(older):
    """The id of a label set that is deleted after the migration is not given again."""
    upgrade(older)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    with older.begin() as connection:
        connection.execute(delete(Label).where(Label.series_id == 7))
        connection.execute(delete(LabelSet).where(LabelSet.id == 7))
        new = insert(LabelSet).values(series_id=7, name="z", sha256="f" * 64, imported_at=moment)
        assert connection.execute(new.returning(LabelSet.id)).scalar() == 8
    with pytest.raises(IntegrityError), older.begin() as connection:
        connection.execute(new)


@pytest.mark.parametrize("older", ["sqlite"], indirect=True)
def test_a_users_own_view_and_every_reference_stay_alive(older):
    """SQLite's tables are rebuilt while other tables and views refer to them."""
    upgrade(older)
    with older.connect() as connection:
        assert connection.execute(text("SELECT * FROM mine")).all() == [("x",)]
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
