"""The web application: which address is answered by which page, and how errors are said."""

from http import HTTPStatus
from typing import Any, Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from db.engine.database_errors import first_line, is_transient
from db.errors import PermanentError, TemporaryError, UserError
from producer.browse.context import BrowseContext
from producer.browse.pages import runs, scan, worklist
from producer.browse.pages.templates import STATIC_FOLDER, message_page
from producer.browse.security import AccessKey, Guard


class _IdConvertor(IntegerConvertor):
    """The numbers that both databases can have as an id."""

    regex = "[1-9][0-9]{0,17}"


register_url_convertor("id", _IdConvertor())


def _show_icon(_request: Request) -> FileResponse:
    """The icon that browsers ask for on their own."""
    return FileResponse(STATIC_FOLDER / "icon.svg")


_RUN: Final = "/runs/{run:id}"
_SCAN: Final = _RUN + "/scans/{scan:id}"
_ROUTES: Final = (
    Route("/", runs.show_runs),
    Route(_RUN + "/auroc", runs.show_auroc),
    Route(_RUN + "/report", runs.show_report),
    Route(_RUN, worklist.show_worklist),
    Route(_RUN + "/worklist.csv", worklist.download_worklist),
    Route(_SCAN, scan.show_scan),
    Route(_SCAN + "/film.png", scan.show_film),
    Route(_SCAN + "/input.png", scan.show_input),
    Route(_SCAN + "/thumbnail", scan.show_thumbnail),
    Route(_SCAN + "/map", scan.show_map),
    Route(_SCAN + "/reviews", scan.add_review, methods=["POST"]),
    Route("/favicon.ico", _show_icon),
    Mount("/static", StaticFiles(directory=STATIC_FOLDER)),
)


def make_app(context: BrowseContext, key: AccessKey) -> ASGIApp:
    """The application, behind its guard."""
    handlers: Any = {
        HTTPException: _say_http_error,
        UserError: _say_user_error,
        PermanentError: _say_image_error,
        TemporaryError: _say_outage,
        DBAPIError: _say_database_error,
        NoConnection: _say_busy,
    }
    app = Starlette(routes=_ROUTES, exception_handlers=handlers)
    # An address with a slash too many is wrong, too.
    app.router.redirect_slashes = False
    app.state.context = context
    return Guard(app, key)


def _say_http_error(_request: Request, error: HTTPException) -> HTMLResponse:
    is_missing = error.status_code == HTTPStatus.NOT_FOUND
    sentence = "There is nothing at this address." if is_missing else "This address cannot be asked for in this way."
    return message_page(error.detail, sentence, error.status_code)


def _say_user_error(_request: Request, error: UserError) -> HTMLResponse:
    return message_page("This cannot be shown", str(error), HTTPStatus.BAD_REQUEST)


def _say_image_error(_request: Request, error: PermanentError) -> HTMLResponse:
    return message_page("There is no image to show", str(error), HTTPStatus.NOT_FOUND)


def _say_outage(_request: Request, error: TemporaryError) -> HTMLResponse:
    return message_page("Not available for now", str(error), HTTPStatus.SERVICE_UNAVAILABLE)


def _say_database_error(_request: Request, error: DBAPIError) -> HTMLResponse:
    if not is_transient(error):
        raise error
    return message_page(
        "The database does not answer", f"{first_line(error)}; try again.", HTTPStatus.SERVICE_UNAVAILABLE
    )


def _say_busy(_request: Request, _error: NoConnection) -> HTMLResponse:
    return message_page(
        "Too much at once",
        "Other pages that read a lot use all connections to the database; try again.",
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
