"""The worklist of a run: a page of it, and all of it as CSV."""

from starlette.requests import Request
from starlette.responses import Response

from producer.browse.pages import message_page


def show_worklist(_request: Request) -> Response:
    """A page of the worklist."""
    return message_page("Worklist", "Not built yet.", 501)


def download_worklist(_request: Request) -> Response:
    """All of the selected scans as CSV."""
    return message_page("Worklist", "Not built yet.", 501)
