"""The folder that a report or a comparison is written to. Both have a page of one name, so it holds one of them."""

import json
from pathlib import Path
from typing import Any, Final

from db.errors import UserError

#: By what each writes beside its page.
REPORT: Final = "report.json"
COMPARISON: Final = "compare.json"


def check_folder(folder: Path, mine: str) -> None:
    """Refuse a folder whose page is of the other kind, before anything is read from SQL.

    Args:
        folder: it need not exist.
        mine: `REPORT` or `COMPARISON`.

    Raises:
        UserError: it holds the other kind, or is a file.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file; name a folder with --out")
    other = COMPARISON if mine == REPORT else REPORT
    try:
        content = json.loads((folder / other).read_bytes())
        held = _describe(content)
    except (OSError, ValueError, KeyError, TypeError):
        # It is not of ours.
        return
    raise UserError(f"{folder} holds the {held}; name another folder with --out")


def _describe(content: Any) -> str:
    if "run_id" in content:
        return f"report of run {content['run_id']}"
    return f"comparison of runs {content['first']['run_id']} and {content['second']['run_id']}"
