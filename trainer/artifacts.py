"""Finding an artifact as a person names it."""

from db.errors import UserError
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelDir


def find_by_name(wanted: str, models: ModelDir) -> Artifact:
    """The artifact with this name, or this hash (whole, or its first 12 characters).

    Raises:
        UserError: there is none, or more than one.
    """
    known = {sha256: manifest.name for sha256, manifest in models.manifests().items()}
    found = [sha256 for sha256, name in known.items() if wanted in (name, sha256, sha256[:12])]
    if len(found) != 1:
        names = ", ".join(f"{name} ({sha256[:12]})" for sha256, name in known.items()) or "no artifact"
        raise UserError(f"--model {wanted!r} fits {len(found)} artifacts; {models.address} holds {names}")
    return models.find(found[0])
