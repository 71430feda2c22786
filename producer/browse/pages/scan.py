"""The page of a scan: its film, its scores, where they came from, and what people said of them."""

from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from db.errors import UserError
from db.ledger.reviews import MAX_COMMENT, ReviewRow, reviews_of_scan
from db.ledger.reviews import add_review as store_review
from db.ledger.scan_details import scans_of_patient, scores_in_runs
from db.ledger.scan_images import ScanImage, find_scan_image
from producer.browse.context import context_of, ids_of
from producer.browse.pages.map_answer import map_answer
from producer.browse.pages.review_form import read_form
from producer.browse.pages.scan_scores import other_labels
from producer.browse.pages.shown_scan import ShownScan, absent, find_shown_scan, no_scan, place_of
from producer.browse.pages.templates import message_page, page
from worker.images.preprocessing import Preprocessing

_PNG: Final = "image/png"
_JPEG: Final = "image/jpeg"


def show_scan(request: Request) -> Response:
    """The page."""
    context = context_of(request)
    run_id, scan_id = ids_of(request, "run", "scan")
    with context.read() as connection:
        if (scan := find_shown_scan(connection, request)) is None:
            return message_page("No such scan", absent(run_id, scan_id), HTTPStatus.NOT_FOUND)
        values = _values(connection, scan)
    place = place_of(context, scan)
    return page("scan.html.j2", scan=scan, place=place, worklist_path=scan.worklist_path(place), **values)


def show_film(request: Request) -> Response:
    """The film at full resolution, a PNG."""
    return Response(context_of(request).films.film(_image(request)), media_type=_PNG)


def show_input(request: Request) -> Response:
    """The model's own pixels, a PNG."""
    return Response(context_of(request).films.model_input(_image(request)), media_type=_PNG)


def show_thumbnail(request: Request) -> Response:
    """A small picture of the film, a JPEG."""
    return Response(context_of(request).films.thumbnail(_image(request)), media_type=_JPEG)


def show_map(request: Request) -> Response:
    """The class activation map of a finding, as JSON.

    Raises:
        UserError: the scan's score is below the threshold, or the model has no maps.
    """
    context = context_of(request)
    with context.read() as connection:
        scan = find_shown_scan(connection, request)
    if scan is None:
        raise no_scan(request)
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
        scan = find_shown_scan(connection, request)
    if scan is None:
        raise no_scan(request)
    place = place_of(context, scan) if go_on else None
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


def _values(connection: Connection, scan: ShownScan) -> dict[str, Any]:
    """What the template shows beside the scan itself."""
    run_id, scan_id, finding = scan.run.id, scan.details.scan_id, scan.query.finding
    reviews = reviews_of_scan(connection, scan_id)
    return {
        "refusal": _refusal(scan.image),
        "rule": Preprocessing.model_validate(scan.image.preprocessing),
        "own_names": list(dict.fromkeys(name for row in scan.rows for name in row.own)),
        "other_labels": other_labels(scan.details, scan.model.findings),
        "in_runs": scores_in_runs(connection, run_id, scan_id, finding),
        "of_patient": scans_of_patient(connection, run_id, scan.details, finding),
        "reviews": reviews,
        "latest": next((one for one in reviews if _is_on(one, scan)), None),
        "max_comment": MAX_COMMENT,
    }


def _is_on(review: ReviewRow, scan: ShownScan) -> bool:
    """Whether a review is on what the page shows: this outcome, and this finding or every one."""
    is_same = (review.model, review.revision) == (scan.run.model, scan.details.revision)
    return is_same and review.finding in (None, scan.query.finding)


def _refusal(image: ScanImage) -> str | None:
    """Why the film is not even asked for; None if it is."""
    if image.is_suspect:
        return "The image is not opened here, because it may be what ended a worker."
    if image.location is None:
        return f"{image.reason or 'missing'}: {image.detail or 'the run has no image of this scan'}"
    return None


def _image(request: Request) -> ScanImage:
    with context_of(request).read() as connection:
        image = find_scan_image(connection, *ids_of(request, "run", "scan"))
    if image is None:
        raise no_scan(request)
    return image
