"""The command `browse`: runs, worklists and films in a browser."""

from importlib.util import find_spec
from typing import Final

from db.errors import UserError
from producer.commands.common import open_ledger

#: Packages of the extras `browse` and `worker`, one of each kind of work.
_PACKAGES: Final = ("starlette", "uvicorn", "cv2", "imagecodecs")


def browse_command(port: int) -> None:
    """`producer browse`."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UserError(f"producer browse needs {missing[0]}: run pip install 'nightread[worker,browse]'")
    settings, _ = open_ledger()
    from producer.browse.server import serve

    serve(settings, port)
