"""The ledger in Python: runs, results and figures as pandas DataFrames."""

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Self, overload

import pandas as pd
import pyarrow as pa
from sqlalchemy.exc import DBAPIError

from db.engine.database_errors import first_line
from db.engine.session import address_of, open_to_read, read_transaction
from db.errors import UserError
from db.ledger.results import Pages, check_view, find_run_in_views, stream_results, stream_reviews, stream_view
from db.settings import Settings, load_settings
from producer.results_export import BOOLEAN, COLUMN_TYPES, FLOAT, INTEGER, TIMESTAMP, to_arrow, to_columns

_COUNTS: Final = ("expected", "scored", "rejected", "quarantined", "pending", "tp", "fp", "fn", "tn")
_RATES: Final = ("precision", "recall", "specificity", "f1", "accuracy", "balanced_accuracy")
#: The type of each column of a view; a column that is not listed is text.
_TYPES: Final = {
    **COLUMN_TYPES,
    **dict.fromkeys((*_COUNTS, "positives", "negatives"), INTEGER),
    **dict.fromkeys(("created_at", "finished_at", "cancelled_at", "stopped_at", "computed_at"), TIMESTAMP),
    **dict.fromkeys(("held_out", "is_partial", "is_latest"), BOOLEAN),
}
#: In `run_progress`, `reused` is a count; in the others it says yes or no of a scan.
_PROGRESS_TYPES: Final = {**_TYPES, "reused": INTEGER}
#: In the views of figures, `precision` is a rate; in the others it is the type of numbers that a model computed with.
_METRIC_TYPES: Final = {**_TYPES, **dict.fromkeys(("auroc", "average_precision", *_RATES), FLOAT)}
_FAILURE_COLUMNS: Final = ("run_id", "scan_id", "dataset", "image_name", "location", "state", "reason", "detail")
#: These have a missing value, which numpy's integers and booleans have not.
_DTYPES: Final = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
#: Rows that are converted at a time.
_PAGE_ROWS: Final = 50_000

_Query = Callable[..., Pages]


class Ledger:
    """The results of every run, to read and nothing else.

    Each method reads one of the public views and returns its rows; docs/python.md explains them by example. No file or
    table is made or changed, so a user that may read the views is enough. A method reads one moment of the database.

    Both databases give the same dtypes: `str` for text, `float64` for scores and rates, `Int64` for whole numbers and
    labels (0, 1), `boolean` for yes and no, `datetime64[us, UTC]` for moments, `datetime64[ms]` for dates. What SQL has
    as NULL is missing there: `NaN`, `<NA>` or `NaT`.

    Usable as a context manager, and from one thread at a time.
    """

    def __init__(self, database_url: str | None = None) -> None:
        """Open the ledger.

        Args:
            database_url: `postgresql://user:password@host/name` or `sqlite:////ABSOLUTE/PATH`. None: the ledger of the
                commands, which `CXR_DATABASE_URL` or `CXR_HOME` names.

        Raises:
            db.errors.UserError: the address is invalid; there is no ledger, and none is made; or it cannot be read.
        """
        given = {} if database_url is None else {"database_url": database_url}
        self._engine = open_to_read(load_settings(Settings, **given).database_url)
        self._check("results_wide")

    def runs(self) -> pd.DataFrame:
        """Every run with its progress, oldest first: the view `run_progress`."""
        return self._read(stream_view, _PROGRESS_TYPES, view="run_progress", order_by=("run_id",))

    @overload
    def results(
        self, run: int | None = None, *, wide: bool = False, held_out: bool | None = None, chunksize: None = None
    ) -> pd.DataFrame: ...

    @overload
    def results(
        self, run: int | None = None, *, wide: bool = False, held_out: bool | None = None, chunksize: int
    ) -> Iterator[pd.DataFrame]: ...

    def results(
        self, run: int | None = None, *, wide: bool = False, held_out: bool | None = None, chunksize: int | None = None
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """The scans of a run: the view `results`, or `results_wide`, by image name.

        Args:
            run: its number; None is the latest.
            wide: one row per scan, scored or not. Otherwise one per scored scan and finding.
            held_out: True for the scans that the run's model has not seen, whose figures the reports show. False for
                those that it has seen, or whose patient it has. None for all scans, also those of which it cannot be
                told. If nobody knows all scans that the model was fitted on, True gives none.
            chunksize: rows at a time. The frames come one after the other, at least one, and only one is in memory;
                until the last has come, a transaction is open. None: all rows in one frame.

        Raises:
            db.errors.UserError: there is no such run.
        """
        if chunksize is not None and chunksize < 1:
            raise ValueError(f"chunksize={chunksize}: a frame has at least one row")
        query = partial(stream_results, run_id=self._find(run), wide=wide, held_out=held_out)
        if chunksize is None:
            return self._read(query)
        return (_to_frame(table) for table in self._tables(query, chunksize, _TYPES))

    def metrics(self, run: int | None = None) -> pd.DataFrame:
        """Counts and rates of a finished run by subset, finding and threshold: the view `threshold_metrics`.

        A run that is still open, or that has no labels, has none. If nobody knows all scans that its model was fitted
        on, it has those of the subset `all` alone.

        Args:
            run: its number; None is the latest.

        Raises:
            db.errors.UserError: there is no such run.
        """
        return self._read_figures("threshold_metrics", run, "threshold", "chosen_by")

    def finding_metrics(self, run: int | None = None) -> pd.DataFrame:
        """AUROC and average precision of a finished run by subset and finding: the view `finding_metrics`.

        A run that is still open, or that has no labels, has none. If nobody knows all scans that its model was fitted
        on, it has those of the subset `all` alone.

        Args:
            run: its number; None is the latest.

        Raises:
            db.errors.UserError: there is no such run.
        """
        return self._read_figures("finding_metrics", run)

    def failures(self, run: int | None = None) -> pd.DataFrame:
        """The scans of a run that are rejected or quarantined, by reason and image name, with where the image lies.

        Args:
            run: its number; None is the latest.

        Raises:
            db.errors.UserError: there is no such run.
        """
        return self._read(
            stream_view,
            view="results_wide",
            where={"run_id": self._find(run), "state": ("rejected", "quarantined")},
            order_by=("reason", "image_name"),
            columns=_FAILURE_COLUMNS,
        )

    def reviews(self, run: int | None = None) -> pd.DataFrame:
        """What people said of scores, the newest last: the view `reviews`.

        Args:
            run: only of the scans of this run under its model, whichever of its outcomes was reviewed. None is all
                reviews of the ledger, not the latest run.

        Raises:
            db.errors.UserError: there is no such run; or the view cannot be read, as by a role that was let in before
                the ledger had it.
        """
        self._check("reviews")
        return self._read(stream_reviews, run_id=None if run is None else self._find(run))

    def close(self) -> None:
        """Close the connections to the database; a later call opens new ones."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, view: str) -> None:
        try:
            with read_transaction(self._engine) as connection:
                check_view(connection, view)
        except DBAPIError as error:
            self.close()
            raise UserError(
                f"{address_of(self._engine)}: the {view.partition('_')[0]} cannot be read ({first_line(error)}); if an "
                "earlier version of nightread wrote them, run 'python -m db upgrade'; a role then needs "
                "'python -m db grant-read ROLE' again"
            ) from error

    def _find(self, run: int | None) -> int:
        # A number out of a frame may be one of numpy's, which SQLite takes for bytes.
        wanted = None if run is None else operator.index(run)
        with read_transaction(self._engine) as connection:
            return find_run_in_views(connection, wanted)

    def _read_figures(self, view: str, run: int | None, *order: str) -> pd.DataFrame:
        where, order_by = {"run_id": self._find(run)}, ("subset", "finding", *order)
        return self._read(stream_view, _METRIC_TYPES, view=view, where=where, order_by=order_by)

    def _read(self, query: _Query, types: Mapping[str, str] = _TYPES, **arguments: Any) -> pd.DataFrame:
        return _to_frame(pa.concat_tables(self._tables(partial(query, **arguments), _PAGE_ROWS, types)))

    def _tables(self, query: _Query, page_rows: int, types: Mapping[str, str]) -> Iterator[Any]:
        """The query's rows as Arrow tables, at least one, which has the columns in any case."""
        with read_transaction(self._engine) as connection:
            names, pages = query(connection, page_rows=page_rows)
            tables = (to_arrow(names, to_columns(names, rows, types), types) for rows in pages)
            yield next(tables, to_arrow(names, to_columns(names, (), types), types))
            yield from tables


def _to_frame(table: Any) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=_DTYPES.get, date_as_object=False)
    return frame
