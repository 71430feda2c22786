"""Fills the templates of pages that are one file: this one's, and those of folders above it."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from db.evaluation.estimate import Estimate
from db.evaluation.format import UNDEFINED, format_estimate, format_rate, format_threshold, name_threshold

_FOLDER: Final = Path(__file__).parent


def fill_template(name: str, *, folder: Path = _FOLDER, **values: Any) -> str:
    """A template with its values. Text from data is escaped.

    Templates have `asset(NAME)`, a style or a script as it is, and filters that format figures.

    Args:
        name: of the template.
        folder: has it; its templates may extend and include those of this folder.
        values: what it shows.
    """
    return _environment(folder).get_template(name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    loader = FileSystemLoader([folder, _FOLDER])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )

    def asset(name: str) -> Markup:
        # The package's own files, in which nothing is to be escaped.
        return Markup(loader.get_source(environment, name)[0])  # noqa: S704

    # `tojson` escapes <, >, & and ', so that no text ends the script that holds it.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals |= {"asset": asset, "undefined": UNDEFINED}
    environment.filters |= {
        "estimate": _estimate,
        "rate": format_rate,
        "threshold": format_threshold,
        "threshold_name": name_threshold,
        "count": "{:,}".format,
        "words": _words,
    }
    return environment


def keep_interval(figure: str) -> Markup:
    """A figure and its interval: a line may break before the interval, and not within it."""
    value, space, interval = figure.partition(" ")
    return Markup("{}{}<span>{}</span>").format(value, space, interval)


def _estimate(estimate: Estimate) -> Markup:
    return keep_interval(format_estimate(estimate))


def _words(name: str) -> str:
    """A finding's name as people write it."""
    return name.replace("_", " ")
