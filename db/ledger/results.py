"""Streams a run's rows of the views `results` and `results_wide`."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, column, select, table, text


def stream_results(
    connection: Connection, run_id: int, *, wide: bool, page_rows: int
) -> tuple[tuple[str, ...], Iterator[Sequence[Row[*tuple[Any, ...]]]]]:
    """The rows of a run, page by page: memory does not grow with the run.

    Args:
        connection: reads only.
        run_id: the run.
        wide: rows of `results_wide`, one per scan, by image name; otherwise rows of `results`, one per finding of each
            scored scan, by image name and finding.
        page_rows: maximum number of rows per page.

    Returns:
        The view's column names, and the pages. Values are what the database driver returns.
    """
    view, order = ("results_wide", ("image_name",)) if wide else ("results", ("image_name", "finding"))
    query = select(text("*")).select_from(table(view)).where(column("run_id") == run_id).order_by(*map(column, order))
    # Without this option, PostgreSQL's driver reads every row before it returns the first.
    result = connection.execute(query, execution_options={"stream_results": True})
    # Without a size, `partitions` would return all rows as one page.
    return tuple(result.keys()), result.partitions(page_rows)
