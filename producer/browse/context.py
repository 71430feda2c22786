"""What every page works with: the ledger to read, the settings, and what is loaded once and kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine
from starlette.requests import Request

from db.engine.session import read_transaction
from producer.browse.rendering.recently_used import RecentlyUsed
from producer.browse.worklist.run_table import RunTables
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from producer.browse.rendering.films import Films
    from producer.browse.rendering.maps import Maps

#: Two for each of a hundred runs.
_FIGURES: Final = 200


class BrowseContext:
    """What the pages share. Every thread may use it."""

    def __init__(self, settings: WorkerSettings, *, reading: Engine, writing: Engine, reviewer: str) -> None:
        """Load nothing yet.

        Args:
            settings: of the command.
            reading: an engine of `open_to_read`, for all but reviews.
            writing: an engine of `open_database`, for reviews.
            reviewer: who reviews, the login name of the person who started the program.
        """
        self.settings = settings
        self.reading = reading
        self.writing = writing
        self.reviewer = reviewer
        self.tables = RunTables(reading)
        #: What was counted and computed of closed runs.
        self.figures: RecentlyUsed[Any] = RecentlyUsed(_FIGURES, lambda _: 1)
        self._lock = Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that cannot write, and sees one moment of the ledger."""
        with read_transaction(self.reading) as connection:
            yield connection

    @property
    def films(self) -> "Films":
        """Renders films; the decoders are imported when it is first asked for."""
        with self._lock:
            return self._films

    @property
    def maps(self) -> "Maps":
        """Computes class activation maps; TensorFlow is imported with the first map."""
        with self._lock:
            return self._maps

    @cached_property
    def _films(self) -> "Films":
        from producer.browse.rendering.films import Films

        return Films(self.settings.max_pixels)

    @cached_property
    def _maps(self) -> "Maps":
        from producer.browse.rendering.maps import Maps

        return Maps(self.settings)


def context_of(request: Request) -> BrowseContext:
    """The context of the application that serves a request."""
    context: BrowseContext = request.app.state.context
    return context


def ids_of(request: Request, *names: str) -> Any:
    """The numbers in a request's path, in this order; one alone is not in a tuple."""
    ids = tuple(int(request.path_params[name]) for name in names)
    return ids if len(ids) > 1 else ids[0]
