"""A scan of a run as an address asks for it, and where it stands in the worklist that the address names."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request

from db.ledger.models import ModelInfo, find_model, thresholds_of
from db.ledger.reviews import latest_reviews
from db.ledger.runs import RunInfo, find_run
from db.ledger.scan_details import ScanDetails, find_scan_details
from db.ledger.scan_images import ScanImage, find_scan_image
from producer.browse.context import BrowseContext, ids_of
from producer.browse.pages.scan_scores import ScoreRow, score_rows
from producer.browse.worklist.defaults import own_thresholds, read_query
from producer.browse.worklist.query import NOT_REVIEWED, WorklistQuery
from producer.browse.worklist.rows import PAGE_ROWS
from producer.browse.worklist.selection import Neighbours, neighbours, select_scans


@dataclass(frozen=True, kw_only=True)
class ShownScan:
    """A scan of a run as an address asks for it."""

    run: RunInfo
    model: ModelInfo
    query: WorklistQuery
    details: ScanDetails
    image: ScanImage
    #: One for each finding that the model scores.
    rows: list[ScoreRow]

    @property
    def current(self) -> ScoreRow:
        """The finding that is looked at."""
        return next(row for row in self.rows if row.is_current)

    def path(self, scan_id: int | None = None, suffix: str = "", **changes: Any) -> str:
        """The address of a scan, this one by default, with the worklist that it is looked at in."""
        return self.query.path(f"{self.run.id}/scans/{scan_id or self.details.scan_id}{suffix}", **changes)

    def worklist_path(self, place: Neighbours | None) -> str:
        """The address of the scan's row in the worklist, or of the worklist that does not have it."""
        if place is None:
            return self.query.path(self.run.id)
        address = self.query.path(self.run.id, page=(place.place - 1) // PAGE_ROWS + 1)
        return f"{address}#scan-{self.details.scan_id}"


def find_shown_scan(connection: Connection, request: Request) -> ShownScan | None:
    """The scan of an address; None if the run does not have it.

    Raises:
        UserError: there is no such run, or the query says what it cannot.
    """
    run_id, scan_id = ids_of(request, "run", "scan")
    run = find_run(connection, run_id)
    model = find_model(connection, run.model_sha256)
    thresholds = thresholds_of(connection, model.id)
    query = read_query(request.query_params, model.findings, own_thresholds(thresholds))
    details = find_scan_details(connection, run_id, scan_id)
    image = find_scan_image(connection, run_id, scan_id)
    if details is None or image is None:
        return None
    rows = score_rows(details, query, thresholds)
    return ShownScan(run=run, model=model, query=query, details=details, image=image, rows=rows)


def place_of(context: BrowseContext, scan: ShownScan) -> Neighbours | None:
    """Where the scan stands in the worklist; None if it is not in there.

    A filter by review keeps it there, so that a person who reviews it can go on with the next scan.
    """
    table, scan_id = context.tables.get(scan.run.id), scan.details.scan_id
    reviews: dict[int, str] = {}
    if scan.query.review is not None:
        with context.read() as connection:
            reviews = latest_reviews(connection, scan.run.id, scan.query.finding)
        reviews.pop(scan_id, None)
        if scan.query.review != NOT_REVIEWED:
            reviews[scan_id] = scan.query.review
    return neighbours(select_scans(table, scan.query, reviews), scan_id)


def no_scan(request: Request) -> HTTPException:
    """The error of a scan that the run does not have."""
    return HTTPException(HTTPStatus.NOT_FOUND, absent(*ids_of(request, "run", "scan")))


def absent(run_id: int, scan_id: int) -> str:
    """The same as a sentence."""
    return f"Run {run_id} has no scan {scan_id}."
