"""Artifacts that were fetched from a place that all machines share, kept on this machine's own disk."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from db.errors import UserError
from worker.artifacts.artifact import find_artifact
from worker.artifacts.manifest import Artifact


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
        # A name of its own: containers that share this folder have the same process numbers.
        arriving = self.folder / f".arriving-{sha256[:12]}-{uuid.uuid4().hex}"
        try:
            arriving.mkdir(parents=True)
            fetch(arriving)
            arriving.rename(self.folder / sha256[:12])
        except OSError as error:
            # Another process of this machine was quicker, or the disk is full: `find` tells.
            if not (self.folder / sha256[:12]).is_dir():
                raise UserError(f"{arriving}: cannot be written ({error.strerror})") from error
        finally:
            shutil.rmtree(arriving, ignore_errors=True)
