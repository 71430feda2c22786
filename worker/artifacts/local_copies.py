"""Keeps copies of artifacts from a shared folder or S3 on this machine's own disk."""

import shutil
from collections.abc import Callable
from pathlib import Path

from db.errors import UserError
from worker.artifacts.artifact import find_artifact
from worker.artifacts.manifest import Artifact
from worker.files import new_folder


class LocalCopies:
    """A folder of fetched artifacts. Each appears only when it is complete, and is verified whenever it is found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, sha256: str, fetch: Callable[[Path], None]) -> Artifact:
        """Load the artifact with this identity, and fetch it first where the copy is missing or damaged.

        Args:
            sha256: the artifact's identity.
            fetch: writes the artifact's files into the empty folder that it is given.

        Raises:
            UserError: the artifact cannot be fetched or written, or the fetched copy is damaged.
        """
        if (self.folder / sha256[:12]).is_dir():
            try:
                return find_artifact(self.folder, sha256)
            except UserError:
                # This copy is damaged; the original may be intact.
                shutil.rmtree(self.folder / sha256[:12], ignore_errors=True)
        self._fetch(sha256, fetch)
        return find_artifact(self.folder, sha256)

    def _fetch(self, sha256: str, fetch: Callable[[Path], None]) -> None:
        target = self.folder / sha256[:12]
        try:
            with new_folder(target) as folder:
                fetch(folder)
        except OSError as error:
            # If the folder is there now, another process of this machine fetched it first, and `find` verifies it.
            if not target.is_dir():
                raise UserError(f"{target}: cannot be written ({error.strerror})") from error
