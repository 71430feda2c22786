"""Artifacts that were fetched from a place that all machines share, kept on this machine's own disk."""

import shutil
from collections.abc import Callable
from pathlib import Path

from db.errors import UserError
from worker.artifacts.artifact import find_artifact
from worker.artifacts.manifest import Artifact
from worker.files import new_folder


class LocalCopies:
    """A folder of fetched artifacts. Each appears once it is whole, and is verified at every look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, sha256: str, fetch: Callable[[Path], None]) -> Artifact:
        """The artifact with this identity; `fetch` fills an empty folder with it where it is not here, or is damaged.

        Raises:
            UserError: it cannot be fetched, or what was fetched is not it.
        """
        if (self.folder / sha256[:12]).is_dir():
            try:
                return find_artifact(self.folder, sha256)
            except UserError:
                # Damaged here, which it need not be there.
                shutil.rmtree(self.folder / sha256[:12], ignore_errors=True)
        self._bring(sha256, fetch)
        return find_artifact(self.folder, sha256)

    def _bring(self, sha256: str, fetch: Callable[[Path], None]) -> None:
        target = self.folder / sha256[:12]
        try:
            with new_folder(target) as folder:
                fetch(folder)
        except OSError as error:
            # If another process of this machine has fetched it meanwhile, that copy is used.
            if not target.is_dir():
                raise UserError(f"{target}: cannot be written ({error.strerror})") from error
