"""The worklist of a run: a page of it, and all of it as CSV."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from db.errors import UserError
from db.findings import column_of
from db.ledger.models import find_model, thresholds_of
from db.ledger.reviews import latest_reviews
from db.ledger.run_columns import ScanIds
from db.ledger.runs import RunInfo, find_run
from producer.browse.context import BrowseContext, context_of, ids_of
from producer.browse.pages.download import Download
from producer.browse.pages.templates import page
from producer.browse.worklist.csv_file import stream_csv
from producer.browse.worklist.defaults import OwnThreshold, own_thresholds, read_query
from producer.browse.worklist.filters import filters_of, offered_values, removals
from producer.browse.worklist.query import WorklistQuery
from producer.browse.worklist.rows import PAGE_ROWS, read_rows
from producer.browse.worklist.run_table import RunTable
from producer.browse.worklist.selection import select_scans


class _BadAddress(UserError):
    """A parameter of the address has a value that it cannot have."""


@dataclass(frozen=True, kw_only=True)
class _Worklist:
    """A run's worklist as an address asks for it."""

    run: RunInfo
    table: RunTable
    query: WorklistQuery
    #: The model's, by finding; some have none.
    own_thresholds: Mapping[str, OwnThreshold]
    #: The model was fitted on synthetic scans.
    is_synthetic: bool
    #: The latest verdict of each reviewed scan.
    reviews: Mapping[int, str]
    #: Of the selected scans, in the order of the rows.
    ids: ScanIds


@dataclass(frozen=True, kw_only=True)
class _Window:
    """The part of a worklist that is on a page."""

    #: Of the page, from 1.
    number: int
    pages: int
    #: Of the rows in the list, from 1; `last` is 0 if there is none.
    first: int
    last: int


def show_worklist(request: Request) -> Response:
    """A page of the worklist."""
    context, run_id = context_of(request), ids_of(request, "run")
    try:
        worklist = _read(context, run_id, request.query_params)
    except _BadAddress as error:
        return page("worklist_refused.html.j2", status=HTTPStatus.BAD_REQUEST, run_id=run_id, sentence=str(error))
    if "" in request.query_params.values():
        # A form sends its empty fields too.
        return RedirectResponse(worklist.query.path(run_id), HTTPStatus.SEE_OTHER)
    return page("worklist.html.j2", **_values(context, worklist))


def download_worklist(request: Request) -> Response:
    """All of the selected scans as CSV."""
    context, run_id = context_of(request), ids_of(request, "run")
    worklist = _read(context, run_id, request.query_params)
    finding = worklist.query.finding
    rows = stream_csv(context.reading, worklist.run, worklist.ids.tolist(), worklist.query, worklist.reviews)
    name = f"run_{run_id}_{column_of(finding)}.csv"
    return Download(rows, media_type="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _read(context: BrowseContext, run_id: int, params: Mapping[str, str]) -> _Worklist:
    # Connections are few: none is held while a table or a column of it is read, for which other requests may wait.
    table = context.tables.get(run_id)
    with context.read() as connection:
        run = find_run(connection, run_id)
        model = find_model(connection, run.model_sha256)
        own = own_thresholds(thresholds_of(connection, model.id))
        try:
            query = read_query(params, table.findings, own)
        except UserError as error:
            raise _BadAddress(str(error)) from error
        reviews = latest_reviews(connection, run_id, query.finding)
    return _Worklist(
        run=run,
        table=table,
        query=query,
        own_thresholds=own,
        is_synthetic=model.synthetic,
        reviews=reviews,
        ids=select_scans(table, query, reviews),
    )


def _values(context: BrowseContext, worklist: _Worklist) -> dict[str, Any]:
    """What the template shows."""
    run, table, query = worklist.run, worklist.table, worklist.query
    window, filters = _window(query.page, len(worklist.ids)), filters_of(query)
    ids = worklist.ids[window.first - 1 : window.last].tolist()
    values = {
        "worklist": worklist,
        "window": window,
        "filters": filters,
        "removals": [] if ids else removals(table, query, filters, worklist.reviews),
        "options": offered_values(table),
        "list_path": lambda **changes: query.path(run.id, **changes),
        "scan_path": lambda scan: query.path(f"{run.id}/scans/{scan}", page=window.number),
        "clear_path": query.path(run.id, **{k: v for one in filters for k, v in one.changes.items()}),
        "csv_path": query.path(f"{run.id}/worklist.csv", page=1),
    }
    with context.read() as connection:
        return values | {"rows": read_rows(connection, run.id, ids, query.finding)}


def _window(number: int, selected: int) -> _Window:
    """The page with a number, or the last one."""
    pages = max(1, -(-selected // PAGE_ROWS))
    number = min(number, pages)
    first = (number - 1) * PAGE_ROWS + 1
    return _Window(number=number, pages=pages, first=first, last=min(selected, number * PAGE_ROWS))
