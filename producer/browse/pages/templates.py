"""Fills the templates."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from db.evaluation.format import UNDEFINED, format_rate, format_threshold, name_threshold

_FOLDER: Final = Path(__file__).parents[1]
#: The folder of styles and scripts.
STATIC_FOLDER: Final = _FOLDER / "static"


def page(template: str, *, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """A template with its values; text from the ledger is escaped."""
    return HTMLResponse(_environment().get_template(template).render(values), status)


def message_page(title: str, sentence: str, status: int) -> HTMLResponse:
    """A page that says one thing."""
    return page("message.html.j2", status=status, title=title, sentence=sentence)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {
        "count": "{:,}".format,
        "moment": _format_moment,
        "rate": format_rate,
        "threshold": format_threshold,
        "threshold_name": name_threshold,
    }
    environment.filters.update(filters)
    environment.globals["undefined"] = UNDEFINED
    return environment


def _format_moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else UNDEFINED
