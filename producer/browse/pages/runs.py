"""The page of all runs, the newest first; and of a run, its AUROC with interval and its report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from db.engine.session import address_of
from db.errors import UserError
from db.ledger.models import find_model
from db.ledger.run_columns import read_fingerprint
from db.ledger.runs import Progress, RunInfo, count_reasons, count_runs, find_run, is_closed, latest_runs, progress
from db.metrics.scored_scans import HELD_OUT
from producer.browse.context import BrowseContext, context_of, ids_of
from producer.browse.pages.auroc import describe_auroc
from producer.browse.pages.templates import page

_T = TypeVar("_T")

#: Runs on a page.
_PAGE_RUNS: Final = 20
#: The page of a report holds its own style and script. In a sandbox without an origin, they can ask this program for
#: nothing.
_REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; "
    "sandbox allow-scripts allow-downloads"
)


@dataclass(frozen=True, kw_only=True)
class _RunRow:
    run: RunInfo
    counts: Progress
    #: Rejected and quarantined scans by reason, the most frequent first.
    reasons: Mapping[str, int]
    #: The model was fitted on synthetic scans.
    is_synthetic: bool

    @property
    def is_moving(self) -> bool:
        """Whether the counts may change while the page is shown."""
        return self.run.state == "open"


def show_runs(request: Request) -> HTMLResponse:
    """The page of all runs."""
    number = _page_number(request)
    context = context_of(request)
    with context.read() as connection:
        runs = latest_runs(connection, _PAGE_RUNS, skip=(number - 1) * _PAGE_RUNS)
        total = count_runs(connection)
        rows = [_row(context, connection, run) for run in runs]
    pages = max(1, -(-total // _PAGE_RUNS))
    return page("runs.html.j2", ledger=address_of(context.reading), rows=rows, total=total, number=number, pages=pages)


def show_auroc(request: Request) -> PlainTextResponse:
    """A run's AUROC with its interval, and what it is of: a line each."""
    context, run_id = context_of(request), ids_of(request, "run")
    with context.read() as connection:
        lines = _kept(context, connection, run_id, describe_auroc)
    return PlainTextResponse("\n".join(lines))


def show_report(request: Request) -> Response:
    """The run's report as 'producer report' would write it now."""
    from producer.report.build import build_report
    from producer.report.page.render import render_page

    with context_of(request).read() as connection:
        run = find_run(connection, ids_of(request, "run"))
        report, cohort = build_report(connection, run.id, partial=True, label_set=None, subset=HELD_OUT)
    return HTMLResponse(render_page(report, cohort), headers={"Content-Security-Policy": _REPORT_POLICY})


def _kept(context: BrowseContext, connection: Connection, run_id: int, make: Callable[[Connection, int], _T]) -> _T:
    """What is counted or computed of a run, which takes a second for a million scans. Of a closed run it is kept."""
    fingerprint = read_fingerprint(connection, run_id)
    if not is_closed(connection, run_id):
        return make(connection, run_id)
    made: _T = context.figures.get_or_make((make, run_id, fingerprint), lambda: make(connection, run_id))
    return made


def _count(connection: Connection, run_id: int) -> tuple[Progress, dict[str, int]]:
    return progress(connection, run_id), count_reasons(connection, run_id)


def _row(context: BrowseContext, connection: Connection, run: RunInfo) -> _RunRow:
    counts, reasons = _kept(context, connection, run.id, _count)
    is_synthetic = find_model(connection, run.model_sha256).synthetic
    return _RunRow(run=run, counts=counts, reasons=reasons, is_synthetic=is_synthetic)


def _page_number(request: Request) -> int:
    text = request.query_params.get("page", "1")
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 6 and int(text)):
        raise UserError("page: write a whole number from 1")
    return int(text)
