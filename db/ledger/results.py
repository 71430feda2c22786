"""Streams rows of the public views. A role that may read nothing but the views can run every statement here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, Connection, Row, column, func, select, table, text

from db.ledger.runs import no_such_run

#: Column names, and pages of rows. Values are what the database driver returns.
Pages: TypeAlias = tuple[tuple[str, ...], Iterator[Sequence[Row[*tuple[Any, ...]]]]]

#: Columns that the views of every earlier program lack, by view.
_NEWEST_COLUMNS: Final = {"results_wide": "study_date"}


def stream_results(
    connection: Connection, run_id: int, *, wide: bool, page_rows: int, held_out: bool | None = None
) -> Pages:
    """The rows of a run, page by page: memory does not grow with the run.

    Args:
        connection: reads only.
        run_id: the run.
        wide: rows of `results_wide`, one per scan, by image name; otherwise rows of `results`, one per finding of each
            scored scan, by image name and finding.
        page_rows: maximum number of rows per page.
        held_out: only scans that are held out (True) or that the model has seen (False). None: all scans, also those of
            which this cannot be told, such as all that a model has not listed if nobody knows what it was fitted on.
    """
    view, order = ("results_wide", ("image_name",)) if wide else ("results", ("image_name", "finding"))
    where = {"run_id": run_id} if held_out is None else {"run_id": run_id, "held_out": int(held_out)}
    return stream_view(connection, view, where=where, order_by=order, page_rows=page_rows)


def stream_view(
    connection: Connection,
    view: str,
    *,
    page_rows: int,
    order_by: Sequence[str],
    where: Mapping[str, object] | None = None,
    columns: Sequence[str] = ("*",),
) -> Pages:
    """Rows of a view, page by page.

    Args:
        connection: reads only.
        view: its name.
        page_rows: maximum number of rows per page.
        order_by: columns.
        where: the value that a column has in each row, or a tuple of the values that it may have.
        columns: those of each row.
    """
    conditions = (
        column(name).in_(value) if isinstance(value, tuple) else column(name) == value
        for name, value in (where or {}).items()
    )
    query = select(*map(text, columns)).select_from(table(view)).where(*conditions).order_by(*map(column, order_by))
    # Without this option, PostgreSQL's driver reads every row before it returns the first.
    result = connection.execute(query, execution_options={"stream_results": True})
    # Without a size, `partitions` would return all rows as one page.
    return tuple(result.keys()), result.partitions(page_rows)


def find_run_in_views(connection: Connection, run_id: int | None) -> int:
    """The number of a run that the views have; None: of the latest.

    Raises:
        UserError: there is no such run.
    """
    number = column("run_id", BigInteger)
    wanted = number == run_id
    if run_id is None:
        # `run_progress` counts the scans of every run that it is asked for. From this run on, there are few.
        with_scans = select(number).select_from(table("results_wide")).order_by(number.desc()).limit(1)
        wanted = number >= (connection.execute(with_scans).scalar() or 0)
    found = connection.execute(select(func.max(number)).select_from(table("run_progress")).where(wanted)).scalar()
    if found is None:
        raise no_such_run(run_id)
    return int(found)


def check_views(connection: Connection) -> None:
    """Fail with a `DBAPIError` if the views are missing, older than this program, or not to be read by this user."""
    for view, name in _NEWEST_COLUMNS.items():
        connection.execute(select(column(name)).select_from(table(view)).limit(0))
