"""Packages that only some commands need: the extra `trainer` brings them."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final

from db.errors import UserError

#: What judges a model: calibration, and what metadata alone would reach.
JUDGES: Final = ("scipy", "sklearn")
#: What computes in eight bits, and judges it.
QUANTIZERS: Final = ("nncf", "openvino", *JUDGES)


def check_installed(what: str, packages: Iterable[str]) -> None:
    """Say what to install, before the work rather than in it.

    Raises:
        UserError: one of these packages, which `what` needs, is absent.
    """
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise UserError(f"{what} needs {', '.join(absent)}: pip install 'nightread[trainer]'")
