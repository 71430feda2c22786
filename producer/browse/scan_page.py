"""The page of a scan: its film, its scores, where they came from, and what people said of them."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from db.errors import UserError
from db.ledger.models import ModelInfo, find_model, thresholds_of
from db.ledger.reviews import MAX_COMMENT, ReviewRow, latest_reviews, reviews_of_scan
from db.ledger.reviews import add_review as store_review
from db.ledger.runs import RunInfo, find_run
from db.ledger.scan_details import ScanDetails, find_scan_details, scans_of_patient, scores_in_runs
from db.ledger.scan_images import ScanImage, find_scan_image
from db.schema.tables import QUARANTINED
from producer.browse.context import BrowseContext, context_of, ids_of
from producer.browse.films import JPEG, PNG
from producer.browse.map_answer import map_answer
from producer.browse.pages import message_page, page
from producer.browse.review_form import read_form
from producer.browse.scan_scores import ScoreRow, label_word, other_labels, score_rows
from producer.browse.worklist.defaults import read_query
from producer.browse.worklist.query import WorklistQuery
from producer.browse.worklist.rows import PAGE_ROWS
from producer.browse.worklist.selection import Neighbours, neighbours, select_scans
from worker.images.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class _Scan:
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
        return _path(f"{self.run.id}/scans/{scan_id or self.details.scan_id}{suffix}", self.query, changes)

    def worklist_path(self, place: Neighbours | None) -> str:
        """The address of the scan's row in the worklist, or of the worklist that does not have it."""
        if place is None:
            return _path(str(self.run.id), self.query, {})
        address = _path(str(self.run.id), self.query, {"page": (place.place - 1) // PAGE_ROWS + 1})
        return f"{address}#scan-{self.details.scan_id}"


def show_scan(request: Request) -> Response:
    """The page."""
    context = context_of(request)
    run_id, scan_id = ids_of(request, "run", "scan")
    with context.read() as connection:
        if (scan := _find(connection, request)) is None:
            return message_page("No such scan", _absent(run_id, scan_id), HTTPStatus.NOT_FOUND)
        values = _values(connection, scan)
    place = _place(context, scan)
    return page("scan.html.j2", scan=scan, place=place, worklist_path=scan.worklist_path(place), **values)


def show_film(request: Request) -> Response:
    """The film at full resolution, a PNG."""
    return Response(context_of(request).films.film(_image(request)), media_type=PNG)


def show_input(request: Request) -> Response:
    """The model's own pixels, a PNG."""
    return Response(context_of(request).films.model_input(_image(request)), media_type=PNG)


def show_thumbnail(request: Request) -> Response:
    """A small picture of the film, a JPEG."""
    return Response(context_of(request).films.thumbnail(_image(request)), media_type=JPEG)


def show_map(request: Request) -> Response:
    """The class activation map of a finding, as JSON.

    Raises:
        UserError: the scan's score is below the threshold, or the model has no maps.
    """
    context = context_of(request)
    with context.read() as connection:
        scan = _find(connection, request)
    if scan is None:
        raise _no_scan(request)
    row = scan.current
    if row.score is None or not row.is_positive:
        raise UserError(f"{row.finding} has no score of at least {row.threshold:g}, so there is nothing to locate")
    pixels = context.films.pixels(scan.image)
    return JSONResponse(map_answer(context.maps.maps_of(scan.run.model_sha256, pixels), row, scan.details))


async def add_review(request: Request) -> Response:
    """Store a review, and show the scan again or the next one.

    Raises:
        UserError: the form or the review is invalid.
    """
    form = await read_form(request.stream())
    address = await run_in_threadpool(_add_review, request, form.verdict, form.comment, go_on=form.go_on)
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


def _add_review(request: Request, verdict: str, comment: str, *, go_on: bool) -> str:
    """Store it, and return the address to show."""
    context = context_of(request)
    with context.read() as connection:
        scan = _find(connection, request)
    if scan is None:
        raise _no_scan(request)
    # Before the review is stored, which may take the scan off the worklist.
    place = _place(context, scan) if go_on else None
    with context.writing.begin() as connection:
        store_review(
            connection,
            run_id=scan.run.id,
            scan_id=scan.details.scan_id,
            finding=scan.query.finding,
            threshold=scan.query.threshold,
            verdict=verdict,
            comment=comment,
            reviewer=context.reviewer,
        )
    return scan.path(place.next if place else None)


def _find(connection: Connection, request: Request) -> _Scan | None:
    """The scan of an address; None if the run does not have it.

    Raises:
        UserError: there is no such run, or the query says what it cannot.
    """
    run_id, scan_id = ids_of(request, "run", "scan")
    run = find_run(connection, run_id)
    model = find_model(connection, run.model_sha256)
    query = read_query(connection, run, model.findings, request.query_params)
    details = find_scan_details(connection, run_id, scan_id)
    image = find_scan_image(connection, run_id, scan_id)
    if details is None or image is None:
        return None
    rows = score_rows(details, query, thresholds_of(connection, model.id))
    return _Scan(run=run, model=model, query=query, details=details, image=image, rows=rows)


def _values(connection: Connection, scan: _Scan) -> dict[str, Any]:
    """What the template shows beside the scan itself."""
    run_id, scan_id, finding = scan.run.id, scan.details.scan_id, scan.query.finding
    reviews = reviews_of_scan(connection, scan_id)
    return {
        "refusal": _refusal(scan.image),
        "rule": Preprocessing.model_validate(scan.image.preprocessing),
        "own_names": list(dict.fromkeys(name for row in scan.rows for name in row.own)),
        "other_labels": other_labels(scan.details, scan.model.findings),
        "in_runs": scores_in_runs(connection, scan_id, finding),
        "of_patient": scans_of_patient(connection, run_id, scan.details, finding),
        "reviews": reviews,
        "latest": next((one for one in reviews if _is_on(one, scan)), None),
        "max_comment": MAX_COMMENT,
        "label_word": label_word,
    }


def _is_on(review: ReviewRow, scan: _Scan) -> bool:
    """Whether a review is on what the page shows: this outcome, and this finding or every one."""
    is_same = (review.model, review.revision) == (scan.run.model, scan.details.revision)
    return is_same and review.finding in (None, scan.query.finding)


def _place(context: BrowseContext, scan: _Scan) -> Neighbours | None:
    """Where the scan stands in the worklist; None if it is not in there."""
    table = context.tables.get(scan.run.id)
    with context.read() as connection:
        reviews = latest_reviews(connection, scan.run.id, scan.query.finding) if scan.query.review else {}
    return neighbours(select_scans(table, scan.query, reviews), scan.details.scan_id)


def _refusal(image: ScanImage) -> str | None:
    """Why the film is not even asked for; None if it is."""
    if image.state == QUARANTINED:
        return "The image is not opened here, because it may be what ended its workers."
    if image.location is None:
        return f"{image.reason or 'missing'}: {image.detail or 'the run has no image of this scan'}"
    return None


def _image(request: Request) -> ScanImage:
    with context_of(request).read() as connection:
        image = find_scan_image(connection, *ids_of(request, "run", "scan"))
    if image is None:
        raise _no_scan(request)
    return image


def _no_scan(request: Request) -> HTTPException:
    return HTTPException(HTTPStatus.NOT_FOUND, _absent(*ids_of(request, "run", "scan")))


def _absent(run_id: int, scan_id: int) -> str:
    return f"Run {run_id} has no scan {scan_id}."


def _path(below_runs: str, query: WorklistQuery, changes: dict[str, Any]) -> str:
    address = query.address(**changes)
    return f"/runs/{below_runs}" + (f"?{address}" if address else "")
