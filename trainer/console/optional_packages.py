"""Checks for packages that only some commands need and that the extra `trainer` installs."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final

from db.errors import UserError

#: Needed to calibrate a model and to fit the baseline that knows only metadata.
EVALUATION_PACKAGES: Final = ("scipy", "sklearn")
#: Needed to quantize a model to int8 and to evaluate the result.
QUANTIZATION_PACKAGES: Final = ("nncf", "openvino", *EVALUATION_PACKAGES)


def check_installed(what: str, packages: Iterable[str]) -> None:
    """Check before the work that the packages which `what` needs are installed.

    Raises:
        UserError: a package is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: pip install 'nightread[trainer]'")
