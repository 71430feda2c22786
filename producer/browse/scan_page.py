"""The page of a scan: its film, its scores, where they came from, and what people said of them."""

from starlette.requests import Request
from starlette.responses import Response

from producer.browse.pages import message_page


def show_scan(_request: Request) -> Response:
    """The page."""
    return message_page("Scan", "Not built yet.", 501)


def show_film(_request: Request) -> Response:
    """The film at full resolution, a PNG."""
    return message_page("Scan", "Not built yet.", 501)


def show_input(_request: Request) -> Response:
    """The model's own pixels, a PNG."""
    return message_page("Scan", "Not built yet.", 501)


def show_thumbnail(_request: Request) -> Response:
    """A small picture of the film."""
    return message_page("Scan", "Not built yet.", 501)


def show_map(_request: Request) -> Response:
    """The class activation map of a finding, as JSON."""
    return message_page("Scan", "Not built yet.", 501)


async def add_review(_request: Request) -> Response:
    """Store a review, and show the scan again."""
    return message_page("Scan", "Not built yet.", 501)
