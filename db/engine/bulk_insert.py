"""Many at a time: pieces of what is long, and rows inserted the quickest way that each database has."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import JSON, Connection, Table, Text, bindparam, cast, column, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

#: Rows at a time: a JSON document of a megabyte.
_PIECE: Final = 4_000


def in_pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive pieces of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def insert_rows(
    connection: Connection,
    table: Any,
    rows: Iterable[Mapping[str, Any]],
    *,
    key: Sequence[str] = (),
    update: Sequence[str] = (),
) -> None:
    """Insert rows that all have the same columns; one that is there already stays, but for what `update` names.

    PostgreSQL reads them out of JSON, twice as fast as with a statement a row. SQLite, with no network in between,
    takes them one by one.

    Args:
        connection: the transaction is the caller's.
        table: a mapped class's `__table__`.
        rows: values by column; held a few thousand at a time.
        key: the columns by which a row is there already; needed with `update`.
        update: columns that then take the new row's value, unless that is NULL.
    """
    upcoming = iter(rows)
    while piece := list(islice(upcoming, _PIECE)):
        if connection.dialect.name == "postgresql":
            names = list(piece[0])
            statement: Any = postgresql.insert(table).from_select(names, _rows_of_json(table, names))
            values: Any = {"rows": json.dumps(piece, default=str)}
        else:
            statement, values = sqlite.insert(table), piece
        connection.execute(_keep_what_is_there(statement, table, key, update), values)


def _rows_of_json(table: Table, names: Sequence[str]) -> Any:
    columns = (column(name, table.c[name].type) for name in names)
    document = cast(bindparam("rows", type_=Text), JSON)
    recordset = func.json_populate_recordset(literal_column(f"NULL::{table.name}"), document)
    return select(*recordset.table_valued(*columns).c)


def _keep_what_is_there(statement: Any, table: Table, key: Sequence[str], update: Sequence[str]) -> Any:
    if not update:
        return statement.on_conflict_do_nothing()
    newer = {name: func.coalesce(statement.excluded[name], table.c[name]) for name in update}
    return statement.on_conflict_do_update(index_elements=key, set_=newer)
