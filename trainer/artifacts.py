"""Finding an artifact as a person names it."""

from pathlib import Path

from db.errors import UserError
from worker.artifact import Artifact, list_artifacts


def find_by_name(wanted: str, model_dir: Path) -> Artifact:
    """The artifact with this name, or this hash (whole, or its first 12 characters).

    Raises:
        UserError: there is none, or more than one.
    """
    known = list_artifacts(model_dir)
    found = [one for one in known if wanted in (one.manifest.name, one.sha256, one.folder.name)]
    if len(found) != 1:
        names = ", ".join(f"{one.manifest.name} ({one.sha256[:12]})" for one in known) or "no artifact"
        raise UserError(f"--model {wanted!r} fits {len(found)} artifacts; {model_dir} holds {names}")
    return found[0]
