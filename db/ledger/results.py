"""Streams rows of the public views. A role that may read nothing but the views can run every statement here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, Connection, Row, Select, column, func, select, table, text

from db.ledger.runs import no_such_run

#: Column names, and pages of rows. Values are what the database driver returns.
Pages: TypeAlias = tuple[tuple[str, ...], Iterator[Sequence[Row[*tuple[Any, ...]]]]]

#: The newest column of a view, which the views of earlier programs lack.
_NEWEST_COLUMNS: Final = {"results_wide": "study_date", "reviews": "is_latest"}
#: Of a scan of the run, under its model. `reviews` has no run, because many may show the outcome.
_REVIEWED_IN_RUN: Final = (
    "EXISTS (SELECT 1 FROM results_wide w "
    "WHERE w.run_id = :run AND w.scan_id = reviews.scan_id AND w.model = reviews.model)"
)


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
    return _stream(connection, query, page_rows)


def stream_reviews(connection: Connection, run_id: int | None = None, *, page_rows: int) -> Pages:
    """The rows of the view `reviews`, page by page, the newest last.

    Args:
        connection: reads only.
        run_id: only the run's scans under its model, whichever of its outcomes was reviewed; None: all of the ledger.
        page_rows: maximum number of rows per page.
    """
    query = select(text("*")).select_from(table("reviews")).order_by(column("reviewed_at"), column("scan_id"))
    if run_id is not None:
        query = query.where(text(_REVIEWED_IN_RUN).bindparams(run=run_id))
    return _stream(connection, query, page_rows)


def _stream(connection: Connection, query: Select[Any], page_rows: int) -> Pages:
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


def check_view(connection: Connection, view: str) -> None:
    """Fail with a `DBAPIError` if a view is missing, older than this program, or not to be read by this user."""
    connection.execute(select(column(_NEWEST_COLUMNS[view])).select_from(table(view)).limit(0))
