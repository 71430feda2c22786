"""Checks for packages that only some commands need and that the extra `trainer` installs."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final

from db.errors import UserError

#: Needed to calibrate a model, and to draw its curves and contact sheet.
FIT_PACKAGES: Final = ("matplotlib", "scipy")
#: Needed to import published weights.
IMPORT_PACKAGES: Final = ("safetensors",)
#: Needed to quantize a model to int8.
QUANTIZATION_PACKAGES: Final = ("nncf", "openvino")


def check_installed(what: str, packages: Iterable[str]) -> None:
    """Check before the work that the packages which `what` needs are installed.

    Raises:
        UserError: a package is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: pip install 'nightread[trainer]'")
